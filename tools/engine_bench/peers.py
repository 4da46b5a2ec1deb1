"""Our pool in turns with LoadGen's server scenario, under one limit of the latency."""

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from engine_bench.device import modelled_qps
from engine_bench.duel import Finding, Log, Plan, flooded_qps
from engine_bench.ideal import Floats
from engine_bench.pairs import Estimate, crossing_qps, highest_passing_qps, resampled
from engine_bench.systems import Block, LoadGen, OurPool, Shape
from mlbench.load.arrivals import make_schedule, query_count

_BOUND_S = 0.050
_STEP = 1.03  # between the rates of the grid
_MOST_STEPS = 8  # to either side of the first rate: a quarter
_LIGHT = 0.6  # load at which the first guess is made
_LIKELY = 0.9  # of the saturated rate is the first rate where the model has no answer
_SEEDS_APART = 10  # LoadGen takes three seeds in a row
_SYSTEMS = ("mlbench", "LoadGen")

Rule = Callable[[Floats, Floats, float], float]
"""Finds a rate from the rates of trials, their p99 in seconds, and the limit."""


class Bout:
    """Our pool and LoadGen, who play trials at the same rates in turns."""

    def __init__(self, shape: Shape, ours: OurPool, peer: LoadGen, plan: Plan, log: Log) -> None:
        self._shape, self._ours, self._peer = shape, ours, peer
        self._seconds, self._log = plan.trial_seconds, log
        self._seeds = itertools.count(_SEEDS_APART, _SEEDS_APART)
        self.blocks: dict[float, list[Block]] = {}

    def p99s_s(self, qps: float, number: int) -> tuple[float, float]:
        """Play a trial with each, on fresh arrivals; return the p99 of ours and of LoadGen."""
        plays = (self._play_ours, self._play_peer)
        order = (0, 1) if number % 2 else (1, 0)
        found = {i: plays[i](qps, next(self._seeds)) for i in order}
        return found[0], found[1]

    def play_ours(self, qps: float, seed: int) -> Block:
        """Play a trial with our pool."""
        schedule = make_schedule("exponential", qps, query_count(qps, self._seconds), seed)
        block = self._ours.play(schedule)
        self._log.block("loadgen_device", self._shape, _SYSTEMS[0], qps, block)
        return block

    def _play_ours(self, qps: float, seed: int) -> float:
        block = self.play_ours(qps, seed)
        self.blocks.setdefault(qps, []).append(block)
        return block.p99_s

    def _play_peer(self, qps: float, seed: int) -> float:
        seen = self._peer.trial(qps, self._seconds, _BOUND_S, seed)
        self._log.note("loadgen_device", self._shape, _SYSTEMS[1], qps, **seen)
        return seen["p99_s"]


def loadgen_device(plan: Plan, log: Log) -> Iterator[Finding]:
    """The highest rate that LoadGen passes with the session in its process, and ours."""
    for shape in plan.shapes:
        with OurPool(shape) as ours, LoadGen(shape) as peer:
            bout = Bout(shape, ours, peer, plan, log)
            saturated_qps = flooded_qps(ours)
            light = bout.play_ours(_LIGHT * saturated_qps, seed=1)
            guess_qps = modelled_qps(light.service_s, shape, _BOUND_S)
            first = _explored(bout, guess_qps or _LIKELY * saturated_qps)
            rates = np.array(sorted(first))
            p99s_s = [[first[qps] for qps in rates]]
            for number in range(1, plan.repeats):
                p99s_s.append([bout.p99s_s(qps, number) for qps in rates])
        yield from _compared(shape, rates, np.array(p99s_s), bout)


def _explored(bout: Bout, qps: float) -> dict[float, tuple[float, float]]:
    """Play rates upwards until both miss the limit, and downwards until both meet it."""
    found = {qps: bout.p99s_s(qps, 0)}
    for step, stop in ((_STEP, _both_miss), (1 / _STEP, _both_meet)):
        for number in range(1, _MOST_STEPS + 1):
            if stop(found[max(found) if step > 1 else min(found)]):
                break
            found[qps * step**number] = bout.p99s_s(qps * step**number, number)
    return found


def _both_miss(p99s_s: tuple[float, float]) -> bool:
    return min(p99s_s) > _BOUND_S


def _both_meet(p99s_s: tuple[float, float]) -> bool:
    return max(p99s_s) <= _BOUND_S


def _compared(shape: Shape, rates: Floats, p99s_s: Floats, bout: Bout) -> Iterator[Finding]:
    """Compare by both rules; `p99s_s` is float64 (repeats, rates, 2)."""
    metric = f"{shape.name}: Poisson qps with p99 <= {_BOUND_S * 1e3:.0f} ms"
    yield from _by_rule(f"{metric}, highest that passes", highest_passing_qps, rates, p99s_s)
    yield from _by_rule(f"{metric}, where p99 crosses", crossing_qps, rates, p99s_s)
    every = np.tile(rates, len(p99s_s))
    held_qps = highest_passing_qps(every, p99s_s[:, :, 0].ravel(), _BOUND_S)
    blocks = bout.blocks.get(held_qps, bout.blocks[rates[0]])
    service_s = np.concatenate([block.service_s for block in blocks])
    modelled = Estimate(modelled_qps(service_s, shape, _BOUND_S))
    yield f"{metric}, queue model of our service times", _SYSTEMS[0], modelled


def _by_rule(metric: str, rule: Rule, rates: Floats, p99s_s: Floats) -> Iterator[Finding]:
    """Apply a rule to both systems; the intervals are over repeats."""

    def found(system: int, chosen: np.ndarray) -> float:
        p99_s = p99s_s[chosen, :, system].ravel()
        return rule(np.tile(rates, len(chosen)), p99_s, _BOUND_S)

    repeats = len(p99s_s)
    yield metric, _SYSTEMS[0], resampled(lambda chosen: found(0, chosen), repeats)
    yield metric, _SYSTEMS[1], resampled(lambda chosen: found(1, chosen), repeats)
    ratio = resampled(lambda chosen: found(0, chosen) / found(1, chosen), repeats)
    yield metric, "mlbench / LoadGen", ratio

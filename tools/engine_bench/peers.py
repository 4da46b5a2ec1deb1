"""Our pool in turns with LoadGen's server scenario, under one limit of the latency."""

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from engine_bench.device import guessed_qps, modelled_qps
from engine_bench.duel import Finding, Log, Plan, rough_saturated_qps
from engine_bench.ideal import Floats
from engine_bench.pairs import Estimate, crossing_qps, highest_passing_qps, resampled
from engine_bench.systems import Block, LoadGen, OurPool, Shape
from mlbench.records import Schedule
from mlbench.trial.schedule import query_count

_MAX_LATENCY_S = 0.050
_STEP = 1.03  # between the rates of the grid
_MOST_STEPS = 5  # to either side of the first rate: a sixth
_LIKELY = 0.9  # of the saturated rate is the first rate where the model has no answer
_SEEDS_APART = 10  # LoadGen takes three seeds in a row
_SYSTEMS = ("mlbench", "LoadGen")

Trial = tuple[float, float]
"""The rate that was really offered, and the p99 in seconds."""

Rule = Callable[[Floats, Floats, float], float]
"""Finds a rate from the rates of trials, their p99 in seconds, and the limit."""


class Bout:
    """Our pool and LoadGen, who play trials at the same rates in turns."""

    def __init__(self, shape: Shape, ours: OurPool, peer: LoadGen, plan: Plan, log: Log) -> None:
        self._shape, self._ours, self._peer = shape, ours, peer
        self._seconds, self._log = plan.trial_seconds, log
        self._seeds = itertools.count(_SEEDS_APART, _SEEDS_APART)
        self.blocks: dict[float, list[Block]] = {}

    def trials(self, qps: float, number: int) -> tuple[Trial, Trial]:
        """Play a trial with each, on fresh arrivals; return what ours and LoadGen made of it."""
        plays = (self._play_ours, self._play_peer)
        order = (0, 1) if number % 2 else (1, 0)
        found = {i: plays[i](qps, next(self._seeds)) for i in order}
        return found[0], found[1]

    def services_s(self, qps: float) -> Floats:
        """Play a trial with our pool at this rate; return its service times in seconds (n,)."""
        return self._ours_at(qps, next(self._seeds)).service_s

    def _ours_at(self, qps: float, seed: int) -> Block:
        block = self._ours.play(_independent(qps, query_count(qps, self._seconds), seed))
        self._log.block("loadgen_device", self._shape, _SYSTEMS[0], qps, block)
        return block

    def _play_ours(self, qps: float, seed: int) -> Trial:
        block = self._ours_at(qps, seed)
        self.blocks.setdefault(qps, []).append(block)
        return block.offered_qps, block.p99_s

    def _play_peer(self, qps: float, seed: int) -> Trial:
        seen = self._peer.trial(qps, query_count(qps, self._seconds), _MAX_LATENCY_S, seed)
        self._log.note("loadgen_device", self._shape, _SYSTEMS[1], qps, **seen)
        return seen["offered_qps"], seen["p99_s"]


def _independent(qps: float, queries: int, seed: int) -> Schedule:
    """Return arrivals as LoadGen draws them: only in the mean at the rate, unlike our own."""
    gaps_ns = np.random.default_rng(seed).exponential(1e9 / qps, queries)
    return Schedule("exponential", qps, seed, np.rint(gaps_ns.cumsum()).astype(np.int64))


def loadgen_device(plan: Plan, log: Log) -> Iterator[Finding]:
    """The highest rate that LoadGen passes with the session in its process, and ours."""
    for shape in plan.shapes:
        with OurPool(shape) as ours, LoadGen(shape) as peer:
            bout = Bout(shape, ours, peer, plan, log)
            saturated_qps = rough_saturated_qps(ours)
            guess_qps = guessed_qps(bout.services_s, saturated_qps, shape, _MAX_LATENCY_S)
            first = _explored(bout, guess_qps or _LIKELY * saturated_qps)
            rates = sorted(first)
            rows = [[first[qps] for qps in rates]]
            for number in range(1, plan.repeats):
                rows.append([bout.trials(qps, number) for qps in rates])
        yield from _compared(shape, np.array(rates), np.array(rows), bout)


def _explored(bout: Bout, qps: float) -> dict[float, tuple[Trial, Trial]]:
    """Play rates upwards until both miss the limit, and downwards until both meet it."""
    found = {qps: bout.trials(qps, 0)}
    for step, end, met in ((_STEP, max, False), (1 / _STEP, min, True)):
        for number in range(1, _MOST_STEPS + 1):
            if all((p99_s <= _MAX_LATENCY_S) is met for _, p99_s in found[end(found)]):
                break
            found[qps * step**number] = bout.trials(qps * step**number, number)
    return found


def _compared(shape: Shape, rates: Floats, trials: Floats, bout: Bout) -> Iterator[Finding]:
    """Compare by two rules; `trials` is float64 (repeats, rates, 2 systems, 2 of a trial)."""
    metric = f"{shape.name}: Poisson qps with p99 <= {_MAX_LATENCY_S * 1e3:.0f} ms"
    offered_qps, p99_s = trials[..., 0], trials[..., 1]
    target_qps = np.broadcast_to(rates[:, None], p99_s.shape)
    passing = _by_rule(f"{metric}, highest that passes", highest_passing_qps, target_qps, p99_s)
    held, *_ = passing
    yield from passing
    yield from _by_rule(f"{metric}, where p99 crosses", crossing_qps, offered_qps, p99_s)
    blocks = bout.blocks.get(held[2].value, bout.blocks[rates[0]])
    service_s = np.concatenate([block.service_s for block in blocks])
    modelled = Estimate(modelled_qps(service_s, shape, _MAX_LATENCY_S))
    yield f"{metric}, queue model of our service times", _SYSTEMS[0], modelled


def _by_rule(metric: str, rule: Rule, qps: Floats, p99_s: Floats) -> list[Finding]:
    """Apply a rule to both systems, arrays (repeats, rates, 2); the intervals are over repeats."""

    def found(system: int, chosen: np.ndarray) -> float:
        return rule(
            qps[chosen, :, system].ravel(), p99_s[chosen, :, system].ravel(), _MAX_LATENCY_S
        )

    ours, peer, ratio = (
        resampled(statistic, len(p99_s))
        for statistic in (
            lambda chosen: found(0, chosen),
            lambda chosen: found(1, chosen),
            lambda chosen: found(0, chosen) / found(1, chosen),
        )
    )
    return [
        (metric, _SYSTEMS[0], ours),
        (metric, _SYSTEMS[1], peer),
        (f"{metric}: ratio", "mlbench / LoadGen", ratio),
    ]

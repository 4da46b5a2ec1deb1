"""Study comparisons in virtual time: two devices on a machine whose speed walks between minutes.

    python tools/study_compare.py --seeds 100 --factor 1.05

Each side is a device with service times of 2 ms (cv 0.1) and a limit of 10 ms for the 99th
percentile. Both run on one machine, whose level is a random walk of 10 % a minute. They are
measured in turns, as `compare --measure` does it, with the default budget on each side, and once
one after the other. Each comparison is a line in the file of results, where a later call goes on;
a table of what is there goes to stdout.
"""

import argparse
import json
import math
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from study.devices import lognormal_s

from mlbench.arrivals.exponential import Exponential
from mlbench.bench.compare.change import compare_rates
from mlbench.bench.compare.looks import LOOKS, confidence_at, looks_due
from mlbench.bench.rates import Rate
from mlbench.outcomes import Answer
from mlbench.pool.virtual import Batch, Service, VirtualPool
from mlbench.queueing.line import Queue
from mlbench.search.plan import SearchPlan
from mlbench.search.search import Search
from mlbench.stats.paired import paired_ratio
from mlbench.trial.schedule import make_schedule

_KEY = ("exponential", 0.010)
_BUDGET_S, _TRIAL_S, _USUAL_S = 150.0, 10.0, 1.0
_STEP_S = 0.1  # of the walk; far shorter than a trial
_PERCENT = 100.0


@dataclass
class Machine:
    """What both devices run on: its clock, and its level at each moment."""

    seed: int
    walk_a_minute: float
    now_s: float = 0.0
    levels: list[float] = field(default_factory=lambda: [0.0])

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng([self.seed, 7])

    def level_at(self, at_s: float) -> float:
        """Return the level at a moment; the walk goes on as far as is asked for."""
        step = self.walk_a_minute * math.sqrt(_STEP_S / 60)
        while len(self.levels) <= at_s / _STEP_S:
            self.levels.append(self.levels[-1] + step * float(self._rng.standard_normal()))
        return self.levels[int(at_s / _STEP_S)]


class Device:
    """One side: its search, the pool that it is played on, and the round of each trial."""

    def __init__(self, machine: Machine, factor: float, seed: int, trial_s: float) -> None:
        self._machine = machine
        self._pool = VirtualPool(_service(machine, factor), Queue(), seed=seed)
        self.rounds: list[int] = []
        plan = SearchPlan(
            kinds=(Exponential(),),
            max_latencies_s=(0.010,),
            percentile=99.0,
            max_trial_s=_TRIAL_S,
            usual_trial_s=trial_s,
            budget_s=_BUDGET_S,
            precision=0.02,
            seed=seed,
            queue=Queue(),
            first_guess_qps=400.0,
            growth=4.0,  # takes a third of the time of 1.0; rates of trials matter little here
            short_turns=trial_s == _USUAL_S,
        )
        self.search = Search(plan)
        self.search.contest([_KEY] if trial_s == _USUAL_S else [])

    def play(self, number: int) -> bool:
        """Play the trials of one turn; return whether there was one left to play."""
        while (request := self.search.next()) is not None:
            schedule = make_schedule(
                request.kind, request.target_qps, request.queries, request.seed
            )
            self._pool.wait_until(self._machine.now_s)
            completions = self._pool.run(schedule, request.max_backlog_s)
            self._machine.now_s = self._pool.now_s
            self.search.record(request, completions)
            self.rounds.append(number)
            if request.purpose != "saturation":
                return True
        return False

    def rate(self) -> Rate:
        """Return what is known by now, round by round."""
        by_round = self.search.log_capacity_by_round(self.rounds)[_KEY]
        return Rate(1.0, rounds=by_round)

    def answer(self) -> Answer:
        """Return the answer of the whole search."""
        return self.search.answers()[_KEY[0]][_KEY[1]]


def _service(machine: Machine, factor: float) -> Service:
    def serve(rng: np.random.Generator, batch: Batch) -> float:
        return factor * lognormal_s(rng) * math.exp(machine.level_at(batch.start_s))

    return serve


def in_turns(seed: int, factor: float, walk: float, margin: float) -> dict[str, Any]:
    """Measure both sides in turns, with looks; return the verdict and the intervals."""
    machine, order = Machine(seed, walk), np.random.default_rng([seed, 8])
    sides = [Device(machine, f, 2 * seed + n, _USUAL_S) for n, f in enumerate((1.0, factor))]
    number, look = 0, 0
    while True:
        number += 1
        going_on = [sides[place].play(number) for place in order.permutation(2)]
        spent = sum(side.search.measured_s for side in sides) / (2 * _BUDGET_S)
        due = looks_due(spent) if all(going_on) else LOOKS
        if due == look:
            continue
        confidence, look = confidence_at(due, look), due
        a, b = (side.rate() for side in sides)
        found = compare_rates(_KEY, a, b, margin, same_sweep=True, confidence=confidence)
        if found.is_decided(margin) or look == LOOKS:
            break
    plain = paired_ratio(a.rounds, b.rounds)
    return {
        "verdict": found.verdict,
        "ratio": found.ratio.ratio,
        "sequential": [found.ratio.low, found.ratio.high],
        "plain": [plain.low, plain.high],
        "rounds": found.ratio.rounds,
        "measured_s": machine.now_s,
    }


def one_after_the_other(seed: int, factor: float, walk: float, margin: float) -> dict[str, Any]:
    """Measure one side and then the other, each in a run of its own."""
    machine, rates = Machine(seed, walk), []
    for place, own in enumerate((1.0, factor)):
        device = Device(machine, own, 2 * seed + place, _TRIAL_S)
        while device.play(0):
            pass
        answer = device.answer()
        rates.append(Rate(answer.capacity_qps, *(answer.capacity_ci95 or (0.0, math.inf))))
    found = compare_rates(_KEY, *rates, margin, same_sweep=False)
    interval = [found.ratio.low, found.ratio.high]
    return {
        "verdict": found.verdict,
        "ratio": found.ratio.ratio,
        "sequential": interval,
        "plain": interval,
        "rounds": 0,
        "measured_s": machine.now_s,
    }


_WAYS = {"in turns": in_turns, "one after the other": one_after_the_other}


def compete(job: tuple[str, int, float, float, float]) -> dict[str, Any]:
    """Run one comparison; return it with what it was."""
    way, seed, factor, walk, margin = job
    begin_s = time.process_time()
    found = _WAYS[way](seed, factor, walk, margin)
    spent_s = time.process_time() - begin_s
    return {"way": way, "seed": seed, "factor": factor, "walk": walk, **found, "cpu_s": spent_s}


def row(rows: Sequence[dict[str, Any]], truth: float) -> str:
    """Return one line of the table, for rows that are alike but for the seed."""
    first = rows[0]
    wide = {
        kind: _PERCENT * float(np.median([np.subtract(*one[kind][::-1]) / 2 for one in rows]))
        for kind in ("plain", "sequential")
    }
    verdicts = [one["verdict"] for one in rows]
    cells = [
        f"{first['factor']:g}",
        f"{_PERCENT * first['walk']:g} %",
        first["way"],
        str(len(rows)),
        f"{wide['plain']:.2f}",
        f"{sum(one['plain'][0] <= truth <= one['plain'][1] for one in rows)}",
        f"{wide['sequential']:.2f}",
        f"{sum(one['sequential'][0] <= truth <= one['sequential'][1] for one in rows)}",
        *(str(verdicts.count(v)) for v in ("faster", "slower", "no difference", "undecided")),
        f"{np.median([one['rounds'] for one in rows]):.0f}",
        f"{np.median([one['measured_s'] for one in rows]):.0f}",
        f"{np.mean([one['cpu_s'] for one in rows]):.1f}",
    ]
    return f"| {' | '.join(cells)} |"


HEADER = [
    *("times", "walk", "measured", "of", "half-width %", "holds", "with looks %", "holds"),
    *("faster", "slower", "no difference", "undecided", "rounds", "measured s", "CPU s"),
]


def table(rows: Sequence[dict[str, Any]], truths: dict[float, float]) -> Iterator[str]:
    """Yield a table of all comparisons."""
    yield f"| {' | '.join(HEADER)} |"
    yield "|" + "---:|" * len(HEADER)
    for key in sorted({(one["factor"], one["walk"], one["way"]) for one in rows}):
        own = [one for one in rows if (one["factor"], one["walk"], one["way"]) == key]
        yield row(own, truths.get(key[0], 1.0))


def true_ratio(factor: float) -> float:
    """Return the ratio of the capacities of a device that takes `factor` times as long."""
    from study.devices import capacity_at

    return capacity_at(math.log(factor)) / capacity_at(0.0)


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="comparisons of each kind")
    parser.add_argument("--factor", type=float, default=1.0, help="service times of B over A's")
    parser.add_argument("--walk", type=float, default=0.10, help="of the level, a minute")
    parser.add_argument("--margin", type=float, default=0.03)
    parser.add_argument("--way", choices=list(_WAYS), default="in turns")
    parser.add_argument("--results", type=Path, default=Path("study_compare.jsonl"))
    parser.add_argument("--seconds", type=float, default=math.inf, help="end after about so many")
    given = parser.parse_args()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a process for each core already
    rows = _read(given.results)
    known = {(one["way"], one["seed"], one["factor"], one["walk"]) for one in rows}
    jobs = [(given.way, n, given.factor, given.walk, given.margin) for n in range(given.seeds)]
    missing = [job for job in jobs if job[:4] not in known]
    deadline_s = time.monotonic() + given.seconds
    with multiprocessing.get_context("spawn").Pool(2) as pool, given.results.open("a") as file:
        for found in pool.imap_unordered(compete, missing):
            rows.append(found)
            file.write(json.dumps(found) + "\n")
            file.flush()
            if time.monotonic() > deadline_s:
                pool.terminate()
                break
    print("\n".join(table(rows, {f: true_ratio(f) for f in {one["factor"] for one in rows}})))


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


if __name__ == "__main__":
    main()

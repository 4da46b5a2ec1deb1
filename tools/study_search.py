"""Study the search in virtual time, on queues whose true answer is known.

    python tools/study_search.py --seeds 200 --first-seed 5000
    python tools/study_search.py --seeds 100 --false-pass

For each system many searches run with different seeds, beside plain bisection on the raw percentile
and LoadGen's doubling and bisection with one arrival seed, all with the same number of queries. A
markdown table goes to stdout. Uses all cores, about a second of one for each seed and system. With
`--false-pass` the devices misbehave, and rates that were reported but don't hold are counted.
"""

import argparse
import math
import multiprocessing
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from multiprocessing.pool import Pool

import numpy as np
from study.systems import SYSTEMS, TROUBLES, System, late_fraction, mean_times, true_capacity

from mlbench.outcomes import Answer
from mlbench.pool.virtual import Batch, VirtualPool
from mlbench.search.plan import SearchPlan
from mlbench.search.search import Search
from mlbench.stats.percentiles import percentile
from mlbench.trial.schedule import make_schedule

_TRIALS = (8, 16)  # of the bisection, with equal shares of the queries


def search(
    system: System, pool: VirtualPool, seed: int, queries: int, truth: float, precision: float
) -> Answer:
    """Run one search with a budget of about this many queries."""
    budget_s = queries / truth
    plan = SearchPlan(
        kinds=(system.kind,),
        max_latencies_s=(system.max_latency_s,),
        percentile=99.0,
        max_trial_s=budget_s / 4,
        budget_s=budget_s,
        precision=precision,
        seed=seed,
        queue=system.queue,
        first_guess_qps=0.8 * system.saturated_qps,
    )
    state = Search(plan)
    while (request := state.next()) is not None:
        schedule = make_schedule(request.kind, request.target_qps, request.queries, request.seed)
        state.record(request, pool.run(schedule, request.max_backlog_s))
    return state.answers()[system.kind.name][system.max_latency_s]


def false_passes(number: int, seed: int, queries: int) -> tuple[bool, bool, bool]:
    """Search on a misbehaving device; say whether a rate was reported, and wrongly so.

    A rate is wrong when, less the lower half of the relative interval, it does not hold in 4
    million queries: on the device as it was half-way through the search, or as it is at the end.
    """
    system, trouble = TROUBLES[number]
    serve = system.service()
    pool = VirtualPool(lambda rng, batch: serve(rng, batch) * trouble(batch), seed=seed)
    answer = search(system, pool, seed, queries, 0.6 * system.saturated_qps, 0.02)
    if answer.qps is None or not answer.capacity_qps or not answer.capacity_ci95:
        return (answer.qps is not None,) * 3
    lowest = answer.qps * answer.capacity_ci95[0] / answer.capacity_qps
    wrong = []
    for moment_s in (pool.now_s / 2, pool.now_s):
        slow = trouble(Batch(1, moment_s, 0.0, answer.qps))
        then = replace(system, mean_times=mean_times(slow * float(system.mean_times.by_size_s[1])))
        wrong.append(late_fraction(then, lowest) > 0.01)
    return True, wrong[0], wrong[1]


def count_false_passes(pool: Pool, seeds: range, queries: int) -> None:
    """Print, for each misbehaving device, how many reported rates do not hold."""
    for number, (system, _) in enumerate(TROUBLES):
        own = seeds[number :: len(TROUBLES)]
        found = pool.starmap(false_passes, [(number, seed, queries) for seed in own], 1)
        rates, middle, end = (sum(column) for column in zip(*found, strict=True))
        print(
            f"{system.name}: {len(own)} searches, {rates} rates, false on the device as it was "
            f"half-way {middle}, at the end {end}",
            flush=True,
        )


def _pool(system: System, seed: int) -> VirtualPool:
    return VirtualPool(system.service(), system.queue, seed=seed)


def _meets(system: System, pool: VirtualPool, qps: float, queries: int, seed: int) -> bool:
    completions = pool.run(make_schedule(system.kind, qps, queries, seed))
    return percentile(completions.latency_s, 99) <= system.max_latency_s


def bisect(system: System, seed: int, queries: int, trials: int) -> float:
    """Halve the range of rates on the raw percentile of each trial, with fresh arrivals."""
    pool = _pool(system, seed)
    low, high = 0.0, system.saturated_qps
    for step in range(trials):
        middle = (low + high) / 2
        met = _meets(system, pool, middle, queries // trials, seed * 100 + step)
        low, high = (middle, high) if met else (low, middle)
    return low


def double_and_bisect(system: System, seed: int, queries: int, trials: int = 12) -> float:
    """Double from a sixteenth of saturation until it fails, then halve; one arrival seed."""
    pool = _pool(system, seed)
    low, high = 0.0, math.inf
    rate = system.saturated_qps / 16
    for _ in range(trials):
        met = _meets(system, pool, rate, queries // trials, seed)
        low, high = (rate, high) if met else (low, rate)
        rate = 2 * rate if high == math.inf else (low + high) / 2
    return low


@dataclass(frozen=True)
class Outcome:
    """One search, the rates that the rivals found with as many queries, and CPU seconds spent."""

    answer: Answer
    rivals: tuple[float, ...]
    spent_s: float


def compete(number: int, seed: int, queries: int, precision: float, truth: float) -> Outcome:
    """Search with one seed on the system of this number, and let the rivals do so too."""
    system, begin = SYSTEMS[number], time.process_time()
    answer = search(system, _pool(system, seed), seed, queries, truth, precision)
    spent_s = time.process_time() - begin
    rivals = [bisect(system, seed, queries, trials) for trials in _TRIALS]
    return Outcome(answer, (*rivals, double_and_bisect(system, seed, queries)), spent_s)


def study(pool: Pool, number: int, seeds: Iterable[int], queries: int, precision: float) -> str:
    """Return one row of the table."""
    system = SYSTEMS[number]
    truth = true_capacity(system)
    outcomes = pool.starmap(compete, [(number, s, queries, precision, truth) for s in seeds], 1)
    answers = [outcome.answer for outcome in outcomes]
    known = [a for a in answers if a.capacity_qps and a.capacity_ci95]
    off = np.array([a.capacity_qps / truth - 1 for a in known if a.capacity_qps])
    ci = np.array([a.capacity_ci95 for a in known])
    covered = ((ci[:, 0] <= truth) & (truth <= ci[:, 1])).mean()
    half = np.median((ci[:, 1] - ci[:, 0]) / 2 / truth)
    met = np.array([a.qps / truth for a in answers if a.qps is not None])
    rivals = np.array([outcome.rivals for outcome in outcomes]) / truth - 1
    cells = [
        f"{system.name}",
        f"{truth:.1f}",
        f"{100 * np.median(off):+.2f}",
        f"{100 * np.median(np.abs(off)):.2f}",
        f"{100 * off.std():.2f}",
        f"{100 * half:.2f}",
        f"{100 * covered:.1f}",
        f"{np.median(met):.3f}" if len(met) else "-",
        f"{len(answers) - len(met)}",
        f"{np.median([a.queries for a in answers]):,.0f}",
        *(f"{100 * np.median(r):+.1f} / {100 * r.std():.1f}" for r in rivals.T),
        f"{np.mean([outcome.spent_s for outcome in outcomes]):.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


HEADER = (
    "| system | true qps | bias % | median error % | spread % | half-width % | coverage % "
    "| met / true | unmet | queries | bisection, 8 trials: bias / spread % "
    "| 16 trials: bias / spread % | doubling: bias / spread % | s |"
)


def main() -> None:
    """Print the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="searches for each system")
    parser.add_argument("--first-seed", type=int, default=0, help="of consecutive ones")
    parser.add_argument("--queries", type=int, default=10_000, help="queries for each search")
    parser.add_argument("--precision", type=float, default=0.002, help="when a search may end")
    parser.add_argument("--only", default="", help="systems whose name contains this")
    parser.add_argument("--false-pass", action="store_true", help="on misbehaving devices")
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a process for each core already
    with multiprocessing.get_context("spawn").Pool() as pool:
        if arguments.false_pass:
            count_false_passes(pool, seeds, arguments.queries)
            return
        print(HEADER)
        print("|---|" + "---:|" * (HEADER.count("|") - 2))
        for number, system in enumerate(SYSTEMS):
            if arguments.only in system.name:
                row = study(pool, number, seeds, arguments.queries, arguments.precision)
                print(row, flush=True)


if __name__ == "__main__":
    main()

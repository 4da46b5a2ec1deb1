"""Study the search in virtual time, on devices whose true answer is known.

    python tools/study_search.py --seeds 60 --first-seed 5000

For each system many searches run with different seeds, beside plain bisection on the raw percentile
and LoadGen's doubling and bisection with one arrival seed, all with the same number of queries. A
markdown table goes to stdout. Then come devices that no queue of independent service times
describes. Uses all cores, about three seconds of one for each seed and system.
"""

import argparse
import math
import multiprocessing
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from study.devices import DEVICES
from study.systems import SYSTEMS, System, lognormal, true_capacity

from mlbench.outcomes import Answer
from mlbench.pool.virtual import VirtualPool
from mlbench.search.plan import SearchPlan
from mlbench.search.search import Search
from mlbench.stats.percentiles import percentile
from mlbench.trial.schedule import make_schedule

_TRIALS = (8, 16)  # of the bisection, with equal shares of the queries


def search(pool: VirtualPool, plan: SearchPlan) -> Answer:
    """Run the whole search of a plan with one answer."""
    state = Search(plan)
    while (request := state.next()) is not None:
        schedule = make_schedule(request.kind, request.target_qps, request.queries, request.seed)
        state.record(request, pool.run(schedule, request.max_backlog_s))
    return state.answers()[plan.kinds[0].name][plan.max_latencies_s[0]]


def plan_of(system: System, seed: int, queries: int, truth: float, precision: float) -> SearchPlan:
    """Return the plan of a search with a budget of about this many queries."""
    budget_s = queries / truth
    return SearchPlan(
        kinds=(system.kind,),
        max_latencies_s=(system.max_latency_s,),
        percentile=system.percentile,
        max_trial_s=budget_s / 4,
        budget_s=budget_s,
        precision=precision,
        seed=seed,
        queue=system.queue,
        first_guess_qps=0.8 * system.saturated_qps,
    )


def _pool(system: System, seed: int) -> VirtualPool:
    return VirtualPool(system.service(), system.queue, seed=seed)


def _meets(system: System, pool: VirtualPool, qps: float, queries: int, seed: int) -> bool:
    completions = pool.run(make_schedule(system.kind, qps, queries, seed))
    return percentile(completions.latency_s, system.percentile) <= system.max_latency_s


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
    """One search: its truth, its answer, the rates that the rivals found, and its CPU seconds."""

    truth: float
    answer: Answer
    rivals: tuple[float, ...]
    spent_s: float

    @property
    def covers(self) -> bool:
        """Whether the interval holds the truth, which is known to 0.05 %."""
        low, high = self.answer.capacity_ci95 or (math.nan, math.nan)
        return low <= 1.0005 * self.truth and high >= 0.9995 * self.truth

    @property
    def is_false(self) -> bool:
        """Whether a rate above the truth was reported."""
        return self.answer.qps is not None and self.answer.qps > 1.001 * self.truth


def compete(number: int, seed: int, queries: int, precision: float, truth: float) -> Outcome:
    """Search with one seed on the system of this number, and let the rivals do so too."""
    system, begin_s = SYSTEMS[number], time.process_time()
    answer = search(_pool(system, seed), plan_of(system, seed, queries, truth, precision))
    spent_s = time.process_time() - begin_s
    rivals = [bisect(system, seed, queries, trials) for trials in _TRIALS]
    return Outcome(truth, answer, (*rivals, double_and_bisect(system, seed, queries)), spent_s)


def search_device(number: int, seed: int, queries: int, precision: float) -> Outcome:
    """Search with one seed on the device of this number."""
    device, begin_s = DEVICES[number], time.process_time()
    like = System(device.name, lognormal(0.1), max_latency_s=device.max_latency_s)
    plan = plan_of(like, seed, queries, device.usual_qps, precision)
    serve = device.make(plan.budget_s)
    pool = VirtualPool(serve, seed=seed)
    answer = search(pool, plan)
    truth = device.truth(serve, pool.now_s, np.random.default_rng([seed, 1]))
    return Outcome(truth, answer, (), time.process_time() - begin_s)


def row(name: str, outcomes: Sequence[Outcome]) -> str:
    """Return one row of the table."""
    truth = np.array([outcome.truth for outcome in outcomes])
    answers = [outcome.answer for outcome in outcomes]
    off = np.array([answer.capacity_qps or math.nan for answer in answers]) / truth - 1
    ends = np.array([answer.capacity_ci95 or (math.nan, math.nan) for answer in answers])
    met = np.array([answer.qps or math.nan for answer in answers]) / truth
    rivals = np.array([outcome.rivals for outcome in outcomes]).T / truth - 1
    cells = [
        name,
        f"{np.mean(truth):.1f}",
        f"{100 * np.nanmedian(off):+.2f}",
        f"{100 * np.nanmedian(np.abs(off)):.2f}",
        f"{100 * np.nanstd(off):.2f}",
        f"{100 * np.nanmedian((ends[:, 1] - ends[:, 0]) / 2 / truth):.2f}",
        f"{sum(outcome.covers for outcome in outcomes)}",
        f"{sum(outcome.is_false for outcome in outcomes)}",
        f"{sum(answer.qps is None for answer in answers)}",
        f"{np.nanmedian(met):.3f}",
        f"{np.median([answer.queries for answer in answers]):,.0f}",
        *(f"{100 * np.median(r):+.1f} / {100 * r.std():.1f}" for r in rivals),
        f"{np.mean([outcome.spent_s for outcome in outcomes]):.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


COLUMNS = [
    *("true qps", "bias %", "median error %", "spread %", "half-width %", "covered", "false"),
    *("no rate", "met / true", "queries"),
]
RIVALS = [f"{name}: bias / spread %" for name in ("bisection, 8 trials", "16 trials", "doubling")]


def header(*more: str) -> str:
    """Return the head of the table."""
    cells = ["device", *COLUMNS, *more, "s"]
    return f"| {' | '.join(cells)} |\n|---|" + "---:|" * (len(cells) - 1)


def main() -> None:
    """Print the tables, row by row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=60, help="searches for each device")
    parser.add_argument("--first-seed", type=int, default=0, help="of consecutive ones")
    parser.add_argument("--queries", type=int, default=10_000, help="queries for each search")
    parser.add_argument("--precision", type=float, default=0.002, help="when a search may end")
    parser.add_argument("--only", default="", help="devices whose name contains this")
    given = parser.parse_args()
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    how = (given.queries, given.precision)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a process for each core already
    with multiprocessing.get_context("spawn").Pool() as pool:
        print(header(*RIVALS))
        for number, system in enumerate(SYSTEMS):
            if given.only in system.name:
                truth = true_capacity(system)
                jobs = [(number, seed, *how, truth) for seed in seeds]
                print(row(system.name, pool.starmap(compete, jobs, 1)), flush=True)
        print(f"\n{header()}")
        for number, device in enumerate(DEVICES):
            if given.only in device.name:
                jobs = [(number, seed, *how) for seed in seeds]
                print(row(device.name, pool.starmap(search_device, jobs, 1)), flush=True)


if __name__ == "__main__":
    main()

"""Study races in virtual time: do they find the best of 24 configurations, and at what cost.

    python tools/study_race.py --seeds 20 --first-seed 1 --share 0.4

For each seed a grid of configurations is drawn, and a machine whose speed walks by 10 % from minute
to minute. A race has `--share` of the time that measuring all equally would take. A line for each
seed says how far the winner is from the best, by the true capacities, and how many queries it took
compared with all configurations measured to the end of their budgets, at the rates of the race.
Half a minute of one core for each seed.
"""

import argparse
import multiprocessing
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from study.grids import MAX_LATENCY_S, Cell, Machine, make_grid
from study.systems import System, late_fraction

from mlbench.bench.settings import RunSettings, make_settings
from mlbench.bench.sweep.entry import Entry, search_plan
from mlbench.bench.sweep.plan import USUAL_PACE, Configuration, Pace
from mlbench.bench.sweep.racing import look
from mlbench.bench.sweep.rounds import shuffled
from mlbench.bench.sweep.winners import find_winners
from mlbench.pool.virtual import VirtualPool
from mlbench.trial.schedule import make_schedule

_BUDGET_S = 30.0  # of each configuration
_PACE = Pace(USUAL_PACE.rounds, growth=1.5)  # half the estimates, which take most of the time
_BETWEEN_S = 1.0  # from one turn to the next
_GUESS = 0.8  # of the saturated rate, as rough as a warm-up tells it


@dataclass(frozen=True)
class Outcome:
    """How a race ended: the true rate of its winner over the best one's, and what it took."""

    seed: int
    winner: str
    of_best: float
    queries: int
    equally: float
    rounds: int
    left: int


def true_qps(cells: Sequence[Cell]) -> dict[str, float]:
    """Return the true capacities at the machine's usual speed, of the best ones to about 0.3 %."""
    found = {}
    for cell in cells:
        found[cell.name] = _true_qps(cell.system, 16, 0.02, 0.0, cell.system.saturated_qps)
    least = 0.93 * max(found.values())
    for cell in cells:
        if (roughly := found[cell.name]) > least:
            found[cell.name] = _true_qps(cell.system, 96, 0.002, 0.95 * roughly, 1.05 * roughly)
    return found


def _true_qps(system: System, rows: int, precision: float, low: float, high: float) -> float:
    while high - low > precision * high:
        middle = (low + high) / 2
        is_met = late_fraction(system, middle, rows=rows) <= 1 - system.percentile / 100
        low, high = (middle, high) if is_met else (low, middle)
    return (low + high) / 2


def race(seed: int, share: float) -> Outcome:
    """Race the grid of a seed."""
    cells, machine = make_grid(seed), Machine(seed)
    entries = [Entry(_configuration(cell, seed)) for cell in cells]
    pools = {
        cell.name: VirtualPool(machine.serve(cell.system), cell.system.queue, seed)
        for cell in cells
    }
    guess = {cell.name: _GUESS * cell.system.saturated_qps for cell in cells}
    now_s, number = 0.0, 0
    while live := [entry for entry in entries if entry.is_live]:
        number += 1
        for entry in shuffled(live, seed, number):
            pool = pools[entry.name]
            pool.wait_until(now_s + _BETWEEN_S)
            if entry.search is None:
                settings = entry.configuration.settings
                entry.begin(search_plan(settings, pool.queue, guess[entry.name], _PACE))
            for wanted in entry.turn():
                schedule = make_schedule(
                    wanted.kind, wanted.target_qps, wanted.queries, wanted.seed
                )
                entry.record(number, wanted, pool.run(schedule, wanted.max_backlog_s))
            now_s = max(now_s, pool.now_s)
        look(entries, share * _BUDGET_S * len(entries))
    return _outcome(seed, cells, entries, number)


def _configuration(cell: Cell, seed: int) -> Configuration:
    options = {
        "backend": "simulated",
        "max_latency": (MAX_LATENCY_S,),
        "arrivals": ("exponential",),
        "batch_size": cell.batch_size,
        "budget": _BUDGET_S,
        "seed": seed,
        "output": Path("nowhere"),
    }
    return Configuration(cell.name, {}, options, make_settings(RunSettings, options, {}))


def _outcome(seed: int, cells: list[Cell], entries: list[Entry], rounds: int) -> Outcome:
    truth = true_qps(cells)
    winner = find_winners([entry.standing() for entry in entries])["exponential", MAX_LATENCY_S]
    queries = {
        entry.name: sum(len(seen.due_s) for seen in entry.search.observations)
        for entry in entries
        if entry.search
    }
    return Outcome(
        seed,
        winner.name,
        truth[winner.name] / max(truth.values()),
        sum(queries.values()),
        sum(queries[entry.name] * _BUDGET_S / entry.measured_s for entry in entries),
        rounds,
        sum(entry.state != "dropped" for entry in entries),
    )


def main() -> None:
    """Run the races and print a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=0.4)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    asked = parser.parse_args()
    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    print("| seed | winner | of the best | queries | of all equally | rounds | not dropped |")
    print("|---|---|---|---|---|---|---|")
    found = []
    with multiprocessing.Pool(asked.processes) as pool:
        for one in pool.imap_unordered(_one, [(seed, asked.share) for seed in seeds]):
            found.append(one)
            print(
                f"| {one.seed} | {one.winner} | {one.of_best:.2%} | {one.queries:,} "
                f"| {one.queries / one.equally:.0%} | {one.rounds} | {one.left} |",
                flush=True,
            )
    good = sum(one.of_best >= 0.98 for one in found)
    most = max(one.queries / one.equally for one in found)
    print(f"\nwithin 2 % of the best: {good} of {len(found)}; at most {most:.0%} of the queries")


def _one(asked: tuple[int, float]) -> Outcome:
    return race(*asked)


if __name__ == "__main__":
    main()

"""Inject faults of all kinds, in all phases, and see what becomes of trials and runs.

    python tools/study_faults.py --runs 200 --seed 1

Each case is a short `trial` or `run` on one, two or four workers of the backend `faulty`, of which
one breaks once, or all break again and again; or gets a signal from outside; or the coordinator is
stopped for five seconds. Wrong is a fault that nobody saw, a trial that passed with answers missing
or false, an answer that is not that of the device, and a fault once that ended the run. Takes about
three seconds a case. A table goes to stdout, what is wrong to stderr.
"""

import functools
import itertools
import sys
from collections import defaultdict
from collections.abc import Sequence

import click
import numpy as np
from study.faults import Outcome, draw, inject

from mlbench.bench import run
from mlbench.bench.calibration import calibrate


@click.command(help=__doc__)
@click.option("--runs", default=100, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(runs: int, seed: int) -> None:
    """Inject the faults, one after the other, and print a row for each kind."""
    run.calibrate = functools.cache(calibrate)  # the same machine each time
    rng = np.random.default_rng(seed)
    found: defaultdict[str, list[Outcome]] = defaultdict(list)
    for number in range(runs):
        case = draw(number, rng)
        outcome = inject(case)
        found[case.kind].append(outcome)
        if outcome.wrong:
            print(f"WRONG {number}: {case}: {outcome.wrong}", file=sys.stderr, flush=True)
    print("| kind | cases | happened | went on | detected in s, median | most | wrong |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    everything = list(itertools.chain(*found.values()))
    for kind, outcomes in [*found.items(), ("all", everything)]:
        print(_row(kind, outcomes))


def _row(kind: str, outcomes: Sequence[Outcome]) -> str:
    times_s = [one.detected_s for one in outcomes if one.detected_s is not None]
    median, most = (f"{np.median(times_s):.2f}", f"{max(times_s):.2f}") if times_s else ("", "")
    happened = sum(one.happened for one in outcomes)
    went_on = sum(one.went_on for one in outcomes)
    wrong = sum(bool(one.wrong) for one in outcomes)
    return f"| {kind} | {len(outcomes)} | {happened} | {went_on} | {median} | {most} | {wrong} |"


if __name__ == "__main__":
    main()

"""Kill and stop a worker at every step of a claim, many times, and see what becomes of the trial.

    python tools/study_claim_faults.py --runs 100

Each run plays a trial on three simulated workers of which the first fails: at a step of a claim
(tools/faulty_worker.py), or at a random moment. A run is wrong when a query is missing from the
account or counted twice, when another's query is lost, or when the fault is not told.
"""

import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path

import click
import numpy as np

from mlbench.contracts import wire
from mlbench.contracts.backend import WorkerSpec
from mlbench.pool import local
from mlbench.pool.columns import NOBODY
from mlbench.pool.coordinator import WorkerPool
from mlbench.records import Completions
from mlbench.trial.schedule import make_schedule

_FAULTY = [sys.executable, str(Path(__file__).with_name("faulty_worker.py"))]
_USUAL = local._COMMAND
_STEPS = ("claiming", "claimed", "holding", "serving", "answering", "random")
_QPS, _SECONDS = 600.0, 1.0


@click.command(help=__doc__)
@click.option("--runs", default=100, show_default=True, help="Of each step and signal.")
@click.option("--seed", default=0, show_default=True)
def main(runs: int, seed: int) -> None:
    """Print a row for each signal and step."""
    rng = np.random.default_rng(seed)
    print("| signal | step | runs | faults told | most lost | wrong |")
    print("|---|---|---:|---:|---:|---:|")
    for word in ("KILL", "STOP"):
        for step in _STEPS:
            found = [_run(word, step, rng) for _ in range(runs)]
            told = sum(bool(completions.faults) for completions in found)
            wrong = Counter(why for completions in found if (why := _wrong(completions)))
            most = max(completions.lost for completions in found)
            print(
                f"| {word} | {step} | {runs} | {told} | {most} | {dict(wrong) or 0} |", flush=True
            )


def _run(word: str, step: str, rng: np.random.Generator) -> Completions:
    """Play one trial in which the first worker gets the signal."""
    options = {"service_ms": "3", "cv": "0.3"}
    specs = [WorkerSpec(i, "", "simulated", options=options) for i in range(3)]
    random = step == "random"
    local._COMMAND = _USUAL if random else _FAULTY
    os.environ["FAULT"] = f"{word} {step} {rng.integers(5, 60)}"
    schedule = make_schedule("exponential", _QPS, round(_QPS * _SECONDS), int(rng.integers(2**31)))
    with WorkerPool(specs, local.LocalLauncher(), warm_up_s=0.01) as pool:
        if random:
            blow = (pool.pids[0], signal.Signals[f"SIG{word}"])
            threading.Timer(rng.uniform(0.02, 0.3), os.kill, blow).start()
        return pool.run(schedule)


def _wrong(completions: Completions) -> str | None:
    """Say what is wrong with the account of a trial that lost its first worker."""
    lost = completions.status == wire.LOST
    if completions.completed + completions.lost != len(completions.status):
        return "account"
    if sum(worker.queries for worker in completions.workers) != completions.completed:
        return "counted twice"
    if not np.isin(completions.worker[lost], (0, NOBODY)).all():
        return "another's query lost"
    held = np.count_nonzero(completions.worker[lost] == 0)
    if not completions.faults or completions.faults[-1].figures.get("held", 0) != held:
        return "not told"
    return None


if __name__ == "__main__":
    main()

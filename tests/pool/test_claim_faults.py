"""Workers that are killed or stopped at any step of a claim: the others go on."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from mlbench.contracts import wire
from mlbench.contracts.findings import Finding
from mlbench.pool import local
from mlbench.trial.schedule import make_schedule

_FAULTY = Path(__file__).parents[2] / "tools" / "faulty_worker.py"
_QUERIES = 400


@pytest.fixture(params=["KILL", "STOP"])
def faulty_pool(request, monkeypatch, start_pool, simulated_specs):
    """Return a function that starts three workers of which the first fails at this step."""
    started = []

    def start(step: str, count: int, **options):
        monkeypatch.setattr(local, "_COMMAND", [sys.executable, str(_FAULTY)])
        monkeypatch.setenv("FAULT", f"{request.param} {step} {count}")
        started.append(start_pool(simulated_specs(workers=3, service_ms=5, **options)))
        return started[0]

    yield start
    for pool in started:
        for worker in pool.dead:
            if request.param == "STOP":
                os.kill(pool.pids[worker], signal.SIGKILL)


@pytest.mark.parametrize("step", ["claiming", "claimed", "holding", "serving", "answering"])
def test_the_others_go_on_and_what_was_held_is_told(faulty_pool, step):
    """What a claim holds and answers on their way are lost, nothing counts twice, all is told."""
    pool = faulty_pool(step, 20)
    completions = pool.run(make_schedule("exponential", 150.0, _QUERIES, seed=3))
    assert completions.completed + completions.lost == _QUERIES
    assert completions.lost <= 12
    assert list(pool.dead) == [0]
    figures = {"worker": 0, "reason": pool.dead[0], "held": completions.lost}
    assert completions.faults == (Finding("worker_lost", figures),)
    assert sum(account.queries for account in completions.workers) == completions.completed
    assert (completions.worker[completions.status == wire.LOST] == 0).all()
    assert np.flatnonzero(completions.worker == 0)[-1] < _QUERIES / 2


def test_a_batch_that_is_held_is_lost_whole(faulty_pool):
    """Of a batch that waits for its timeout all queries are told as held.

    So are the answers to the batch before, if they were still on their way.
    """
    pool = faulty_pool("holding", 3, batch_size=4, timeout_ns=40_000_000)
    completions = pool.run(make_schedule("linear", 150.0, _QUERIES, seed=3))
    assert completions.completed + completions.lost == _QUERIES
    assert 4 <= completions.lost <= 12
    figures = {"worker": 0, "reason": pool.dead[0], "held": completions.lost}
    assert completions.faults == (Finding("worker_lost", figures),)

"""Workers that are killed or stopped at any step of a claim."""

import sys
from pathlib import Path

import numpy as np
import pytest

from mlbench.contracts import wire
from mlbench.pool import local
from mlbench.pool.columns import NOBODY
from mlbench.trial.schedule import make_schedule

_FAULTY = Path(__file__).parents[2] / "tools" / "faulty_worker.py"
_QUERIES = 400


@pytest.fixture(params=["KILL", "STOP"])
def faulty_pool(request, monkeypatch, start_pool, simulated_specs):
    """Return a function that starts three workers of which the first fails at this step."""

    def start(step: str, count: int, **options):
        with monkeypatch.context() as patch:
            patch.setattr(local, "_COMMAND", [sys.executable, str(_FAULTY)])
            patch.setenv("FAULT", f"{request.param} {step} {count}")
            return start_pool(simulated_specs(workers=3, service_ms=5, **options))

    return start


def _check(pool, completions, most_held):
    """What the first worker held, and what nobody has taken, is lost and nothing else; all is told.

    A worker that is stopped is told as such, and is given up when it has been silent for too long.
    """
    assert completions.cut_short
    assert completions.completed + completions.lost == len(completions.status)
    assert sum(account.queries for account in completions.workers) == completions.completed
    lost = completions.worker[completions.status == wire.LOST]
    assert set(lost.tolist()) <= {0, NOBODY}
    held = np.count_nonzero(lost == 0)
    assert held <= most_held
    *paused, fault = completions.faults
    assert {one.code for one in paused} <= {"worker_paused"}
    assert fault.code == "worker_lost"
    assert (fault.figures["worker"], fault.figures["held"]) == (0, held)
    completions = pool.run(make_schedule("exponential", 150.0, 30, seed=4))
    assert (completions.completed, completions.faults) == (30, ())
    return held


@pytest.mark.parametrize("step", ["claiming", "claimed", "holding", "serving", "answering"])
def test_whatever_a_worker_does_when_it_fails_the_account_is_exact(faulty_pool, step):
    """The others serve what they claimed, nothing counts twice, and the next trial is whole."""
    pool = faulty_pool(step, 20)
    _check(pool, pool.run(make_schedule("exponential", 150.0, _QUERIES, seed=3)), most_held=12)


def test_a_batch_that_is_held_is_lost_whole(faulty_pool):
    """Of a batch that waits for its timeout all queries are told as held that were due.

    So are the answers to the batch before, if they were still on their way.
    """
    pool = faulty_pool("holding", 3, batch_size=4, timeout_ns=40_000_000)
    _check(pool, pool.run(make_schedule("linear", 150.0, _QUERIES, seed=3)), most_held=12)

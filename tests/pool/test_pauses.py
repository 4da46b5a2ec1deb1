"""Pauses of the coordinator and of workers: never the device's fault."""

import os
import signal
import threading
import time

import pytest

from mlbench.contracts.findings import Finding
from mlbench.outcomes import LatencyLimit
from mlbench.pool.trial_play import TrialPlay
from mlbench.queueing.line import Queue
from mlbench.records import Completions
from mlbench.trial.replay import send_lag_ns
from mlbench.trial.schedule import make_schedule
from mlbench.trial.verdict import judge

_TEN_MS = LatencyLimit(99, 0.010)
_PAUSE_S = 0.7  # less is too little to be told from a slow host, and more is told as such


def _check(completions: Completions, queue: Queue) -> None:
    judged = judge(completions, _TEN_MS, queue, send_lag_ns(completions, queue))
    assert judged.verdict == "invalid"
    assert judged.reasons[0].code == "generator_late"
    assert send_lag_ns(completions, queue).max() > 0.5e9


@pytest.fixture
def pausing(monkeypatch):
    """Return a function that lets the coordinator pause for so many seconds in its next trial."""

    def pause(seconds: float) -> None:
        rest, calls = TrialPlay._rest, []

        def pausing(self: TrialPlay) -> None:
            calls.append(self)
            rest(self)
            if len(calls) == 5:
                time.sleep(seconds)

        monkeypatch.setattr(TrialPlay, "_rest", pausing)

    return pause


@pytest.mark.parametrize("workers", [1, 2])
def test_a_coordinator_that_pauses_makes_a_trial_invalid(pausing, shared_pools, workers):
    """When the workers run out of schedule, what they serve late is the load generator's lag."""
    pool = shared_pools(workers=workers, service_ms=2)
    pausing(_PAUSE_S)
    _check(pool.run(make_schedule("linear", 200.0, 600, seed=0)), Queue(workers))


def test_a_long_pause_of_the_coordinator_is_nobodys_fault(pausing, shared_pools):
    """Although nothing was heard for longer than patience lasts, the workers are taken back."""
    pool = shared_pools(workers=2, service_ms=2)
    pids = pool.pids
    pausing(2.5)
    completions = pool.run(make_schedule("linear", 200.0, 2_000, seed=0))
    (fault,) = completions.faults
    assert fault.code == "coordinator_paused"
    assert fault.figures["paused_s"] == pytest.approx(2.6, abs=0.3)
    assert completions.completed + completions.lost == len(completions.status)
    assert pool.run(make_schedule("linear", 200.0, 40, seed=1)).completed == 40
    assert pool.pids == pids


def test_a_worker_that_pauses_spoils_a_trial_and_is_taken_back(start_pool, simulated_specs):
    """That it was stopped is told, and when it goes on in time it is the same worker."""
    pool = start_pool(simulated_specs(workers=2, service_ms=2))
    pids = pool.pids
    for after_s, word in ((0.3, signal.SIGSTOP), (0.3 + _PAUSE_S, signal.SIGCONT)):
        threading.Timer(after_s, os.kill, (pids[1], word)).start()
    completions = pool.run(make_schedule("linear", 200.0, 600, seed=0))
    assert completions.faults == (Finding("worker_paused", {"worker": 1, "device": "cpu"}),)
    assert completions.completed + completions.lost == len(completions.status)
    assert pool.run(make_schedule("linear", 200.0, 40, seed=1)).completed == 40
    assert pool.pids == pids


def test_a_worker_that_goes_on_before_a_trial_starts_spoils_nothing(start_pool, simulated_specs):
    """A trial waits for a worker that is still stopped when it begins, and is played whole."""
    pool = start_pool(simulated_specs(workers=2, service_ms=2))
    os.kill(pool.pids[1], signal.SIGSTOP)
    threading.Timer(0.5, os.kill, (pool.pids[1], signal.SIGCONT)).start()
    completions = pool.run(make_schedule("linear", 200.0, 40, seed=0))
    assert (completions.completed, completions.faults) == (40, ())

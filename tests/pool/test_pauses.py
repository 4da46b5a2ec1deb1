"""Pauses of the coordinator and of workers: never the device's fault."""

import os
import signal
import threading
import time

import pytest

from mlbench.outcomes import LatencyLimit
from mlbench.pool.trial_play import TrialPlay
from mlbench.queueing.line import Queue
from mlbench.records import Completions
from mlbench.trial.replay import send_lag_ns
from mlbench.trial.schedule import make_schedule
from mlbench.trial.verdict import judge

_TEN_MS = LatencyLimit(99, 0.010)
_PAUSE_S = 1.0


def _check(completions: Completions, queue: Queue) -> None:
    judged = judge(completions, _TEN_MS, queue, send_lag_ns(completions, queue))
    assert judged.verdict == "invalid"
    assert judged.reasons[0].code == "generator_late"
    assert send_lag_ns(completions, queue).max() > 0.5e9


@pytest.mark.parametrize("workers", [1, 2])
def test_a_coordinator_that_pauses_makes_a_trial_invalid(monkeypatch, shared_pools, workers):
    """When the workers run out of schedule, what they serve late is the load generator's lag."""
    rest, calls = TrialPlay._rest, []

    def pausing(self: TrialPlay) -> None:
        calls.append(self)
        rest(self)
        if len(calls) == 5:
            time.sleep(_PAUSE_S)

    monkeypatch.setattr(TrialPlay, "_rest", pausing)
    pool = shared_pools(workers=workers, service_ms=2)
    _check(pool.run(make_schedule("linear", 200.0, 600, seed=0)), Queue(workers))


def test_a_worker_that_pauses_makes_a_trial_invalid(start_pool, simulated_specs):
    """A worker that is stopped for less than a silence is heard again, and its lag decides."""
    pool = start_pool(simulated_specs(service_ms=2))
    for after_s, word in ((0.5, signal.SIGSTOP), (0.5 + _PAUSE_S, signal.SIGCONT)):
        threading.Timer(after_s, os.kill, (pool.pids[0], word)).start()
    completions = pool.run(make_schedule("linear", 200.0, 600, seed=0))
    assert pool.dead == {}
    _check(completions, Queue())

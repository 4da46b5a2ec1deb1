"""Worker processes that die, and coordinators that do."""

import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from mlbench.contracts import wire
from mlbench.pool import starting
from mlbench.pool.columns import NOBODY
from mlbench.pool.coordinator import WorkerPool
from mlbench.pool.events import WorkerRestarted, WorkersAwaited
from mlbench.pool.local import LocalLauncher
from mlbench.pool.restarts import MOST_RESTARTS_EACH, WorkerKeepsFailingError
from mlbench.trial.schedule import make_schedule

_DEADLINE_S = 30


def _check_account(completions):
    """Every query that was due has one fate, and only what worker 0 held or nobody took is lost."""
    assert completions.cut_short
    assert completions.completed + completions.lost == len(completions.status)
    lost = completions.worker[completions.status == wire.LOST]
    assert set(lost.tolist()) <= {0, NOBODY}
    assert sum(account.queries for account in completions.workers) == completions.completed
    assert completions.faults[-1].figures["held"] == np.count_nonzero(lost == 0)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"die_after": 20}, "was ended by SIGKILL"),
        ({"die_after": 20, "die_by": "exit"}, "ended with status 7"),
        ({"hang_after": 20}, "hangs: nothing came of it for 2."),
    ],
)
def test_a_worker_that_fails_ends_the_trial_and_is_started_again(
    start_pool, faulty_specs, options, why
):
    """It is named with its cause, the account is exact, and the next trial has all workers."""
    told = []
    specs = faulty_specs(workers=2, service_ms=5, only_worker=0, **options)
    pool = start_pool(specs, tell=told.append)
    pid = pool.pids[0]
    completions = pool.run(make_schedule("linear", 100.0, 1_000, seed=0))
    _check_account(completions)
    (fault,) = completions.faults
    assert fault.code == "worker_lost"
    assert fault.figures["reason"].startswith(f"worker 0 (cpu, pid {pid}) {why}")
    completions = pool.run(make_schedule("linear", 100.0, 30, seed=1))
    assert (completions.completed, completions.faults) == (30, ())
    assert set(completions.worker.tolist()) == {0, 1}
    assert pool.pids[0] != pid
    (restarted,) = [event for event in told if isinstance(event, WorkerRestarted)]
    assert (restarted.worker, restarted.restart) == (f"worker 0 (cpu, pid {pid})", 1)
    assert restarted.cause.startswith(why)


def test_false_answers_spoil_a_trial(start_pool, faulty_specs):
    """A worker that tells what cannot be true is given up, and its answers do not count."""
    pool = start_pool(faulty_specs(workers=2, service_ms=5, lie="class", only_worker=0))
    completions = pool.run(make_schedule("linear", 100.0, 1_000, seed=0))
    _check_account(completions)
    (fault,) = completions.faults
    assert fault.code == "wrong_answers"
    assert "answered with a class below -1" in fault.figures["reason"]
    assert fault.figures["answers"] > 0
    assert pool.run(make_schedule("linear", 100.0, 30, seed=1)).completed == 30


def test_bytes_that_are_no_frame_spoil_a_trial(start_pool, faulty_specs):
    """What a worker sent is told, and it is started again."""
    pool = start_pool(faulty_specs(service_ms=5, lie="ragged"))
    (fault,) = pool.run(make_schedule("linear", 100.0, 1_000, seed=0)).faults
    assert "sent a frame of" in fault.figures["reason"]
    assert pool.run(make_schedule("linear", 100.0, 30, seed=1)).completed == 30


def test_a_worker_that_keeps_failing_is_not_started_for_ever(start_pool, simulated_specs):
    """After a few restarts it is enough: an error names the worker and its causes."""
    pool = start_pool(simulated_specs(backend="faulty", die_after=1))
    for _ in range(MOST_RESTARTS_EACH + 1):
        assert pool.run(make_schedule("linear", 100.0, 300, seed=0)).lost > 0
    with pytest.raises(
        WorkerKeepsFailingError, match=r"worker 0 .*was ended by SIGKILL \(4 times\)"
    ):
        pool.run(make_schedule("linear", 100.0, 10, seed=0))


@pytest.mark.parametrize("step", ["load", "warm_up"])
@pytest.mark.parametrize("how", ["die", "fail"])
def test_a_worker_that_fails_to_start_is_started_again(start_pool, faulty_specs, step, how):
    """A fault while loading or warming up, that does not come again, is only told."""
    told = []
    pool = start_pool(faulty_specs(**{step: how}), tell=told.append)
    (restarted,) = [event for event in told if isinstance(event, WorkerRestarted)]
    assert ("SIGKILL while it started" if how == "die" else "asked for") in restarted.cause
    assert pool.run(make_schedule("linear", 100.0, 20, seed=1)).completed == 20


def test_a_worker_that_never_starts_is_awaited_aloud(monkeypatch, simulated_specs):
    """Who is awaited, for what and for how long is told; after the second time it is enough."""
    monkeypatch.setattr(starting, "_TELL_EVERY_NS", 100_000_000)
    told = []
    specs = simulated_specs(backend="faulty", load="hang")
    with pytest.raises(WorkerKeepsFailingError, match=r"not ready within 0.5 s .*, twice"):
        WorkerPool(specs, LocalLauncher(), start_timeout_s=0.5, tell=told.append)
    awaited = [event for event in told if isinstance(event, WorkersAwaited)]
    assert all("worker 0 (cpu, pid" in event.workers[0] for event in awaited)
    assert {(event.step, event.timeout_s) for event in awaited} == {("load", 0.5)}
    waited_s = [event.waited_s for event in awaited[:3]]
    assert waited_s == sorted(waited_s)
    assert 0 == waited_s[0] < waited_s[-1] <= 0.5


def test_a_closed_pool_leaves_no_process(start_pool, simulated_specs):
    """Workers leave when their pool is closed."""
    pool = start_pool(simulated_specs(workers=2, service_ms=1))
    processes = [psutil.Process(pid) for pid in pool.pids]
    pool.close()
    assert not any(process.is_running() for process in processes)


_COORDINATOR = """
import sys
from mlbench.contracts.backend import WorkerSpec
from mlbench.pool.coordinator import WorkerPool
from mlbench.pool.local import LocalLauncher

specs = [WorkerSpec(i, "", "null") for i in range(2)]
with WorkerPool(specs, LocalLauncher(), warm_up_s=0.05) as pool:
    print(*pool.pids, flush=True)
    sys.stdin.read()
"""


def test_workers_leave_when_their_coordinator_is_gone():
    """A coordinator that is killed leaves no worker behind."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", _COORDINATOR], stdin=pipe, stdout=pipe) as parent:
        assert parent.stdout is not None
        workers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(workers) == 2
        parent.kill()
    end_s = time.monotonic() + _DEADLINE_S
    while any(map(_lives, workers)) and time.monotonic() < end_s:
        psutil.wait_procs(workers, timeout=0.1)
    assert not any(map(_lives, workers))


def _lives(process: psutil.Process) -> bool:
    """A child of a process that is gone may stay as a zombie where nobody collects it."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

"""Worker processes that die, and coordinators that do."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from mlbench.contracts.backend import WorkerSpec
from mlbench.contracts.errors import RunError
from mlbench.contracts.findings import Finding
from mlbench.pool.local import LocalHandle, LocalLauncher
from mlbench.trial.schedule import make_schedule

_DEADLINE_S = 30


class FatalLauncher:
    """Starts workers of which the first gets a signal when it is looked after the tenth time."""

    def __init__(self, signal_: signal.Signals = signal.SIGKILL) -> None:
        self.armed = False
        self.signal = signal_

    def start(self, spec: WorkerSpec) -> "FatalHandle":
        """Start one worker."""
        return FatalHandle(LocalLauncher().start(spec), self, doomed=spec.index == 0)


class FatalHandle:
    """A worker's handle that may turn on it."""

    def __init__(self, handle: LocalHandle, launcher: FatalLauncher, *, doomed: bool) -> None:
        self._handle, self._launcher, self._doomed = handle, launcher, doomed
        self._looks = 0
        self.pid = handle.pid

    def ended(self) -> str | None:
        """Count the looks of an armed launcher; signal at the tenth."""
        if self._launcher.armed and self._doomed:
            self._looks += 1
            if self._looks == 10:
                os.kill(self.pid, self._launcher.signal)
        return self._handle.ended()

    def stop(self, deadline_ns: int) -> None:
        """Stop as usual."""
        self._handle.stop(deadline_ns)


def test_a_worker_killed_in_a_trial_loses_what_it_held(start_pool, simulated_specs):
    """After a kill the rest is served by the others, and what was held is lost and counted."""
    launcher = FatalLauncher()
    pool = start_pool(simulated_specs(workers=2, service_ms=30), launcher)
    launcher.armed = True
    completions = pool.run(make_schedule("linear", 60.0, 120, seed=0))
    assert completions.completed + completions.failed + completions.lost == 120
    assert completions.lost > 0
    assert completions.workers[0].queries > 0
    assert completions.workers[1].queries > completions.workers[0].queries
    assert completions.lost <= 2
    assert list(pool.dead) == [0]
    assert str(pool.pids[0]) in pool.dead[0]
    figures = {"worker": 0, "reason": pool.dead[0], "held": completions.lost}
    assert completions.faults == (Finding("worker_lost", figures),)


def test_the_next_trial_goes_on_with_the_workers_left(start_pool, simulated_specs):
    """A pool with one dead worker plays the next trial on the other, without loss."""
    launcher = FatalLauncher()
    pool = start_pool(simulated_specs(workers=2, service_ms=5), launcher)
    launcher.armed = True
    pool.run(make_schedule("linear", 100.0, 200, seed=0))
    assert 0 in pool.dead
    completions = pool.run(make_schedule("linear", 100.0, 30, seed=1))
    assert completions.completed == 30
    assert set(completions.worker.tolist()) == {1}


def test_a_pool_without_workers_ends_its_trial_and_refuses_the_next(start_pool, simulated_specs):
    """When the last worker dies the trial ends with what it has; another one is an error."""
    launcher = FatalLauncher()
    pool = start_pool(simulated_specs(workers=1, service_ms=20), launcher)
    launcher.armed = True
    completions = pool.run(make_schedule("linear", 100.0, 300, seed=0))
    n = len(completions.schedule.due_ns)
    assert completions.completed + completions.failed + completions.lost == n
    assert completions.lost > 0
    with pytest.raises(RunError, match="worker 0"):
        pool.run(make_schedule("linear", 100.0, 10, seed=0))


def test_a_worker_that_falls_silent_is_given_up(start_pool, simulated_specs):
    """A worker that hangs is found by its silence; the trial ends and counts what it held."""
    launcher = FatalLauncher(signal.SIGSTOP)
    pool = start_pool(simulated_specs(workers=2, service_ms=5), launcher)
    launcher.armed = True
    completions = pool.run(make_schedule("linear", 100.0, 400, seed=0))
    assert completions.completed + completions.failed + completions.lost == 400
    assert completions.lost > 0
    assert list(pool.dead) == [0]
    os.kill(pool.pids[0], signal.SIGKILL)


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

import os
import threading
from dataclasses import replace
from functools import partial

import pytest

from mlbench.host import energy, gpu_watch, monitor
from mlbench.host.cgroup import Throttling
from mlbench.host.cores import CoreTimes
from mlbench.host.energy import EnergyMeter
from mlbench.host.monitor import HostReading, account, watch_host
from mlbench.host.processes import ProcessReading
from mlbench.records import GpuState

BEFORE = HostReading(
    at_s=1000.0,
    cores={core: CoreTimes(800.0, 10.0) for core in range(4)},
    processes={1: ProcessReading("ours", 5.0, 7), 2: ProcessReading("worker", 3.0, 0)},
    throttling=Throttling(2, 0.5),
    heat_throttles=4,
)
WORKERS = {2: (0,)}


def _after(idle_s: dict[int, float], used_s: dict[int, float], **more) -> HostReading:
    """Return the reading ten seconds later: what each core idled, what each of ours used."""
    cores = {core: CoreTimes(800.0 + idle_s.get(core, 10.0), 10.0) for core in range(4)}
    fresh = ProcessReading("new", 0.0, 0)
    processes = {
        pid: replace(BEFORE.processes.get(pid, fresh), cpu_s=cpu_s) for pid, cpu_s in used_s.items()
    }
    return replace(BEFORE, at_s=1010.0, cores=cores, processes=processes, **more)


def test_a_hog_on_the_workers_core_is_told_although_all_cores_are_idle():
    """Of four cores a seventh is used by others, of the worker's own core more than half."""
    after = _after({0: 0.0}, {1: 5.4, 2: 6.6})
    result = account(BEFORE, after, range(4), WORKERS)
    (own,) = result.device_cores
    assert own.cores == (0,)
    assert own.other_cpu_fraction == pytest.approx(0.6, abs=0.05)
    assert result.all_cores.other_cpu_fraction == pytest.approx(0.15)


def test_a_core_that_is_not_ours_is_not_looked_at():
    """A hog on a core that neither coordinator nor workers may use changes nothing."""
    after = _after({0: 6.0, 3: 0.0}, {1: 5.4, 2: 6.6})
    result = account(BEFORE, after, range(3), WORKERS)
    assert result.all_cores.cores == (0, 1, 2)
    assert result.all_cores.other_cpu_fraction == 0.0


def test_a_process_started_in_between_counts_whole_as_ours():
    """A worker that is only in the second reading is ours with all its CPU time."""
    after = _after({0: 3.0}, {1: 5.0, 2: 3.0, 3: 7.0})
    result = account(BEFORE, after, range(4), {2: (0,), 3: (0,)})
    assert result.device_cores[0].other_cpu_fraction == pytest.approx(0.0)
    assert result.major_faults == 0


def test_a_process_that_is_gone_is_no_error():
    """A worker that died between the readings leaves its time with the others."""
    result = account(BEFORE, _after({0: 5.0}, {1: 5.0}), range(4), WORKERS)
    assert result.device_cores[0].other_cpu_fraction == pytest.approx(0.5)


def test_faults_and_throttling_are_counted():
    """Pages read back, how often a quota stopped us and for how long, and heat, are differences."""
    faulty = {1: ProcessReading("ours", 5.0, 9), 2: ProcessReading("worker", 3.0, 1)}
    after = _after({}, {}, throttling=Throttling(3, 0.75), heat_throttles=7)
    result = account(BEFORE, replace(after, processes=faulty), range(4), WORKERS)
    assert (result.quota_throttles, result.quota_throttled_s) == (1, 0.25)
    assert (result.heat_throttles, result.major_faults) == (3, 3)


def test_this_host_is_watched(monkeypatch, powercap, set_uj):
    """The cores are those that this process and its workers may use, and GPUs are read by index."""
    state = GpuState(3, 60, 1980, 0)
    monkeypatch.setattr(gpu_watch, "read_gpu", lambda index: replace(state, index=index))
    monkeypatch.setattr(energy, "read_energy_j", lambda _index: 5.0)
    monkeypatch.setattr(monitor, "EnergyMeter", partial(EnergyMeter, powercap=powercap))
    mine = os.sched_getaffinity(0)
    end = watch_host({os.getppid(): (min(mine),), 2**22 + 1: None}, gpus=[3])
    set_uj("intel-rapl:0", 4_000_000)
    result = end()
    assert result.all_cores.cores == tuple(sorted(mine))
    assert [share.cores for share in result.device_cores] == [(min(mine),)]
    (gpu,) = result.gpus
    assert (gpu.index, gpu.clock_mhz, gpu.throttled_looks) == (3, 1980, 0)
    assert gpu.looks >= 2
    assert result.energy is not None
    assert result.energy.total_j == 3.0


def test_a_gpu_is_looked_at_throughout_a_trial(monkeypatch):
    """One that is throttled between the ends, and at neither of them, is told as throttled."""
    hot = GpuState(0, 91, 600, 0, throttled_by=("power brake",))
    looked, mine = threading.Event(), threading.current_thread()

    def read(_index: int) -> GpuState:
        if threading.current_thread() is mine:
            return replace(hot, clock_mhz=1980, throttled_by=())
        looked.set()
        return hot

    monkeypatch.setattr(gpu_watch, "read_gpu", read)
    monkeypatch.setattr(monitor, "_GPU_PERIOD_S", 0.001)
    end = watch_host({}, gpus=[0])
    assert looked.wait(10)
    (gpu,) = end().gpus
    assert (gpu.throttled_by, gpu.clock_mhz) == (("power brake",), 1980)
    assert gpu.lowest_clock_mhz == 600
    assert not [thread for thread in threading.enumerate() if thread.name == "looks"]

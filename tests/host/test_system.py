import json
import os
from dataclasses import replace
from types import SimpleNamespace

import pytest

from mlbench.host import system
from mlbench.host.system import GpuState, HostMonitor, HostReading, ProcessReading, account

BEFORE = HostReading(
    total_s=1000.0,
    idle_s=800.0,
    steal_s=10.0,
    processes={1: ProcessReading(5.0, 7), 2: ProcessReading(3.0, 0)},
    heat_throttles=4,
    quota_throttles=2,
)


def test_account_splits_the_cores_time_into_steal_ours_and_others():
    """Of 20 core seconds 4 idle, 1 stolen and 12 ours, 3 are left to other processes."""
    after = replace(
        BEFORE,
        total_s=1020.0,
        idle_s=804.0,
        steal_s=11.0,
        processes={1: ProcessReading(10.0, 9), 2: ProcessReading(10.0, 1)},
    )
    result = account(BEFORE, after)
    assert result.steal_fraction == pytest.approx(1 / 20)
    assert result.other_cpu_fraction == pytest.approx(3 / 20)
    assert result.major_faults == 3
    assert result.quota_throttles == result.heat_throttles == 0


def test_a_process_started_in_between_counts_whole_as_ours():
    """A worker that is only in the second reading is ours with all its CPU time."""
    processes = {**BEFORE.processes, 3: ProcessReading(4.0, 2)}
    after = replace(BEFORE, total_s=1010.0, idle_s=806.0, processes=processes)
    result = account(BEFORE, after)
    assert result.other_cpu_fraction == pytest.approx(0.0)
    assert result.major_faults == 2


def test_a_process_that_is_gone_is_no_error():
    """A worker that died between the readings leaves its time with the others."""
    processes = {1: ProcessReading(5.0, 7)}
    after = replace(BEFORE, total_s=1010.0, idle_s=808.0, processes=processes)
    assert account(BEFORE, after).other_cpu_fraction == pytest.approx(0.2)


def test_fractions_stay_within_zero_and_one_when_ticks_disagree():
    """Our CPU time may exceed the busy time by a tick, and two readings may be equal."""
    processes = {1: ProcessReading(9.0, 7), 2: ProcessReading(3.0, 0)}
    after = replace(BEFORE, total_s=1003.0, processes=processes)
    assert account(BEFORE, after).other_cpu_fraction == 0.0
    assert account(BEFORE, BEFORE).steal_fraction == 0.0


def test_throttling_is_counted():
    """How often a CPU quota stopped us and heat slowed the CPU down are counts."""
    after = replace(BEFORE, total_s=1010.0, heat_throttles=7, quota_throttles=3)
    result = account(BEFORE, after)
    assert (result.quota_throttles, result.heat_throttles) == (1, 3)


def test_a_gpu_that_was_throttled_at_either_end_counts_as_throttled():
    """Its state is that of the end, with what slowed it down before."""
    hot = GpuState(1, 91, 600, 0, throttled_by=("software thermal slowdown",))
    cool = GpuState(1, 60, 1980, 0)
    (gpu,) = account(replace(BEFORE, gpus=(hot,)), replace(BEFORE, gpus=(cool,))).gpus
    assert gpu == replace(cool, throttled_by=hot.throttled_by)
    (gpu,) = account(replace(BEFORE, gpus=(cool,)), replace(BEFORE, gpus=(cool,))).gpus
    assert gpu == cool


def test_the_monitor_reads_this_host_twice(monkeypatch):
    """`stop` accounts for the time since `start`, with this process among ours."""
    after = replace(BEFORE, total_s=1010.0, steal_s=11.0)
    readings = iter([BEFORE, after])
    asked = []

    def read_host(pids, _gpus):
        asked.append(pids)
        return next(readings)

    monkeypatch.setattr(system, "read_host", read_host)
    monitor = HostMonitor([1, 2])
    monitor.start()
    assert monitor.stop() == account(BEFORE, after)
    assert asked == [(os.getpid(), 1, 2)] * 2


def test_a_reading_of_this_host_is_consistent():
    """Idle and stolen time are part of the total, and this process is found; a dead one is not."""
    reading = system.read_host([os.getpid(), 2**22 + 1])
    assert reading.total_s >= reading.idle_s + reading.steal_s
    assert set(reading.processes) == {os.getpid()}
    assert reading.processes[os.getpid()].cpu_s > 0


def test_description_is_plain_json():
    """The facts about the machine survive a trip through JSON unchanged."""
    facts = system.describe_system()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["cpu"]["cores"] >= 1
    assert facts["memory_bytes"] > 0


class FakeNvml(SimpleNamespace):
    """As much of NVIDIA's library as is asked; handles are what they were found by."""

    NVMLError = RuntimeError
    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_SM = 1

    def __init__(self):
        super().__init__(
            nvmlDeviceGetHandleByIndex=lambda index: index,
            nvmlDeviceGetHandleByUUID=lambda uuid: {"GPU-a": 3}[uuid],
            nvmlDeviceGetTemperature=lambda gpu, _kind: 40 + gpu,
            nvmlDeviceGetClockInfo=lambda _gpu, _kind: 1500,
            nvmlDeviceGetCurrentClocksThrottleReasons=lambda _gpu: 0,
            nvmlSystemGetDriverVersion=lambda: "570.1",
            nvmlDeviceGetCount=lambda: 1,
            nvmlDeviceGetName=lambda _gpu: "Fake GPU",
            nvmlDeviceGetMemoryInfo=lambda _gpu: SimpleNamespace(total=1 << 30, used=1 << 29),
        )


@pytest.mark.parametrize(("visible", "temperature"), [(None, 41), ("5,2", 42), ("5,GPU-a", 43)])
def test_gpus_are_numbered_as_cuda_does(monkeypatch, visible, temperature):
    """CUDA_VISIBLE_DEVICES renumbers the GPUs; `cuda:1` is the second that it lists."""
    monkeypatch.setattr(system, "_nvml", FakeNvml)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    (gpu,) = system.read_host([], gpus=[1]).gpus
    assert gpu == GpuState(1, temperature, 1500, 1 << 29)


@pytest.mark.parametrize(
    ("reasons", "throttled_by"),
    [
        (0x04, ()),
        (0x20, ("software thermal slowdown",)),
        (0x88, ("hardware slowdown", "power brake")),
    ],
)
def test_what_slows_a_gpu_down_is_named(monkeypatch, reasons, throttled_by):
    """Heat and power brakes are trouble; the power cap, at which a busy GPU runs, is none."""
    nvml = FakeNvml()
    nvml.nvmlDeviceGetCurrentClocksThrottleReasons = lambda _gpu: reasons
    monkeypatch.setattr(system, "_nvml", lambda: nvml)
    (gpu,) = system.read_host([], gpus=[0]).gpus
    assert gpu.throttled_by == throttled_by


def test_gpus_are_described(monkeypatch):
    """Each GPU's model, driver and memory are among the machine's facts."""
    monkeypatch.setattr(system, "_nvml", FakeNvml)
    (gpu,) = system.describe_system()["gpus"]
    assert gpu == {"index": 0, "model": "Fake GPU", "driver": "570.1", "memory_bytes": 1 << 30}

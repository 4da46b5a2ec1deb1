"""What this machine is, and what else happened on it while a trial ran."""

import functools
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from mlbench.host.gpus import gpu_name
from mlbench.records import GpuState, HostAccount

_CPU = Path("/sys/devices/system/cpu")
_CGROUP = Path("/sys/fs/cgroup")

_THROTTLES = {
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""NVML clock event reasons that mean trouble. The power cap is left out: it is how a GPU that is
kept busy normally runs."""


@dataclass(frozen=True)
class ProcessReading:
    """CPU seconds and major page faults of one process since it started, all threads together."""

    cpu_s: float
    major_faults: int


@dataclass(frozen=True)
class HostReading:
    """Counters of the host at one moment. Seconds are summed over all cores.

    `processes` maps our process ids to their own counters.
    """

    total_s: float
    idle_s: float
    steal_s: float
    processes: Mapping[int, ProcessReading] = field(default_factory=dict)
    heat_throttles: int = 0
    quota_throttles: int = 0
    cpu_mhz: float | None = None
    gpus: tuple[GpuState, ...] = ()


def account(before: HostReading, after: HostReading) -> HostAccount:
    """Return what the host did between two readings.

    A GPU counts as throttled if it was at either of them. A process that is only in `after` was
    started in between and counts whole; one that is gone
    counts as not ours, because its last figures are unknown.
    """
    span_s = after.total_s - before.total_s
    steal_s = after.steal_s - before.steal_s
    busy_s = span_s - (after.idle_s - before.idle_s) - steal_s
    fresh = ProcessReading(0.0, 0)
    pairs = [(before.processes.get(pid, fresh), now) for pid, now in after.processes.items()]
    ours_s = sum(now.cpu_s - then.cpu_s for then, now in pairs)
    return HostAccount(
        steal_fraction=_fraction(steal_s, span_s),
        other_cpu_fraction=_fraction(busy_s - ours_s, span_s),
        major_faults=sum(now.major_faults - then.major_faults for then, now in pairs),
        quota_throttles=after.quota_throttles - before.quota_throttles,
        heat_throttles=after.heat_throttles - before.heat_throttles,
        cpu_mhz=after.cpu_mhz,
        gpus=tuple(map(_throttled_at_all, before.gpus, after.gpus)),
    )


def _fraction(part_s: float, whole_s: float) -> float:
    """Return part over whole within 0..1; the kernel's ticks can make a difference negative."""
    return min(max(part_s / whole_s, 0.0), 1.0) if whole_s > 0 else 0.0


def _throttled_at_all(before: GpuState, after: GpuState) -> GpuState:
    causes = dict.fromkeys((*before.throttled_by, *after.throttled_by))
    return replace(after, throttled_by=tuple(causes))


class HostMonitor:
    """Watches the host around one trial: `start`, the trial, `stop`.

    `pids` are the workers; this process is ours too. `gpus` are CUDA indices of the GPUs in use.
    Costs two readings of about a millisecond and nothing in between.
    """

    def __init__(self, pids: Iterable[int], gpus: Iterable[int] = ()) -> None:
        self._pids = (os.getpid(), *pids)
        self._gpus = tuple(gpus)
        self._before: HostReading | None = None

    def start(self) -> None:
        """Take the first reading."""
        self._before = read_host(self._pids, self._gpus)

    def stop(self) -> HostAccount:
        """Return what happened since `start`."""
        if self._before is None:
            raise RuntimeError("HostMonitor.stop() before start()")
        return account(self._before, read_host(self._pids, self._gpus))


def read_host(pids: Iterable[int], gpus: Iterable[int] = ()) -> HostReading:
    """Read the host's counters now; what this machine does not offer reads as zero."""
    times = psutil.cpu_times()
    idle_s = times.idle + times.iowait
    busy_s = times.user + times.nice + times.system + times.irq + times.softirq  # has guest in it
    readings = {pid: _read_process(pid) for pid in pids}
    return HostReading(
        total_s=busy_s + idle_s + times.steal,
        idle_s=idle_s,
        steal_s=times.steal,
        processes={pid: reading for pid, reading in readings.items() if reading},
        heat_throttles=sum(int(_text(path) or 0) for path in _heat_counters()),
        quota_throttles=sum(_quota_throttles(path) for path in _quota_files()),
        cpu_mhz=_cpu_mhz(),
        gpus=tuple(state for index in gpus if (state := _read_gpu(index))),
    )


def _read_process(pid: int) -> ProcessReading | None:
    """Read /proc/PID/stat (proc(5)); None when there is no such process."""
    stat = _text(Path(f"/proc/{pid}/stat"))
    if stat is None:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before may hold blanks; starts at field 3
    ticks = int(fields[11]) + int(fields[12])
    return ProcessReading(ticks / os.sysconf("SC_CLK_TCK"), major_faults=int(fields[9]))


def _cpu_mhz() -> float | None:
    """Return the mean clock of the CPUs that we may run on; None where the kernel does not tell."""
    clocks_khz = [
        int(khz)
        for cpu in os.sched_getaffinity(0)
        if (khz := _text(_CPU / f"cpu{cpu}/cpufreq/scaling_cur_freq"))
    ]
    return sum(clocks_khz) / len(clocks_khz) / 1e3 if clocks_khz else None


@functools.cache
def _heat_counters() -> tuple[Path, ...]:
    return tuple(_CPU.glob("cpu[0-9]*/thermal_throttle/*_throttle_count"))


@functools.cache
def _quota_files() -> tuple[Path, ...]:
    """Return the cpu.stat of our control group and all above it: each may have a quota."""
    lines = (_text(Path("/proc/self/cgroup")) or "").splitlines()
    group = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    own = _CGROUP / group
    candidates = [own, *own.parents, _CGROUP, _CGROUP / "cpu"]
    inside = dict.fromkeys(path for path in candidates if path.is_relative_to(_CGROUP))
    return tuple(path / "cpu.stat" for path in inside if (path / "cpu.stat").is_file())


def _quota_throttles(cpu_stat: Path) -> int:
    pairs = dict(line.split() for line in (_text(cpu_stat) or "").splitlines())
    return int(pairs.get("nr_throttled", 0))


def _text(path: Path) -> str | None:
    """Return a small kernel file's text; None when it is not there or not ours to read."""
    try:
        return path.read_text().strip()
    except OSError:
        return None


@functools.cache
def _nvml() -> Any | None:
    """Return NVIDIA's management library, started; None without the package or the driver."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def _gpu_handle(nvml: Any, cuda_index: int) -> Any:
    """Return the handle of the GPU that CUDA calls `cuda_index`, which renumbers what it shows."""
    name = gpu_name(cuda_index)
    if name.isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(name))
    return nvml.nvmlDeviceGetHandleByUUID(name)


def _read_gpu(index: int) -> GpuState | None:
    nvml = _nvml()
    if nvml is None:
        return None
    try:
        gpu = _gpu_handle(nvml, index)
        reasons = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu)
        return GpuState(
            index=index,
            temperature_c=nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
            clock_mhz=nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM),
            memory_used_bytes=nvml.nvmlDeviceGetMemoryInfo(gpu).used,
            throttled_by=tuple(text for bit, text in _THROTTLES.items() if reasons & bit),
        )
    except nvml.NVMLError:
        return None


def describe_system() -> dict[str, Any]:
    """Return the machine's facts as plain JSON values; None where the machine does not say."""
    return {
        "cpu": {
            "model": _cpu_model(),
            "architecture": platform.machine(),
            "cores": psutil.cpu_count(),
            "physical_cores": psutil.cpu_count(logical=False),
            "affinity": sorted(os.sched_getaffinity(0)),
            "governor": _text(_CPU / "cpu0/cpufreq/scaling_governor"),
        },
        "memory_bytes": psutil.virtual_memory().total,
        "kernel": platform.release(),
        "os": _os_name(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "container": _in_container(),
        "gpus": _describe_gpus(),
    }


def _cpu_model() -> str | None:
    lines = (_text(Path("/proc/cpuinfo")) or "").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, None)


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _in_container() -> bool:
    marks = (Path("/.dockerenv"), Path("/run/.containerenv"))
    return "container" in os.environ or any(mark.exists() for mark in marks)


def _describe_gpus() -> list[dict[str, Any]]:
    nvml = _nvml()
    if nvml is None:
        return []
    driver = nvml.nvmlSystemGetDriverVersion()
    gpus = []
    for index in range(nvml.nvmlDeviceGetCount()):
        gpu = nvml.nvmlDeviceGetHandleByIndex(index)
        gpus.append(
            {
                "index": index,
                "model": nvml.nvmlDeviceGetName(gpu),
                "driver": driver,
                "memory_bytes": nvml.nvmlDeviceGetMemoryInfo(gpu).total,
            }
        )
    return gpus

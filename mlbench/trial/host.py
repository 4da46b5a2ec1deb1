"""What the host did during a trial, as findings."""

from collections.abc import Iterable
from itertools import groupby

from mlbench.contracts.findings import Figure, Finding
from mlbench.records import BusyProcess, CoreShare, GpuAccount, HostAccount

MAX_OTHER_CPU = 0.25
"""Of the time of all cores that we may use. Below it the coordinator finds a free core, and others
leave the device its share of clock boost, caches and memory bandwidth."""

MAX_OTHER_CORES = 0.25
"""The same on cores that are the device's own, in cores. It is not a share of all of them: one
program on one core holds up every operator that the threads of a session share, however many."""

IDLE_CPU = 0.01
"""What the daemons of an idle machine take of each core (0.5 % here, measured). On 64 cores that is
more than a quarter of a core, and harmless."""

MAX_STEAL = 0.05
MAX_FAULTS_PER_S = 20.0
"""Beyond these a trial says more about its host than about the device."""


def host_doubts(host: HostAccount | None, duration_s: float) -> list[Finding]:
    """Return what the host did that makes a trial of this length say little about the device."""
    if host is None:
        return []
    if host.parts:
        return [
            Finding(doubt.code, {**doubt.figures, "host": name})
            for name, part in host.parts
            for doubt in host_doubts(part, duration_s)
        ]
    doubts = []
    stolen = max((host.all_cores, *host.device_cores), key=lambda share: share.steal_fraction)
    if stolen.steal_fraction > MAX_STEAL:
        doubts.append(_cpu_stolen(stolen))
    busy = busy_cores(host)
    if busy:
        doubts.append(_host_busy(busy, host.busy_processes))
    if host.major_faults > MAX_FAULTS_PER_S * max(duration_s, 1.0):
        doubts.append(Finding("memory_short", {"major_faults": host.major_faults}))
    if host.quota_throttles:
        doubts.append(_cpu_quota(host))
    if host.heat_throttles:
        doubts.append(Finding("cpu_hot", {"heat_throttles": host.heat_throttles}))
    doubts += [_gpu_throttled(gpu) for gpu in host.gpus if gpu.throttled_by]
    return doubts


def host_busy_before(host: HostAccount) -> Finding | None:
    """Return what others take of our cores before anything is measured, where that is too much."""
    busy = busy_cores(host)
    if busy is None:
        return None
    return Finding("host_busy_before", _host_busy(busy, host.busy_processes).figures)


def busy_cores(host: HostAccount) -> CoreShare | None:
    """Return the cores of which others took most, where that is too much; None where it is not."""
    busy = [
        share
        for share in host.device_cores
        if (share.other_cpu_fraction - IDLE_CPU) * len(share.cores) > MAX_OTHER_CORES
    ]
    if host.all_cores.other_cpu_fraction > MAX_OTHER_CPU:
        busy.append(host.all_cores)
    return max(busy, key=lambda share: share.other_cpu_fraction, default=None)


def _cpu_stolen(stolen: CoreShare) -> Finding:
    figures: dict[str, Figure] = {
        "cores": _ranges(stolen.cores),
        "steal_fraction": stolen.steal_fraction,
    }
    return Finding("cpu_stolen", figures)


def _cpu_quota(host: HostAccount) -> Finding:
    figures = {
        "quota_throttles": host.quota_throttles,
        "quota_throttled_s": host.quota_throttled_s,
    }
    return Finding("cpu_quota", figures)


def _host_busy(busy: CoreShare, processes: Iterable[BusyProcess]) -> Finding:
    named = (f"{p.name} {p.cpu_fraction:.0%}, pid {p.pid}" for p in processes)
    figures: dict[str, Figure] = {
        "cores": _ranges(busy.cores),
        "other_cpu_fraction": busy.other_cpu_fraction,
        "processes": "; ".join(named),
    }
    return Finding("host_busy", figures)


def _ranges(numbers: Iterable[int]) -> str:
    """Return sorted numbers as people write them: 0-3,8."""
    runs = groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])
    ends = [(run[0][1], run[-1][1]) for run in (list(group) for _, group in runs)]
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in ends)


def host_notes(host: HostAccount | None) -> tuple[Finding, ...]:
    """Return the state of each GPU in use when a trial ended, and what energy is not known."""
    if host is None:
        return ()
    if host.parts:
        return tuple(
            Finding(note.code, {**note.figures, "host": name})
            for name, part in host.parts
            for note in host_notes(part)
        )
    notes = [Finding("gpu_state", _gpu_figures(gpu)) for gpu in host.gpus]
    if host.energy and host.energy.why_no_cpu:
        notes.append(Finding("cpu_energy_unknown", {"why": host.energy.why_no_cpu}))
    if host.energy and host.energy.why_no_gpu:
        notes.append(Finding("gpu_energy_unknown", {"why": host.energy.why_no_gpu}))
    return tuple(notes)


def _gpu_throttled(gpu: GpuAccount) -> Finding:
    figures: dict[str, Figure] = {
        "throttled_by": ", ".join(gpu.throttled_by),
        "throttled_looks": gpu.throttled_looks,
        "looks": gpu.looks,
        "lowest_clock_mhz": gpu.lowest_clock_mhz,
        "highest_temperature_c": gpu.highest_temperature_c,
    }
    return Finding("gpu_throttled", {**_gpu_figures(gpu), **figures})


def _gpu_figures(gpu: GpuAccount) -> dict[str, Figure]:
    """Return the figures of a finding about a GPU."""
    return {
        "gpu": gpu.index,
        "temperature_c": gpu.temperature_c,
        "clock_mhz": gpu.clock_mhz,
        "memory_used_gib": gpu.memory_used_bytes / 2**30,
    }

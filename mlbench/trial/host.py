"""What the host did during a trial, as findings."""

from mlbench.contracts.findings import Figure, Finding
from mlbench.records import GpuState, HostAccount

MAX_STEAL = 0.05
MAX_OTHER_CPU = 0.25
MAX_FAULTS_PER_S = 20.0
"""Beyond these a trial says more about its host than about the device."""


def host_doubts(host: HostAccount | None, duration_s: float) -> list[Finding]:
    """Return what the host did that makes a trial of this length say little about the device."""
    if host is None:
        return []
    doubts = []
    if host.steal_fraction > MAX_STEAL:
        doubts.append(Finding("cpu_stolen", {"steal_fraction": host.steal_fraction}))
    if host.other_cpu_fraction > MAX_OTHER_CPU:
        doubts.append(Finding("host_busy", {"other_cpu_fraction": host.other_cpu_fraction}))
    if host.major_faults > MAX_FAULTS_PER_S * max(duration_s, 1.0):
        doubts.append(Finding("memory_short", {"major_faults": host.major_faults}))
    if host.quota_throttles:
        doubts.append(Finding("cpu_quota", {"quota_throttles": host.quota_throttles}))
    if host.heat_throttles:
        doubts.append(Finding("cpu_hot", {"heat_throttles": host.heat_throttles}))
    doubts += [
        Finding("gpu_throttled", {**_gpu_figures(gpu), "throttled_by": ", ".join(gpu.throttled_by)})
        for gpu in host.gpus
        if gpu.throttled_by
    ]
    return doubts


def gpu_states(host: HostAccount | None) -> tuple[Finding, ...]:
    """Return the state of each GPU in use when a trial ended."""
    return tuple(Finding("gpu_state", _gpu_figures(gpu)) for gpu in (host.gpus if host else ()))


def _gpu_figures(gpu: GpuState) -> dict[str, Figure]:
    """Return the figures of a finding about a GPU."""
    return {
        "gpu": gpu.index,
        "temperature_c": gpu.temperature_c,
        "clock_mhz": gpu.clock_mhz,
        "memory_used_gib": gpu.memory_used_bytes / 2**30,
    }

"""What else happened on this machine while a trial ran."""

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from mlbench.host.cgroup import NOT_THROTTLED, Throttling, read_throttling
from mlbench.host.cores import (
    CoreTimes,
    PinnedWork,
    core_shares,
    core_use,
    read_core_times,
    read_heat_throttles,
    read_mhz,
)
from mlbench.host.energy import EnergyMeter
from mlbench.host.gpu_watch import GpuWatch
from mlbench.host.looks import RepeatedLooks
from mlbench.host.processes import ProcessReading, read_processes
from mlbench.records import HostAccount

Workers = Mapping[int, Collection[int] | None]
"""Our workers' process ids, with the cores that each has for its own; None where it has none."""

_GPU_PERIOD_S = 0.2
"""Between two looks at GPUs; heat slows a GPU down for seconds."""
_COUNTER_PERIOD_S = 30.0
"""Between two looks at counters of energy. The smallest start again after 65 kJ, in a minute at
1,000 W."""


@dataclass(frozen=True)
class HostReading:
    """Counters of the host at one moment; `cores` and `processes` by their numbers.

    `at_s`: when, in seconds of the monotonic clock. `processes` are our own.
    """

    at_s: float
    cores: Mapping[int, CoreTimes] = field(default_factory=dict)
    processes: Mapping[int, ProcessReading] = field(default_factory=dict)
    throttling: Throttling = NOT_THROTTLED
    heat_throttles: int = 0


def watch_host(workers: Workers, gpus: Iterable[int] = ()) -> Callable[[], HostAccount]:
    """Read the host's counters, and return what reads them again and tells what happened between.

    `gpus` are CUDA indices of the GPUs in use, which are looked at in between, too. Without them it
    costs two readings of about a millisecond and nothing in between.
    """
    ours, indices = (os.getpid(), *workers), tuple(gpus)
    cores = frozenset(os.sched_getaffinity(0)).union(*(own or () for own in workers.values()))
    seen, meter = GpuWatch(indices), EnergyMeter(indices)

    def look() -> None:
        seen.look()
        meter.look()

    look()
    period_s = _GPU_PERIOD_S if indices else _COUNTER_PERIOD_S
    looks = RepeatedLooks(look, period_s) if indices or meter.must_look else None
    before = _read_host(ours, cores)

    def end() -> HostAccount:
        if looks is not None:
            looks.end()
            seen.look()
        energy, after = meter.read(), _read_host(ours, cores)
        happened = account(before, after, cores, workers)
        return replace(happened, cpu_mhz=read_mhz(cores), gpus=seen.accounts, energy=energy)

    return end


def _read_host(ours: Collection[int], cores: frozenset[int]) -> HostReading:
    """Read the host's counters now; what this machine does not offer reads as zero."""
    return HostReading(
        time.monotonic(),
        read_core_times(),
        read_processes(ours),
        read_throttling(),
        read_heat_throttles(cores),
    )


def account(
    before: HostReading, after: HostReading, cores: Collection[int], workers: Workers
) -> HostAccount:
    """Return what the host did between two readings; `cores` are those that we may use.

    A process that is only in `after` was started in between and counts whole; one that is gone
    counts as not ours, because its last figures are unknown.
    """
    fresh = ProcessReading("", 0.0, 0)
    spent_s, major_faults = {}, 0
    for pid, now in after.processes.items():
        then = before.processes.get(pid, fresh)
        spent_s[pid] = now.cpu_s - then.cpu_s
        major_faults += now.major_faults - then.major_faults
    span_s = after.at_s - before.at_s
    work = [
        PinnedWork(frozenset(own), spent_s.get(pid, 0.0) / span_s)
        for pid, own in workers.items()
        if own
    ]
    use = core_use(before.cores, after.cores, span_s)
    all_cores, device_cores = core_shares(use, cores, work, sum(spent_s.values()) / span_s)
    return HostAccount(
        all_cores=all_cores,
        device_cores=device_cores,
        major_faults=major_faults,
        quota_throttles=after.throttling.times - before.throttling.times,
        quota_throttled_s=after.throttling.seconds - before.throttling.seconds,
        heat_throttles=after.heat_throttles - before.heat_throttles,
    )

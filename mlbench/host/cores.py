"""What each core did between two readings, and who took its time. A core is a logical CPU.

    busy time of the cores of some workers = their CPU time + the coordinator's part + others'

The kernel counts busy time by core and CPU time by process, but not which process ran on which
core. Workers that are pinned leave little to guess: their cores are theirs.
"""

import functools
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlbench.host.kernel_files import kernel_text
from mlbench.records import CoreShare

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_CPU = Path("/sys/devices/system/cpu")


@dataclass(frozen=True)
class CoreTimes:
    """Seconds since the machine started in which a core idled, and was taken away (steal)."""

    idle_s: float
    steal_s: float


@dataclass(frozen=True)
class CoreUse:
    """The fractions of a time in which a core ran something, and in which it was taken away."""

    busy: float
    stolen: float


@dataclass(frozen=True)
class PinnedWork:
    """What a worker used, CPU time over time that passed, and the cores that are its own."""

    cores: frozenset[int]
    used: float


def parse_core_times(stat: str) -> dict[int, CoreTimes]:
    """Read the text of /proc/stat (proc(5)); a core that counts nothing at all is left out."""
    times = {}
    for core, numbers in re.findall(r"^cpu(\d+) (.*)", stat, re.MULTILINE):
        seconds = [int(ticks) / _TICKS_PER_S for ticks in numbers.split()]
        if any(seconds):
            idle_s, iowait_s, steal_s = seconds[3], seconds[4], seconds[7]
            times[int(core)] = CoreTimes(idle_s + iowait_s, steal_s)
    return times


def read_core_times() -> dict[int, CoreTimes]:
    """Return the times of the cores that are online; empty where the kernel does not tell."""
    return parse_core_times(kernel_text(Path("/proc/stat")) or "")


def core_use(
    before: Mapping[int, CoreTimes], after: Mapping[int, CoreTimes], span_s: float
) -> dict[int, CoreUse]:
    """Return what the cores did in `span_s` seconds, for those that are in both readings.

    Busy is what is neither idle nor stolen, since idle time is exact. Busy time as the kernel gives
    it is sampled at its ticks, and missed half of what ran in step with them (measured).
    """
    use = {}
    for core in before.keys() & after.keys():
        idle = (after[core].idle_s - before[core].idle_s) / span_s
        stolen = (after[core].steal_s - before[core].steal_s) / span_s
        use[core] = CoreUse(_fraction(1 - idle - stolen), _fraction(stolen))
    return use


def core_shares(
    use: Mapping[int, CoreUse], cores: Iterable[int], work: Sequence[PinnedWork], ours: float
) -> tuple[CoreShare, tuple[CoreShare, ...]]:
    """Return what others took of all `cores` that we may use, and of those that workers own.

    `ours`: what all our processes used, CPU time over time that passed. Workers that share cores,
    if only by way of a third one, are told together. Of several cores, the one of which others took
    most is told once more alone.
    """
    known = [core for core in cores if core in use]
    others = sum(use[core].busy for core in known) - ours
    shares = []
    for group in connected(use.keys() & each.cores for each in work):
        own = sum(each.used for each in work if each.cores & group)
        # What the coordinator, which is not pinned, used here counts for others; but others cannot
        # have used more here than they did on all cores.
        group_others = min(sum(use[core].busy for core in group) - own, others)
        shares.append(_share(use, group, group_others))
        if len(group) > 1:
            core = max(group, key=lambda core: use[core].busy)
            evenly = use[core].busy - own / len(group)
            shares.append(_share(use, [core], min(evenly, group_others)))
    return _share(use, known, others), tuple(shares)


def _share(use: Mapping[int, CoreUse], cores: Collection[int], others: float) -> CoreShare:
    """Return the share of others, given in cores, as a fraction of the time of these cores."""
    stolen = sum(use[core].stolen for core in cores)
    count = max(len(cores), 1)
    return CoreShare(tuple(sorted(cores)), _fraction(others / count), _fraction(stolen / count))


def _fraction(value: float) -> float:
    """Return the value within 0..1: the kernel's ticks can put a difference outside."""
    return min(max(value, 0.0), 1.0)


def connected(sets: Iterable[Iterable[int]]) -> list[frozenset[int]]:
    """Join the sets that have members in common, until none have; empty ones are left out."""
    groups: list[frozenset[int]] = []
    for members in filter(None, map(frozenset, sets)):
        touching = [group for group in groups if group & members]
        apart = [group for group in groups if not group & members]
        groups = [*apart, members.union(*touching)]
    return groups


def read_heat_throttles(cores: frozenset[int], root: Path = _CPU) -> int:
    """Return how often heat has slowed these cores, or their packages, down since the start."""
    return sum(
        int(kernel_text(file) or 0)
        for file in _files(cores, "thermal_throttle/*_throttle_count", root)
    )


def read_mhz(cores: frozenset[int], root: Path = _CPU) -> float | None:
    """Return the mean clock of these cores now; None where the kernel does not tell."""
    files = _files(cores, "cpufreq/scaling_cur_freq", root)
    clocks_khz = [int(khz) for file in files if (khz := kernel_text(file))]
    return sum(clocks_khz) / len(clocks_khz) / 1e3 if clocks_khz else None


@functools.cache
def _files(cores: frozenset[int], name: str, root: Path) -> tuple[Path, ...]:
    """Return these cores' files of this name; looked for once, since there may be many cores."""
    return tuple(file for core in sorted(cores) for file in root.glob(f"cpu{core}/{name}"))

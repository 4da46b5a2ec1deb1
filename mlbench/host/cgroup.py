"""The CPU quota of this process's control group, version 1 or 2 (cgroups(7)).

Each group above ours may have a quota, too, and all of them hold. Workers are our children, and so
in the same group.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mlbench.host.kernel_files import kernel_text

_ROOT = Path("/")
_VERSION_2 = ""  # its lines in /proc/self/cgroup name no controller
_VERSION_1 = "cpu"


@dataclass(frozen=True)
class Throttling:
    """How often a quota has stopped our processes, and for how long, summed over cores."""

    times: int
    seconds: float


NOT_THROTTLED = Throttling(0, 0.0)


@functools.cache
def cpu_groups(root: Path = _ROOT) -> tuple[Path, ...]:
    """Return the folders of our control group and of those above it, as far as they can be seen.

    `root` is the folder that the kernel's files are found under.
    """
    folders: list[Path] = []
    paths = _own_paths(kernel_text(root / "proc/self/cgroup") or "")
    mounts = list(_mounts(kernel_text(root / "proc/self/mountinfo") or ""))
    for hierarchy, path in paths.items():
        candidates = [mount for of, *mount in mounts if of == hierarchy]
        if candidates:
            folders += _chain(path, candidates, root)
    return tuple(folders)


def _own_paths(cgroup: str) -> dict[str, PurePosixPath]:
    """Return our group's path in both hierarchies that may limit CPU, from /proc/self/cgroup."""
    paths = {}
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in {_VERSION_2, _VERSION_1}.intersection(controllers.split(",")):
            paths[controller] = PurePosixPath(path)
    return paths


def _mounts(mountinfo: str) -> Iterator[tuple[str, PurePosixPath, PurePosixPath]]:
    """Yield what is mounted of each such hierarchy: its version, from which group on, and where."""
    for line in mountinfo.splitlines():
        place, _, what = line.partition(" - ")
        group, point = map(PurePosixPath, place.split()[3:5])
        kind, *_, options = what.split()
        if kind == "cgroup2":
            yield _VERSION_2, group, point
        elif kind == "cgroup" and _VERSION_1 in options.split(","):
            yield _VERSION_1, group, point


def _chain(path: PurePosixPath, mounts: list[list[PurePosixPath]], root: Path) -> list[Path]:
    """Return the folders from our group up to the highest that a mount shows.

    A container may see its groups under a name that is not theirs on the host; then what is
    mounted is its own.
    """
    is_seen = ".." not in path.parts
    holding = [mount for mount in mounts if is_seen and path.is_relative_to(mount[0])]
    top, point = min(holding or mounts, key=lambda mount: len(mount[0].parts))
    below = path.relative_to(top) if holding else PurePosixPath()
    mounted = root / point.relative_to("/")
    return [mounted / part for part in (below, *below.parents)]


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Return how many cores' time the tightest quota allows; None where there is none."""
    return min(filter(None, map(_quota, cpu_groups(root))), default=None)


def _quota(group: Path) -> float | None:
    both = kernel_text(group / "cpu.max")
    if both is None:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        both = " ".join(kernel_text(group / name) or "-1" for name in names)
    quota_us, period_us = both.split()
    return None if quota_us in ("max", "-1") else int(quota_us) / int(period_us)


def read_throttling(root: Path = _ROOT) -> Throttling:
    """Return how far quotas have stopped our group and those above it since they were made."""
    texts = (kernel_text(group / "cpu.stat") or "" for group in cpu_groups(root))
    stats = [dict(line.split() for line in text.splitlines()) for text in texts]
    return Throttling(
        sum(int(stat.get("nr_throttled", 0)) for stat in stats),
        sum(_throttled_s(stat) for stat in stats),
    )


def _throttled_s(stat: dict[str, str]) -> float:
    """Version 2 counts microseconds, version 1 nanoseconds."""
    return int(stat.get("throttled_usec", 0)) / 1e6 + int(stat.get("throttled_time", 0)) / 1e9

"""Whether something fits in memory, asked before it is built."""

from pathlib import Path

import psutil

from mlbench.contracts.errors import RequestError

_CGROUP = Path("/sys/fs/cgroup")
_LIMITS = (
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)
"""Of a container, in versions 2 and 1 of control groups: the limit, and what is used."""


def available_bytes() -> int:
    """Return how many bytes this process can still use: the machine's, or its container's."""
    available = psutil.virtual_memory().available
    for limit_name, used_name in _LIMITS:
        limit, used = _number(_CGROUP / limit_name), _number(_CGROUP / used_name)
        if limit is not None and used is not None:
            left = limit - used + _cached_bytes((_CGROUP / used_name).with_name("memory.stat"))
            available = min(available, max(left, 0))
    return available


def check_fits(needed_bytes: int, what: str, mend: str) -> None:
    """Raise RequestError when so many bytes are not available; `mend` says what to change."""
    available = available_bytes()
    if needed_bytes > available:
        raise RequestError(
            f"too little memory: {what} need {readable(needed_bytes)}, {readable(available)} are "
            f"available; {mend}"
        )


def check_samples(samples: int, sample_bytes: int) -> None:
    """Raise RequestError when `samples` of `sample_bytes` each do not fit in available memory."""
    fit = available_bytes() // max(sample_bytes, 1)
    mend = f"lower --count ({fit} fit) or free memory"
    check_fits(samples * sample_bytes, f"{samples} samples", mend)


def readable(size: int) -> str:
    """Return a size in bytes as text in MiB or GiB."""
    return f"{size / 2**30:,.1f} GiB" if size >= 1 << 30 else f"{size / 2**20:.1f} MiB"


def _number(path: Path) -> int | None:
    """Return the number in a kernel file; None when there is none, such as `max`."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _cached_bytes(stat: Path) -> int:
    """Return how much of what is used are cached files, which the kernel gives back."""
    try:
        pairs = dict(line.split() for line in stat.read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(pairs.get("inactive_file", 0)) + int(pairs.get("active_file", 0))

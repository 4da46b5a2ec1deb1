"""Whether samples fit in memory, asked before anything is built."""

import psutil

from mlbench.contracts.errors import RequestError


def check_memory(samples: int, sample_bytes: int) -> None:
    """Raise RequestError when `samples` of `sample_bytes` each do not fit in available memory."""
    needed = samples * sample_bytes
    available = psutil.virtual_memory().available
    if needed > available:
        raise RequestError(
            f"too little memory: {samples} samples need {readable(needed)}, "
            f"{readable(available)} are available; lower --count ({available // sample_bytes} fit) "
            "or free memory"
        )


def readable(size: int) -> str:
    """Return a size in bytes as text in MiB or GiB."""
    return f"{size / 2**30:.1f} GiB" if size >= 1 << 30 else f"{size / 2**20:.1f} MiB"

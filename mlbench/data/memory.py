"""Whether samples fit in memory, asked before anything is built."""

import psutil

from mlbench.contracts.errors import RequestError

_GIB = 1 << 30


def check_memory(samples: int, sample_bytes: int) -> None:
    """Raise RequestError when `samples` of `sample_bytes` each do not fit in available memory."""
    needed = samples * sample_bytes
    available = psutil.virtual_memory().available
    if needed > available:
        fits = available // sample_bytes
        raise RequestError(
            f"too little memory: {samples} samples need {needed / _GIB:.1f} GiB, "
            f"{available / _GIB:.1f} GiB are available; use --count {fits} or less"
        )

"""Reading the sample cache: one read-only mapping of a file, shared by all processes of a host."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def open_samples(path: str | Path) -> NDArray[Any]:
    """Map a cache file (.npy, first axis is the sample) read-only.

    All processes that map the same file share its pages. Raises OSError or ValueError when the file
    is missing or not a plain array.
    """
    samples = np.load(path, mmap_mode="r", allow_pickle=False)
    if samples.ndim < 1:
        raise ValueError(f"{path}: a sample cache needs at least one axis")
    return np.asarray(samples)  # a memmap's slicing is slower than an array's; both share the pages

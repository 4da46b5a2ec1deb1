"""The requests of a trial in memory that the coordinator writes and the workers of a line map.

The message that tells workers of further queries says how many are there; what each serves and when
it is due is read where it lies. Sent along, it would be copied twice for every worker, and a
million queries a second for eight workers would fill the machine with copying.
"""

import mmap
import os

import numpy as np
from numpy.typing import NDArray

REQUEST = np.dtype([("id", "<u4"), ("sample", "<u4"), ("due_ns", "<i8")])
"""One query: its number in the trial, the sample to serve, when it is due after the trial's start.

Its number is its place in the order of due times."""


def create_timetable() -> int:
    """Make the file in memory and return its descriptor, for workers to inherit."""
    return os.memfd_create("mlbench-timetable")


class TimetableWriter:
    """Writes one line's requests, in the order in which they are due."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.count = 0

    def begin(self, queries: int) -> None:
        """Begin anew, with room for so many.

        The file never shrinks: a worker that comes back from a pause may still look at the end.
        """
        size = queries * REQUEST.itemsize
        if size > os.fstat(self._descriptor).st_size:
            os.ftruncate(self._descriptor, size)
        self.count = 0

    def append(self, requests: NDArray[np.void]) -> None:
        """Write REQUEST records (n,) behind those that are there."""
        view = memoryview(requests.tobytes())
        offset = self.count * REQUEST.itemsize
        while len(view):
            written = os.pwrite(self._descriptor, view, offset)
            view, offset = view[written:], offset + written
        self.count += len(requests)


def map_timetable(descriptor: int, queries: int) -> NDArray[np.void]:
    """Return the line's REQUEST records (queries,) as a read-only view of the shared memory."""
    size = queries * REQUEST.itemsize
    memory = mmap.mmap(descriptor, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
    return np.frombuffer(memory, REQUEST)

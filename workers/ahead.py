"""What a worker knows of a trial ahead of time: queries that it received and that are not taken."""

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire


class Ahead:
    """Received queries in the order in which they are due, by their place in the worker's line.

    Places count from 0 in every trial; `end` is the place after the last query that is known.
    Times are nanoseconds after the trial's start.
    """

    def __init__(self) -> None:
        self._keep(np.empty(0, wire.REQUEST))
        self._first = 0  # the place of the buffer's first query
        self.end = 0

    def _keep(self, buffer: NDArray[np.void]) -> None:
        self._buffer = buffer
        self._due_ns = buffer["due_ns"]

    def clear(self) -> None:
        """Forget everything; the next query has place 0."""
        self._first = self.end = 0

    def put(self, requests: NDArray[np.void], taken: int) -> None:
        """Append REQUEST records (n,); what is before the place `taken` is needed no more."""
        if self.end - self._first + len(requests) > len(self._buffer):
            self._make_room(len(requests), min(taken, self.end))
        stop = self.end - self._first
        self._buffer[stop : stop + len(requests)] = requests
        self.end += len(requests)

    def _make_room(self, more: int, taken: int) -> None:
        """Move what is still needed to the beginning of a buffer twice as large as it must be."""
        needed = self._buffer[taken - self._first : self.end - self._first]
        buffer = np.empty(2 * (len(needed) + more), wire.REQUEST)
        buffer[: len(needed)] = needed
        self._first = taken
        self._keep(buffer)

    def due_ns(self, place: int) -> int:
        """Return when the query at this place is due; the place must be known."""
        return int(self._due_ns[place - self._first])

    def count_due(self, place: int, until_ns: int, most: int) -> int:
        """Count the queries from this place on, at most `most`, that are due by `until_ns`."""
        begin = place - self._first
        stop = min(begin + most, self.end - self._first)
        return int(self._due_ns[begin:stop].searchsorted(until_ns, "right"))

    def requests(self, place: int, count: int) -> NDArray[np.void]:
        """Return the REQUEST records (count,) from this place on; a view until `clear`."""
        begin = place - self._first
        return self._buffer[begin : begin + count]

"""The line that a worker serves: which queries it takes next, and when they may start.

A worker that is free takes the next batch of the line at once, also where its queries are not due
yet. The times are known ahead, so the batching rule tells already when the batch starts and what is
in it, and the worker only has to wait for that moment. So workers serve in the order in which they
became free, and nobody has to be woken or told.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts.batching import batch_start_ns
from mlbench.contracts.claims import ClaimLog
from mlbench.contracts.timetable import map_timetable


class Batch(NamedTuple):
    """REQUEST records (n,) to serve, and when they may start on the monotonic clock."""

    requests: NDArray[np.void]
    ready_ns: int


class Line:
    """The queries of a trial as one worker sees them, by their place in the line.

    `timetable`: the descriptor of the line's requests. With a `claims` log the workers of the host
    share the line, and a worker claims what it takes. Without, all of it is the worker's own.
    """

    def __init__(
        self,
        worker: int,
        batch_size: int,
        timeout_ns: int,
        timetable: int,
        claims: ClaimLog | None = None,
    ) -> None:
        self._worker = worker
        self._batch_size = batch_size
        self._timeout_ns = timeout_ns
        self._timetable = timetable
        self._claims = claims
        self._taken = 0  # the place of the next query, in a line of the worker's own
        self._known = 0
        self._start_ns: int | None = None

    def begin(self, trial: int, queries: int) -> None:
        """Begin a new trial of at most so many queries, of which none is known yet."""
        self._requests = map_timetable(self._timetable, queries)
        self._due_ns = self._requests["due_ns"]
        self._taken = self._known = 0
        self._start_ns = None
        if self._claims:
            self._claims.begin(trial)

    def know(self, count: int) -> None:
        """Take note that the first `count` requests are in the timetable."""
        self._known = count

    def go(self, start_ns: int) -> None:
        """Let the trial start at this moment of the monotonic clock."""
        self._start_ns = start_ns

    def close(self) -> None:
        """Take nothing more from this trial."""
        self._start_ns = None

    def take(self, free_ns: int, now_ns: int, burst: int) -> Batch | None:
        """Take the next batch; None when no query is known that nobody has taken.

        `free_ns`: when the device became free. `burst`: how many overdue queries may be taken at
        once where batches have one query.
        """
        while (start_ns := self._start_ns) is not None:
            place = self._next_place()
            if place is None or place >= self._known:
                break
            ready_ns, count = self._next(place, free_ns - start_ns, now_ns - start_ns, burst)
            if self._claim(count):
                return Batch(self._requests[place : place + count], start_ns + ready_ns)
        return None

    def _next_place(self) -> int | None:
        """Return the place of the first query that is not taken; None when the line is closed."""
        if self._claims is None:
            return self._taken
        self._claims.read()
        return None if self._claims.closed else self._claims.head

    def _claim(self, count: int) -> bool:
        if self._claims is not None:
            return self._claims.claim(self._worker, count) is not None
        self._taken += count
        return True

    def _next(self, place: int, free_ns: int, now_ns: int, burst: int) -> tuple[int, int]:
        """Return when the next batch is ready and how many queries it has, from this place on."""
        size = self._batch_size
        oldest_ns = int(self._due_ns[place])
        filled_ns = int(self._due_ns[place + size - 1]) if place + size <= self._known else None
        ready_ns = batch_start_ns(free_ns, oldest_ns, filled_ns, self._timeout_ns)
        if ready_ns > free_ns:
            ready_ns = max(ready_ns, now_ns)
        if size == 1 and oldest_ns <= now_ns:
            return ready_ns, max(self._count_due(place, now_ns, burst), 1)
        return ready_ns, self._count_due(place, ready_ns, size)

    def _count_due(self, place: int, until_ns: int, most: int) -> int:
        """Count the queries from this place on, at most `most`, that are due by then."""
        stop = min(place + most, self._known)
        return int(self._due_ns[place:stop].searchsorted(until_ns, "right"))

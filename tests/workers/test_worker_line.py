"""What a worker takes from its line, and when it may start."""

import os
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from mlbench.contracts.claims import ClaimLog, create_claim_file
from mlbench.contracts.timetable import REQUEST, TimetableWriter, create_timetable
from workers.line import Line

MS = 1_000_000
START_NS = 10**12


def _timetable(*due_ms: float) -> int:
    """Return the descriptor of a timetable of queries that are due then."""
    requests = np.zeros(len(due_ms), REQUEST)
    requests["id"] = np.arange(len(due_ms))
    requests["due_ns"] = np.array(due_ms) * MS
    descriptor = create_timetable()
    writer = TimetableWriter(descriptor)
    writer.begin(len(due_ms))
    writer.append(requests)
    return descriptor


def _take(line: Line, now_ms: float, free_ms: float | None = None, burst: int = 1):
    """Take a batch; return its ids and when it is ready, in ms after the start."""
    free_ms = now_ms if free_ms is None else free_ms
    batch = line.take(START_NS + round(free_ms * MS), START_NS + round(now_ms * MS), burst)
    return batch and (batch.requests["id"].tolist(), (batch.ready_ns - START_NS) / MS)


@pytest.fixture
def claims() -> Iterator[Callable[[], ClaimLog]]:
    """Return a function that opens the same file of claims once more."""
    descriptor = create_claim_file()
    yield lambda: ClaimLog(descriptor)
    os.close(descriptor)


def _line(
    *due_ms: float, worker=0, batch_size=1, timeout_ms=0, claims=None, known: int | None = None
) -> Line:
    line = Line(worker, batch_size, timeout_ms * MS, _timetable(*due_ms), claims)
    line.begin(1, len(due_ms))
    line.know(len(due_ms) if known is None else known)
    line.go(START_NS)
    return line


def test_nothing_is_taken_before_the_trial_starts() -> None:
    """A worker that knows queries waits for the word that the clock runs."""
    line = Line(0, 1, 0, _timetable(1))
    line.begin(1, 1)
    line.know(1)
    assert _take(line, 2) is None
    line.go(START_NS)
    assert _take(line, 2) == ([0], 2)


def test_a_query_is_taken_ahead_and_ready_when_it_is_due() -> None:
    """A free worker takes the next query at once, and may start it at its due time."""
    line = _line(5, 7)
    assert _take(line, 1) == ([0], 5)
    assert _take(line, 6) == ([1], 7)
    assert _take(line, 8) is None


def test_overdue_queries_are_ready_at_once() -> None:
    """What is due already starts now, several at a time where a burst is allowed."""
    line = _line(1, 2, 3, 9)
    assert _take(line, 4, burst=2) == ([0, 1], 4)
    assert _take(line, 4, burst=8) == ([2], 4)
    assert _take(line, 4, burst=8) == ([3], 9)


def test_a_batch_takes_what_is_due_when_it_starts() -> None:
    """A free device takes all that waits, up to the largest batch."""
    line = _line(1, 2, 3, 4, 5, batch_size=3)
    assert _take(line, 4.5) == ([0, 1, 2], 4.5)
    assert _take(line, 4.5) == ([3], 4.5)


def test_a_batch_waits_until_it_is_full_or_timed_out() -> None:
    """The times known ahead tell when a batch will be full, and who is in it when it times out."""
    full = _line(1, 2, 3, batch_size=3, timeout_ms=10)
    assert _take(full, 0) == ([0, 1, 2], 3)
    timed_out = _line(1, 2, 30, batch_size=3, timeout_ms=10)
    assert _take(timed_out, 0) == ([0, 1], 11)
    assert _take(timed_out, 12) == ([2], 40)


def test_a_device_with_its_own_clock_goes_on_where_it_ended() -> None:
    """What was due when the device became free starts then, however late the worker woke up."""
    line = _line(1, 2, 3.5, batch_size=4)
    assert _take(line, now_ms=4, free_ms=3) == ([0, 1], 3)
    assert _take(line, now_ms=4, free_ms=3) == ([2], 4)


def test_workers_of_one_line_take_turns_as_they_become_free(claims) -> None:
    """Who is free first takes the next query, and nobody takes one twice."""
    one = _line(1, 2, 3, worker=0, claims=claims())
    other = _line(1, 2, 3, worker=1, claims=claims())
    assert _take(other, 0) == ([0], 1)
    assert _take(one, 0.5) == ([1], 2)
    assert _take(other, 1.5) == ([2], 3)
    assert _take(one, 2.5) is None


def test_a_worker_claims_only_what_it_was_told_of(claims) -> None:
    """A worker that is told late leaves the others alone, and goes on when it is told."""
    quick = _line(1, 2, 3, worker=0, claims=claims())
    slow = _line(1, 2, 3, worker=1, claims=claims(), known=1)
    assert _take(quick, 0) == ([0], 1)
    assert _take(slow, 0) is None
    assert _take(quick, 1.5) == ([1], 2)
    slow.know(3)
    assert _take(slow, 2) == ([2], 3)


def test_a_closed_line_gives_nothing(claims) -> None:
    """Neither the word to close nor the end in the file of claims leaves anything to take."""
    told = _line(1, 2)
    told.close()
    assert _take(told, 5) is None
    log = claims()
    log.begin(1)
    found_out = _line(1, 2, claims=claims())
    log.close()
    assert _take(found_out, 5) is None

"""The requests of a line in shared memory."""

import os

import numpy as np

from mlbench.contracts.timetable import (
    REQUEST,
    TimetableWriter,
    create_timetable,
    map_timetable,
)


def _requests(*ids: int) -> np.ndarray:
    requests = np.zeros(len(ids), REQUEST)
    requests["id"], requests["due_ns"] = ids, np.array(ids) * 10
    return requests


def test_what_is_written_is_seen_in_order() -> None:
    """Requests that are appended piece by piece stand one behind the other for every reader."""
    descriptor = create_timetable()
    writer = TimetableWriter(descriptor)
    writer.begin(5)
    seen = map_timetable(descriptor, 5)
    writer.append(_requests(0, 1, 2))
    writer.append(_requests(*range(3, 9))[::4])
    assert writer.count == 5
    assert seen["id"].tolist() == [0, 1, 2, 3, 7]
    assert not seen.flags.writeable


def test_a_new_trial_begins_at_the_front() -> None:
    """The next trial's requests take the place of the last one's, and the file never shrinks."""
    descriptor = create_timetable()
    writer = TimetableWriter(descriptor)
    writer.begin(1000)
    old = map_timetable(descriptor, 1000)
    writer.begin(2)
    writer.append(_requests(8, 9))
    assert map_timetable(descriptor, 2)["id"].tolist() == [8, 9]
    assert old["id"][:2].tolist() == [8, 9]
    assert os.fstat(descriptor).st_size == 1000 * REQUEST.itemsize

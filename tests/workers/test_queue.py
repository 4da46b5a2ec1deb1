import numpy as np
import pytest

from mlbench.contracts import wire
from workers.queue import WaitingQueue


def _requests(*ids):
    requests = np.zeros(len(ids), wire.REQUEST)
    requests["id"] = ids
    return requests


def _ids(requests):
    return requests["id"].tolist()


@pytest.fixture
def queue():
    """Two frames: queries 0 to 2 sent at 10, queries 3 and 4 sent at 20."""
    queue = WaitingQueue()
    queue.put(_requests(0, 1, 2), 10)
    queue.put(_requests(3, 4), 20)
    return queue


def test_first_in_first_out(queue):
    """Batches are taken from the front, across frames, in the order of arrival."""
    assert _ids(queue.take(2)) == [0, 1]
    assert _ids(queue.take(2)) == [2, 3]
    assert _ids(queue.take(2)) == [4]
    assert len(queue) == 0


def test_taking_within_a_frame_copies_nothing(queue):
    """A batch that lies within one frame is a view of it."""
    frame = _requests(7, 8, 9)
    queue.clear()
    queue.put(frame, 5)
    assert np.shares_memory(queue.take(2), frame)


def test_the_length_is_what_waits(queue):
    """The length counts queries, not frames."""
    assert len(queue) == 5
    queue.take(4)
    assert len(queue) == 1
    queue.clear()
    assert len(queue) == 0


def test_when_a_query_was_sent(queue):
    """Every query knows when its frame was sent; one that is not there yet has no time."""
    assert queue.oldest_ns == 10
    assert [queue.sent_ns_of(i) for i in range(6)] == [10, 10, 10, 20, 20, None]
    queue.take(3)
    assert queue.oldest_ns == 20


@pytest.mark.parametrize(
    ("moment_ns", "most", "count"), [(9, 8, 0), (10, 8, 3), (19, 8, 3), (20, 8, 5), (20, 4, 4)]
)
def test_a_batch_holds_only_what_was_sent_by_its_start(queue, moment_ns, most, count):
    """What was sent after a batch's start is not in it, nor more than the largest batch."""
    assert queue.sent_until(moment_ns, most) == count


def test_what_was_not_served_goes_back_to_the_front(queue):
    """Queries that were taken but not served keep their place and their time."""
    taken, sent_ns = queue.take_frame(8)
    assert (_ids(taken), sent_ns) == ([0, 1, 2], 10)
    queue.put_back(taken[1:], sent_ns)
    assert len(queue) == 4
    assert queue.oldest_ns == 10
    assert _ids(queue.take(8)) == [1, 2, 3, 4]


def test_putting_nothing_changes_nothing(queue):
    """An empty frame is no query."""
    queue.put(_requests(), 30)
    queue.put_back(_requests(), 30)
    assert len(queue) == 5
    assert queue.oldest_ns == 10

import numpy as np
import pytest

from mlbench.load.arrivals import make_schedule
from mlbench.queueing.line import Queue
from mlbench.queueing.replay import ideal_starts
from mlbench.search.virtual import SimulatedService, VirtualPool


def _starts(
    due_ns: list[int],
    sizes: list[int],
    service_ns: list[int],
    servers: int = 1,
    batch_size: int = 1,
    timeout_ns: int = 0,
) -> list[int]:
    size = np.array(sizes)
    first = size.cumsum() - size
    due, service = np.array(due_ns), np.array(service_ns)
    return ideal_starts(due, first, size, service, servers, batch_size, timeout_ns).tolist()


def test_one_server_follows_lindley() -> None:
    """A query starts when it is due, or when the one before is done."""
    assert _starts([5, 10, 11, 50], [1] * 4, [20, 3, 4, 1]) == [5, 25, 28, 50]


def test_two_servers_share_the_line() -> None:
    """The server that is free first takes the next: here the second one twice."""
    assert _starts([0, 1, 2, 3], [1] * 4, [100, 10, 20, 5], servers=2) == [0, 1, 11, 31]


def test_a_batch_waits_until_it_is_full_or_its_timeout() -> None:
    """A full batch starts with its last query, another at the timeout, both with a free server."""
    dues, sizes = [0, 4, 10, 30, 31], [2, 1, 2]
    assert _starts(dues, sizes, [5, 5, 5], 1, 2, timeout_ns=8) == [4, 18, 31]
    assert _starts(dues, sizes, [50, 5, 5], 1, 2, timeout_ns=8) == [4, 54, 59]


def test_a_gap_between_batches_is_no_batch() -> None:
    """Queries that no batch holds, as those that were lost, are passed over."""
    due_ns, first, size = np.arange(6) * 10, np.array([0, 4]), np.array([2, 1])
    starts = ideal_starts(due_ns, first, size, np.array([7, 7]), 1, 2, 20)
    assert starts.tolist() == [10, 60]


@pytest.mark.parametrize("queue", [Queue(), Queue(3), Queue(1, 4), Queue(2, 8, 0.003)])
def test_a_perfect_trial_is_its_own_replay(queue: Queue) -> None:
    """What the virtual pool did is what one line does, to the nanosecond."""
    pool = VirtualPool(SimulatedService(0.002, cv=0.5, per_item_s=0.0005), queue)
    rate = 0.9 * queue.servers * queue.batch_size / (0.0015 + 0.0005 * queue.batch_size)
    done = pool.run(make_schedule("exponential", rate, 3000, 1))
    batch = np.flatnonzero(np.diff(done.start_ns, prepend=-1) | np.diff(done.worker, prepend=-1))
    starts = ideal_starts(
        done.due_ns,
        batch,
        np.diff(batch, append=3000),
        (done.done_ns - done.start_ns)[batch],
        queue.servers,
        queue.batch_size,
        round(queue.batch_timeout_s * 1e9),
    )
    assert np.array_equal(starts, done.start_ns[batch])


def test_nanoseconds_are_exact() -> None:
    """Times beyond what a float holds come out to the nanosecond."""
    late_ns = 2**62
    assert _starts([late_ns + 1, late_ns + 2], [1, 1], [5, 5]) == [late_ns + 1, late_ns + 6]


def test_batches_of_other_queries_are_refused() -> None:
    """A batch holds at least one query, and none beyond the last."""
    for size in (0, 3):
        with pytest.raises(ValueError, match="a batch holds"):
            _starts([0, 1], [size], [1])

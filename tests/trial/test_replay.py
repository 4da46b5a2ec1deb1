"""What the harness adds, by replay."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from mlbench.contracts import wire
from mlbench.pool.virtual import SimulatedService, VirtualPool
from mlbench.queueing.line import Queue
from mlbench.records import Completions, Schedule
from mlbench.trial.replay import send_lag_ns
from mlbench.trial.schedule import make_schedule


def _trial(
    due_ns: Sequence[int], start_ns: Sequence[int], service_ns: Sequence[int], worker=0
) -> Completions:
    n, start = len(due_ns), np.array(start_ns)
    return Completions(
        schedule=Schedule("linear", 1.0, 0, np.array(due_ns)),
        start_of_trial_ns=0,
        sent_ns=np.ones(n, np.int64),
        start_ns=start,
        done_ns=start + service_ns,
        worker=np.broadcast_to(np.array(worker, np.uint16), n).copy(),
        batch=np.ones(n, np.uint16),
        status=np.full(n, wire.COMPLETED, np.uint8),
    )


def test_lag_is_inherited_by_those_behind() -> None:
    """A query started 5 ns late delays the two behind it, until the line is empty again."""
    trial = _trial([5, 10, 11, 50], [10, 30, 33, 50], [20, 3, 4, 1])
    assert send_lag_ns(trial, Queue()).tolist() == [5, 5, 5, 0]


def test_two_servers_share_the_line() -> None:
    """Waiting for the server that is free first is no lag, waiting for the other one is."""
    trial = _trial([0, 1, 2, 3], [0, 1, 11, 100], [100, 10, 20, 5], [0, 1, 1, 0])
    assert send_lag_ns(trial, Queue(2)).tolist() == [0, 0, 0, 69]


def test_waiting_for_a_batch_is_no_lag() -> None:
    """A full batch starts with its last query, another at the timeout; later is lag."""
    queue = Queue(1, 2, 8e-9)
    trial = _trial([0, 4, 10, 30, 31], [4, 4, 18, 33, 33], [5] * 5)
    assert send_lag_ns(trial, queue).tolist() == [0, 0, 0, 2, 2]


def test_nobody_lags_before_being_due() -> None:
    """A query that joined a late batch after it should have started waited since it was due."""
    trial = _trial([0, 6], [9, 9], [5, 5])
    assert send_lag_ns(trial, Queue(1, 4)).tolist() == [9, 3]


def test_unanswered_queries_are_passed_over() -> None:
    """What got no answer has no lag, and the others are replayed without it."""
    trial = _trial([0, 10, 20], [0, 0, 25], [5, 0, 5])
    trial.status[1] = wire.LOST
    assert send_lag_ns(trial, Queue()).tolist() == [0, 0, 5]


def test_dealt_queries_wait_in_lines_of_their_own() -> None:
    """Where queries were dealt out in turn, waiting for one's own worker is no lag."""
    trial = _trial([0, 1, 2, 3], [0, 1, 100, 11], [100, 10, 20, 5], [0, 1, 0, 1])
    assert send_lag_ns(trial, Queue(2)).tolist() != [0] * 4
    assert send_lag_ns(replace(trial, dealt=True), Queue(2)).tolist() == [0] * 4


@pytest.mark.parametrize("queue", [Queue(), Queue(3), Queue(1, 4), Queue(2, 8, 0.003)])
def test_a_perfect_trial_has_no_lag(queue: Queue) -> None:
    """What the virtual pool does is what one line does, to the nanosecond."""
    pool = VirtualPool(SimulatedService(0.002, cv=0.5, per_item_s=0.0005), queue)
    rate = 0.9 * queue.servers * queue.batch_size / (0.0015 + 0.0005 * queue.batch_size)
    done = pool.run(make_schedule("exponential", rate, 3000, 1))
    assert not send_lag_ns(done, queue).any()


def test_nanoseconds_are_exact() -> None:
    """Times beyond what a float holds come out to the nanosecond."""
    late_ns = 2**62
    trial = _trial([late_ns + 1, late_ns + 2], [late_ns + 1, late_ns + 7], [5, 5])
    assert send_lag_ns(trial, Queue()).tolist() == [0, 1]

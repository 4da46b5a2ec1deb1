import math

import numpy as np
import pytest

from mlbench.contracts import wire
from mlbench.pool.virtual import Batch, SimulatedService, VirtualPool
from mlbench.queueing.line import Queue
from mlbench.records import Completions, Schedule
from mlbench.trial.schedule import make_schedule

MS = 1_000_000


def _run(due_ms: list[int], queue: Queue, max_backlog_s: float, *service_ms: float) -> Completions:
    def serve(_: np.random.Generator, batch: Batch) -> float:
        return service_ms[batch.device] / 1e3

    schedule = Schedule("linear", 1000.0, 0, np.array(due_ms) * MS)
    return VirtualPool(serve, queue).run(schedule, max_backlog_s)


def test_the_device_that_is_free_first_takes_the_next() -> None:
    """Devices of 10 and 3 ms share one line: each takes the oldest query when it is free."""
    done = _run([0, 0, 0, 0, 20, 20], Queue(2), math.inf, 10, 3)
    assert done.worker.tolist() == [0, 1, 1, 1, 1, 0]
    assert (done.done_ns / MS).tolist() == [10, 3, 6, 9, 23, 30]
    assert [account.queries for account in done.workers] == [2, 4]


def test_a_backlog_over_the_limit_loses_what_had_not_begun() -> None:
    """At 14 ms the query of 4 ms is too late: what begins later is lost, what is due later gone."""
    max_backlog_s = 0.010
    done = _run([0, 2, 4, 6, 8, 16, 17, 30], Queue(), max_backlog_s, 5)
    assert done.cut_short
    assert done.schedule.due_ns.tolist() == [due * MS for due in (0, 2, 4, 6, 8)]
    assert done.status.tolist() == [wire.COMPLETED] * 3 + [wire.LOST] * 2
    assert (done.start_ns / MS).tolist() == [0, 5, 10, 0, 0]
    assert (done.done_ns / MS).tolist() == [5, 10, 15, 0, 0]
    assert np.array_equal(done.sent_ns, done.due_ns)


def test_a_trial_that_is_all_due_is_played_to_its_end() -> None:
    """A limit that is only passed when all queries are due ends nothing."""
    done = _run([0, 2, 4, 6, 8, 9], Queue(), 0.010, 5)
    assert not done.cut_short
    assert done.completed == 6


def test_a_trial_may_end_before_anything_begins() -> None:
    """A batch that waits longer than the limit allows is lost with the whole trial."""
    done = _run([0, 2, 40], Queue(1, 8, 0.030), 0.010, 5)
    assert done.cut_short
    assert (done.lost, done.completed, done.workers[0].busy_fraction) == (2, 0, 0.0)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_trials_follow_one_another(batch_size: int) -> None:
    """The next trial begins when the last one ended, and may serve in the same way."""
    pool = VirtualPool(SimulatedService(0.002, per_item_s=0.001), Queue(2, batch_size))
    schedule = make_schedule("exponential", 900.0, 200, 1)
    first, second = pool.run(schedule), pool.run(schedule)
    assert second.start_of_trial_ns == first.done_ns.max()
    assert np.array_equal(first.latency_s, second.latency_s)
    assert pool.now_s == pytest.approx(second.done_ns.max() * 1e-9)

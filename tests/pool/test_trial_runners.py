"""One contract for everything that plays a schedule: the real pool and the virtual one."""

import numpy as np
import pytest

from mlbench.contracts import wire
from mlbench.contracts.batching import batch_start_ns
from mlbench.pool.virtual import SimulatedService, VirtualPool
from mlbench.queueing.line import Queue
from mlbench.trial.replay import send_lag_ns
from mlbench.trial.schedule import make_schedule

MS = 1_000_000
SERVICE_MS = 2

pytestmark = [
    pytest.mark.parametrize("where", ["virtual", "real"]),
    pytest.mark.parametrize("kind", ["linear", "exponential"]),
]


@pytest.fixture
def runner(where, shared_pools):
    """Return a function that gives a runner of one kind with this shape."""

    def get(servers=1, batch_size=1):
        if where == "virtual":
            return VirtualPool(SimulatedService(SERVICE_MS / 1e3), Queue(servers, batch_size))
        return shared_pools(workers=servers, batch_size=batch_size, service_ms=SERVICE_MS)

    return get


def _near(one_ns, other_ns):
    """Virtual time is kept in seconds: equal but for rounding."""
    return bool((np.abs(one_ns - other_ns) <= 10).all())


def test_every_query_has_one_fate(runner, kind):
    """Completed, failed and lost queries are all queries, and a healthy device answers all."""
    completions = runner(servers=2).run(make_schedule(kind, 600.0, 300, seed=5))
    assert completions.completed + completions.failed + completions.lost == 300
    assert completions.completed == 300
    assert (completions.status == wire.COMPLETED).all()
    assert completions.faults == ()
    assert not completions.cut_short


def test_the_times_of_a_query_are_in_order(runner, kind):
    """A query is told to the workers, due, started and done, in this order."""
    completions = runner().run(make_schedule(kind, 300.0, 150, seed=6))
    assert (completions.sent_ns <= completions.due_ns).all()
    assert (completions.start_ns >= completions.due_ns - 10).all()
    assert (completions.done_ns > completions.start_ns).all()
    assert (completions.latency_s > 0).all()


def test_a_device_follows_the_recursion(runner, kind):
    """One server without batches: done = max(due, previous done) + service, less the lag."""
    completions = runner().run(make_schedule(kind, 350.0, 350, seed=7))
    expected_ns, done_ns = [], 0
    for due_ns in completions.due_ns.tolist():
        done_ns = max(due_ns, done_ns) + SERVICE_MS * MS
        expected_ns.append(done_ns)
    lag_ns = send_lag_ns(completions, Queue())
    assert _near(completions.done_ns - lag_ns, np.array(expected_ns))


def test_each_worker_serves_in_order(runner, kind):
    """A worker serves its queries first in, first out, one at a time; all of them take part."""
    completions = runner(servers=2).run(make_schedule(kind, 700.0, 350, seed=8))
    assert set(completions.worker.tolist()) == {0, 1}
    for worker in (0, 1):
        mine = completions.worker == worker
        assert (completions.start_ns[mine][1:] >= completions.done_ns[mine][:-1] - 10).all()
    assert sum(account.queries for account in completions.workers) == 350


def test_batches_follow_the_rule(runner, kind):
    """A free device takes all that waits, up to the largest batch, and serves it at once."""
    completions = runner(batch_size=4).run(make_schedule(kind, 2_500.0, 400, seed=9))
    starts_ns, first, sizes = np.unique(completions.start_ns, return_index=True, return_counts=True)
    assert sizes.max() == 4
    assert np.array_equal(np.repeat(sizes, sizes), completions.batch)
    free_ns = 0
    for start_ns, i in zip(starts_ns, first, strict=True):
        earliest_ns = batch_start_ns(free_ns, completions.due_ns[i], None, 0)
        assert start_ns >= earliest_ns - 10
        assert start_ns <= earliest_ns + 10 or completions.due_ns[i] > free_ns
        free_ns = completions.done_ns[i]


def test_the_schedule_is_played_as_it_is(runner, kind):
    """The completions carry the schedule that was asked for, with its seed."""
    schedule = make_schedule(kind, 400.0, 80, seed=123)
    completions = runner().run(schedule)
    assert completions.schedule.seed == 123
    assert completions.schedule.kind == kind
    assert np.array_equal(completions.schedule.due_ns, schedule.due_ns)
    assert np.array_equal(completions.due_ns - completions.start_of_trial_ns, schedule.due_ns)


def test_the_columns_are_those_of_the_record(runner, kind):
    """Every runner gives one row for each query with the documented types."""
    completions = runner().run(make_schedule(kind, 400.0, 40, seed=1))
    types = {
        "sent_ns": np.int64,
        "start_ns": np.int64,
        "done_ns": np.int64,
        "worker": np.uint16,
        "batch": np.uint16,
        "status": np.uint8,
    }
    for name, dtype in types.items():
        column = getattr(completions, name)
        assert (column.shape, column.dtype) == ((40,), dtype), name


def test_an_overloaded_trial_is_cut_short(runner, kind):
    """A backlog over the limit ends a trial early, with what was due until then."""
    schedule = make_schedule(kind, 2_000.0, 4_000, seed=2)
    completions = runner().run(schedule, 0.1)
    n = len(completions.schedule.due_ns)
    assert completions.cut_short
    assert n < 4_000
    assert np.array_equal(completions.schedule.due_ns, schedule.due_ns[:n])
    assert 0 < completions.completed < n == len(completions.done_ns)
    assert completions.lost == n - completions.completed
    assert (completions.status[: completions.completed] == wire.COMPLETED).all()


def test_a_limit_that_is_kept_cuts_nothing(runner, kind):
    """A device that keeps up plays the whole schedule under any sensible limit."""
    completions = runner().run(make_schedule(kind, 100.0, 30, seed=3), 30.0)
    assert not completions.cut_short
    assert len(completions.status) == 30

import numpy as np
import pytest

from mlbench.load.arrivals import make_schedule
from mlbench.queueing.binding import latencies
from mlbench.queueing.line import Floats, Levels, Queue, line_latencies
from mlbench.search.virtual import SimulatedService, VirtualPool


def _constant(*by_size_s: float, idle_factor: float = 1.0) -> Levels:
    return Levels(np.array([0.0, *by_size_s]), idle_factor)


def _play(queue: Queue, levels: Levels, arrive_s: Floats) -> Floats:
    return latencies(queue, levels, arrive_s[:, None], np.ones((len(arrive_s), 1)))[:, 0]


def test_one_server_follows_lindley() -> None:
    """One server serves each query at max(arrival, previous end)."""
    arrive = np.array([0.0, 1.0, 1.5, 10.0])
    assert _play(Queue(), _constant(2.0), arrive) == pytest.approx([2.0, 3.0, 4.5, 2.0])


def test_two_servers_take_the_next_in_line() -> None:
    """The server that is free first takes the next query."""
    arrive = np.array([0.0, 0.1, 0.2, 0.3])
    assert _play(Queue(2), _constant(1.0), arrive) == pytest.approx([1.0, 1.0, 1.8, 1.8])


def test_a_free_server_takes_what_waits() -> None:
    """Without a timeout a batch is what waits when the server becomes free."""
    arrive = np.array([0.0, 0.1, 0.2, 0.3])
    latency = _play(Queue(1, 2), _constant(1.0, 1.5), arrive)
    assert latency == pytest.approx([1.0, 2.4, 2.3, 3.2])


def test_a_batch_waits_for_its_timeout() -> None:
    """With a timeout the server waits for a full batch, but no longer than the timeout."""
    arrive = np.array([0.0, 0.1, 5.0])
    latency = _play(Queue(1, 2, 0.5), _constant(1.0, 1.5), arrive)
    assert latency == pytest.approx([1.6, 1.5, 1.5])


def test_idle_servers_are_slower() -> None:
    """A query that finds its server idle takes the idle factor longer."""
    arrive = np.array([0.0, 1.0, 10.0])
    latency = _play(Queue(), _constant(2.0, idle_factor=1.5), arrive)
    assert latency == pytest.approx([3.0, 4.0, 3.0])


@pytest.mark.parametrize(
    ("queue", "service"),
    [
        (Queue(), SimulatedService(0.002)),
        (Queue(3), SimulatedService(0.002)),
        (Queue(1, 4), SimulatedService(0.002, per_item_s=0.0005)),
        (Queue(), SimulatedService(0.002, idle_slowdown=0.3)),
    ],
)
def test_replicas_play_as_the_virtual_pool(queue: Queue, service: SimulatedService) -> None:
    """Every column of the vectorised queue is what the event-by-event pool gives."""
    capacity = queue.servers * queue.batch_size / (0.002 + 0.0005 * (queue.batch_size - 1))
    schedules = [make_schedule("exponential", 0.8 * capacity, 400, seed) for seed in (1, 2)]
    arrive = np.stack([s.due_ns * 1e-9 for s in schedules], axis=1)
    by_size = [0.002 + service.per_item_s * i for i in range(queue.batch_size)]
    levels = _constant(*by_size, idle_factor=1 + service.idle_slowdown)
    got = latencies(queue, levels, arrive, np.ones_like(arrive))
    for column, schedule in enumerate(schedules):
        expected = VirtualPool(service, queue).run(schedule).latency_s
        assert got[:, column] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(("cv", "servers"), [(0.0, 4), (1.0, 2), (1.0, 4)])
def test_queries_are_bound_as_the_load_generator_does_it(cv: float, servers: int) -> None:
    """With variable service times the replicas have the tail of the pool that uses the dispatcher.

    A query that is bound to a server when it is due may wait for it while another is free, so that
    the tail is longer than that of one line, unless service times are known.
    """
    service, queue, n = SimulatedService(0.003, cv=cv), Queue(servers), 4000
    schedules = [make_schedule("exponential", 233.3 * servers, n, seed) for seed in range(8)]
    pool = VirtualPool(service, queue, seed=1)
    played = np.array([np.percentile(pool.run(s).latency_s, 99) for s in schedules])
    arrive = np.repeat(np.stack([s.due_ns * 1e-9 for s in schedules], axis=1), 8, axis=1)
    sigma = np.sqrt(np.log1p(cv**2))
    ratio = np.exp(sigma * np.random.default_rng(2).standard_normal(arrive.shape) - sigma**2 / 2)
    bound, line = (
        np.percentile(how(queue, _constant(0.003), arrive, ratio), 99, axis=0).reshape(8, 8)
        for how in (latencies, line_latencies)
    )
    assert np.log(played / bound.mean(axis=1)).mean() == pytest.approx(0.0, abs=0.02 + 0.08 * cv)
    binding_costs = bool((bound.mean(axis=1) > 1.05 * line.mean(axis=1)).all())
    assert binding_costs == (cv > 0)


def test_batches_of_several_servers_are_bound_too() -> None:
    """Two servers with batches have the tail of the pool that uses the dispatcher, within 5 %."""
    service, queue = SimulatedService(0.002, per_item_s=0.0005), Queue(2, 4, 0.001)
    schedules = [make_schedule("exponential", 1600, 4000, seed) for seed in range(4)]
    arrive = np.stack([s.due_ns * 1e-9 for s in schedules], axis=1)
    levels = _constant(0.002, 0.0025, 0.003, 0.0035)
    got = np.percentile(latencies(queue, levels, arrive, np.ones_like(arrive)), 99, axis=0)
    expected = [np.percentile(VirtualPool(service, queue).run(s).latency_s, 99) for s in schedules]
    assert got == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("qps", [600, 1160, 8000])
def test_the_dispatcher_is_played_as_it_is(qps: float) -> None:
    """With known service times many servers have the percentiles of the virtual pool.

    The first ones apart: what the dispatcher expects then is a guess.
    """
    queue, service = Queue(8, 32, 0.002), SimulatedService(0.006, per_item_s=0.0003)
    schedule = make_schedule("exponential", qps, 8000, 1)
    expected = VirtualPool(service, queue).run(schedule).latency_s
    played = _play(queue, _constant(*(0.006 + 0.0003 * np.arange(32))), schedule.due_ns * 1e-9)
    tails = [np.percentile(latency_s[2000:], (50, 90, 99)) for latency_s in (played, expected)]
    assert tails[0] == pytest.approx(tails[1], rel=0.03)


def test_impossible_queues_are_refused() -> None:
    """A queue without servers can't be made."""
    with pytest.raises(ValueError, match="needs a server"):
        Queue(0)

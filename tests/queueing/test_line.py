import math
from dataclasses import replace

import numpy as np
import pytest

from mlbench.contracts.batching import batch_start
from mlbench.pool.virtual import SimulatedService, VirtualPool
from mlbench.queueing.line import Floats, MeanTimes, Queue, line_latencies
from mlbench.trial.schedule import make_schedule


def _constant(
    *by_size_s: float, idle_s: tuple[float, ...] = (), idle_factors: tuple[float, ...] = (1.0,)
) -> MeanTimes:
    return MeanTimes(np.array([0.0, *by_size_s]), np.array(idle_s), np.array(idle_factors))


def _play(queue: Queue, mean_times: MeanTimes, arrive_s: Floats) -> Floats:
    return line_latencies(queue, mean_times, arrive_s[None], np.ones((1, len(arrive_s))))[0]


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
    latency = _play(Queue(), _constant(2.0, idle_factors=(1.5,)), arrive)
    assert latency == pytest.approx([3.0, 4.0, 3.0])


def test_the_idle_factor_depends_on_the_idle_time() -> None:
    """Up to 1 s, up to 5 s and beyond, a batch takes the factor of its server's idle time."""
    mean_times = _constant(2.0, idle_s=(1.0, 5.0), idle_factors=(1.0, 1.5, 3.0))
    arrive = np.array([0.0, 1.0, 9.0, 16.0, 24.5])  # idle since ever, not, and for 1, 5 and 5.5 s
    latency = _play(Queue(), mean_times, arrive)
    assert latency == pytest.approx([6.0, 7.0, 2.0, 3.0, 6.0])


def test_the_server_that_was_idle_longest_takes_the_next() -> None:
    """Servers of 1 and 3 s that idle take turns, whichever is quicker; the first one begins."""
    mean_times = replace(_constant(1.0), slowdown=np.array([1.0, 3.0]))
    arrive = np.array([0.0, 10.0, 20.0, 20.5, 20.6])
    assert _play(Queue(2), mean_times, arrive) == pytest.approx([1.0, 3.0, 1.0, 3.0, 1.4])


def _in_words(queue: Queue, mean_times: MeanTimes, arrive_s: Floats, ratio: Floats) -> Floats:
    """Play one line by its rule, query by query."""
    free_s, waiting, latency_s = [-math.inf] * queue.servers, list(arrive_s), np.array([])
    slowdown = np.broadcast_to(mean_times.slowdown, queue.servers)
    while waiting:
        server = min(range(queue.servers), key=lambda number: free_s[number])
        filled_s = waiting[queue.batch_size - 1] if len(waiting) >= queue.batch_size else math.inf
        start_s = batch_start(free_s[server], waiting[0], filled_s, queue.batch_timeout_s)
        batch = [due_s for due_s in waiting[: queue.batch_size] if due_s <= start_s]
        seconds = mean_times.by_size_s[len(batch)] * ratio[len(latency_s)] * slowdown[server]
        if waiting[0] > free_s[server]:
            longer = sum(waiting[0] - free_s[server] > end_s for end_s in mean_times.idle_s)
            seconds *= mean_times.idle_factors[longer]
        free_s[server] = start_s + seconds
        latency_s = np.append(latency_s, free_s[server] - batch)
        waiting = waiting[len(batch) :]
    return latency_s


@pytest.mark.parametrize("timeout_s", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("servers", [1, 2, 5])
def test_the_loop_keeps_to_the_rule(servers: int, batch_size: int, timeout_s: float) -> None:
    """Compiled or in words, with unlike servers that each idle time slows, the line is the same."""
    rng, n = np.random.default_rng(servers), 300
    mean_times = MeanTimes(
        np.array([0.0, 1.0, 1.5, 1.7]),
        idle_s=np.array([0.1, 0.5, 2.0]),
        idle_factors=np.array([1.1, 1.0, 1.3, 2.0]),
        slowdown=rng.uniform(0.5, 2.0, servers),
    )
    arrive = rng.exponential(1 / (1.3 * servers), (2, n)).cumsum(axis=1)
    ratio = rng.lognormal(0.0, 0.5, (2, n))
    queue = Queue(servers, batch_size, timeout_s)
    expected = [_in_words(queue, mean_times, *row) for row in zip(arrive, ratio, strict=True)]
    assert line_latencies(queue, mean_times, arrive, ratio) == pytest.approx(np.array(expected))


@pytest.mark.parametrize(
    ("queue", "service"),
    [
        (Queue(), SimulatedService(0.002)),
        (Queue(3), SimulatedService(0.002)),
        (Queue(1, 4), SimulatedService(0.002, per_item_s=0.0005)),
        (Queue(2, 4, 0.003), SimulatedService(0.002, per_item_s=0.0005)),
        (Queue(), SimulatedService(0.002, idle_slowdown=0.3)),
    ],
)
def test_a_line_plays_as_the_virtual_pool(queue: Queue, service: SimulatedService) -> None:
    """Every row is what the event-by-event pool gives."""
    capacity = queue.servers * queue.batch_size / (0.002 + 0.0005 * (queue.batch_size - 1))
    schedules = [make_schedule("exponential", 0.8 * capacity, 400, seed) for seed in (1, 2)]
    arrive = np.stack([schedule.due_ns * 1e-9 for schedule in schedules])
    by_size_s = [0.002 + service.per_item_s * i for i in range(queue.batch_size)]
    mean_times = _constant(*by_size_s, idle_factors=(1 + service.idle_slowdown,))
    got = line_latencies(queue, mean_times, arrive, np.ones_like(arrive))
    expected = [VirtualPool(service, queue).run(schedule).latency_s for schedule in schedules]
    assert got == pytest.approx(np.array(expected), abs=1e-7)


def test_shapes_that_do_not_match_are_refused() -> None:
    """Each query needs a ratio, each batch size a mean, and each server its slowdown."""
    two = np.zeros((1, 2))
    with pytest.raises(ValueError, match="needs a ratio"):
        line_latencies(Queue(), _constant(1.0), two, np.ones((1, 3)))
    with pytest.raises(ValueError, match="needs a ratio"):
        line_latencies(Queue(1, 2), _constant(1.0), two, two)
    with pytest.raises(ValueError, match="broadcast"):
        line_latencies(Queue(3), replace(_constant(1.0), slowdown=np.ones(2)), two, two)


def test_impossible_queues_are_refused() -> None:
    """A queue without servers can't be made."""
    with pytest.raises(ValueError, match="needs a server"):
        Queue(0)

"""Queues of several hosts against what theory says of them."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq

from mlbench.arrivals.exponential import Exponential
from mlbench.arrivals.gamma import Gamma
from mlbench.arrivals.linear import Linear
from mlbench.outcomes import LatencyLimit
from mlbench.queueing.capacity import predict_capacity
from mlbench.queueing.line import MeanTimes, Queue, divided_latencies, line_latencies
from mlbench.queueing.service import ServiceTimes
from mlbench.queueing.split import deal, host_streams, split_of

LIMIT = LatencyLimit(99, 0.020)
_ROWS, _N = 40, 4_000


def _memoryless() -> ServiceTimes:
    quantiles = -np.log1p(-(np.arange(20_000) + 0.5) / 20_000) * 0.002
    return ServiceTimes.sampled(quantiles)


def test_hosts_that_get_random_queries_are_independent_queues() -> None:
    """Three times M/M/1, whose p99 is ln(100) / (mu - rate / 3)."""
    found = predict_capacity(Queue(3, hosts=3), _memoryless(), "exponential", LIMIT)
    truth = 3 * (500 - math.log(100) / 0.020)
    assert abs(found.qps / truth - 1) < 4 * found.error < 0.02


def test_hosts_that_take_turns_get_erlang_gaps() -> None:
    """E3/M/1: p99 = ln(100) / s with s = mu (1 - x), x the Laplace transform of the gaps at s."""
    queue = Queue(3, hosts=3, split="round-robin")
    found = predict_capacity(queue, _memoryless(), "exponential", LIMIT)
    s = math.log(100) / 0.020
    root = (1 - s / 500) ** (1 / 3)
    truth = s * root / (1 - root)
    assert abs(found.qps / truth - 1) < 4 * found.error < 0.02


def test_equal_gaps_stay_equal_in_turn() -> None:
    """Linear arrivals to hosts that take turns saturate all of them before a query is late."""
    service = ServiceTimes.constant(0.004)
    found = predict_capacity(Queue(3, hosts=3), service, "linear", LIMIT)
    assert found.qps == pytest.approx(750, rel=1e-3)


def test_random_queries_make_equal_gaps_wait() -> None:
    """Divided at random, linear arrivals hold less than in turn, and more than Poisson's."""
    service = ServiceTimes.constant(0.004)
    queue = Queue(3, hosts=3, split="random")
    linear, poisson = (
        predict_capacity(queue, service, k, LIMIT) for k in ("linear", "exponential")
    )
    assert poisson.qps < linear.qps < 0.99 * 750


def test_the_slowest_host_decides_saturation() -> None:
    """Each host gets as many queries: hosts at 500 and 250 qps serve no more than 500."""
    service = ServiceTimes.constant(0.002)
    times = replace(service.mean_times, slowdown=np.array([1.0, 2.0]))
    assert replace(service, mean_times=times).saturated_qps(Queue(2, hosts=2)) == pytest.approx(500)
    assert replace(service, mean_times=times).saturated_qps(Queue(2)) == pytest.approx(750)


def test_unlike_hosts_are_late_as_their_mean() -> None:
    """The late fraction of two M/M/1 queues together is the mean of exp(-(mu - rate / 2) t)."""
    service = _memoryless()
    times = replace(service.mean_times, slowdown=np.array([1.0, 1.3]))
    found = predict_capacity(
        Queue(2, hosts=2), replace(service, mean_times=times), "exponential", LIMIT
    )

    def excess(qps: float) -> float:
        each = [math.exp(-(mu - qps / 2) * LIMIT.max_latency_s) for mu in (500, 500 / 1.3)]
        return sum(each) / 2 - 0.01

    truth = brentq(excess, 100, 760)
    assert abs(found.qps / truth - 1) < 4 * found.error < 0.02


@pytest.mark.parametrize("split", ["random", "round-robin"])
@pytest.mark.parametrize("kind", [Linear(), Exponential(), Gamma(2.0)])
def test_a_host_gets_its_share(kind, split) -> None:
    """Arrivals at one of four hosts come at a quarter of the rate, in order."""
    streams = host_streams(kind, split, 4, [7], _ROWS, _N)
    assert (np.diff(streams, axis=1) >= 0).all()
    assert (streams[:, -1] - streams[:, 0]).mean() / (_N - 1) == pytest.approx(4, rel=0.03)


def test_turns_make_gaps_more_regular() -> None:
    """The squared coefficient of variation of the gaps falls to a quarter with four hosts."""
    streams = host_streams(Exponential(), "round-robin", 4, [7], _ROWS, _N)
    gaps = np.diff(streams, axis=1)
    assert gaps.var() / gaps.mean() ** 2 == pytest.approx(0.25, rel=0.03)


def test_one_host_gets_all() -> None:
    """With one host nothing is divided: the streams are those of the kind."""
    alone = Exponential().streams(np.random.default_rng([7]), 2, 10)
    assert np.array_equal(host_streams(Exponential(), "random", 1, [7], 2, 10), alone)


def test_usual_splits() -> None:
    """Hosts take turns for equal gaps, and get random queries otherwise, unless asked."""
    assert split_of(None, "linear") == "round-robin"
    assert split_of(None, "exponential") == split_of(None, "gamma") == "random"
    assert split_of("random", "linear") == "random"


def test_dealing_is_fair_and_by_the_seed() -> None:
    """Turns are exact; random shares differ by chance alone; the same seed deals the same."""
    assert deal(7, 3, "round-robin", 1).tolist() == [0, 1, 2, 0, 1, 2, 0]
    dealt = deal(30_000, 3, "random", 1)
    assert np.abs(np.bincount(dealt) - 10_000).max() < 5 * math.sqrt(30_000 * 2 / 9)
    assert np.array_equal(dealt, deal(30_000, 3, "random", 1))
    assert not np.array_equal(dealt, deal(30_000, 3, "random", 2))


def test_each_host_has_a_line_of_its_own() -> None:
    """The latencies of divided queries are those of each host's queries alone, at its speed."""
    queue, rng = Queue(4, hosts=2), np.random.default_rng(5)
    means = MeanTimes(np.array([0.0, 1.0]), slowdown=np.array([1.0, 1.0, 2.0, 2.0]))
    arrive = np.cumsum(rng.exponential(0.5, (3, 200)), axis=1)
    ratio, phase = rng.exponential(1.0, (3, 200)), np.zeros((3, 4))
    on_host = deal(200, 2, "random", 3)
    together = divided_latencies(queue, means, arrive, ratio, phase, on_host)
    for host in (0, 1):
        own = on_host == host
        slow = MeanTimes(np.array([0.0, 1.0 + host]))
        alone = line_latencies(Queue(2), slow, arrive[:, own], ratio[:, own])
        assert np.allclose(together[:, own], alone)


def test_a_queue_of_unequal_hosts_is_refused() -> None:
    """Three servers cannot be two equal hosts, and hosts have no line together."""
    with pytest.raises(ValueError, match="as many servers"):
        Queue(3, hosts=2)
    with pytest.raises(ValueError, match="no line together"):
        line_latencies(Queue(2, hosts=2), MeanTimes(np.ones(2)), np.ones((1, 2)), np.ones((1, 2)))

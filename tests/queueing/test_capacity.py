import math
from dataclasses import replace

import numpy as np
import pytest

from mlbench.outcomes import LatencyLimit
from mlbench.queueing.capacity import Capacity, Effort, predict_capacity
from mlbench.queueing.line import MeanTimes, Queue, line_latencies
from mlbench.queueing.service import ServiceTimes


def test_constant_service_meets_the_exact_answer() -> None:
    """M/D/1, 2 ms, p99 <= 10 ms: 280.39 qps by the exact waiting-time distribution."""
    service = ServiceTimes.constant(0.002)
    found = predict_capacity(Queue(), service, "exponential", LatencyLimit(99, 0.010))
    assert abs(found.qps / 280.39 - 1) < 4 * found.error < 0.01


@pytest.mark.parametrize("max_latency_s", [0.020, 0.050])
def test_memoryless_service_meets_the_exact_answer(max_latency_s: float) -> None:
    """M/M/1 has p99 = ln(100) / (mu - lambda)."""
    quantiles = -np.log1p(-(np.arange(20_000) + 0.5) / 20_000) * 0.002
    service = ServiceTimes.sampled(np.random.default_rng(1).permutation(quantiles))
    found = predict_capacity(Queue(), service, "exponential", LatencyLimit(99, max_latency_s))
    truth = 500 - math.log(100) / max_latency_s
    assert abs(found.qps / truth - 1) < 4 * found.error < 0.02


@pytest.mark.parametrize("percentile", [50, 90, 99.9])
def test_every_percentile_meets_its_exact_answer(percentile: float) -> None:
    """M/M/1 has a percentile p of ln(1 / (1 - p)) / (mu - lambda); 20 ms are allowed."""
    quantiles = -np.log1p(-(np.arange(20_000) + 0.5) / 20_000) * 0.002
    service = ServiceTimes.sampled(quantiles)
    found = predict_capacity(Queue(), service, "exponential", LatencyLimit(percentile, 0.020))
    truth = 500 + math.log1p(-percentile / 100) / 0.020
    assert abs(found.qps / truth - 1) < 4 * found.error < 0.05


def test_times_drawn_in_blocks_or_one_by_one_agree() -> None:
    """Independent service times that are drawn in blocks have the same capacity, but for chance."""
    seconds = 0.002 * np.random.default_rng(2).lognormal(0.0, 0.3, 4000)
    single, blocks = (
        predict_capacity(
            Queue(), ServiceTimes.sampled(seconds, block), "exponential", LatencyLimit(99, 0.010)
        )
        for block in (1, 2)
    )
    error = math.hypot(single.error, blocks.error)
    assert abs(blocks.qps / single.qps - 1) < 4 * error < 0.02


def test_a_device_that_is_slower_after_5_ms_of_idling_meets_the_answer() -> None:
    """60 % more after 5 ms, cv 0.1, p99 <= 10 ms: 269.3 qps, from 8 million queries."""
    sigma = math.sqrt(math.log1p(0.1**2))
    ratio = np.random.default_rng(3).lognormal(-(sigma**2) / 2, sigma, 100_000)
    cold = MeanTimes(np.array([0.0, 0.002]), np.array([0.005]), np.array([1.0, 1.6]))
    service = replace(ServiceTimes.sampled(ratio / ratio.mean()), mean_times=cold)
    found = predict_capacity(Queue(), service, "exponential", LatencyLimit(99, 0.010))
    assert abs(found.qps / 269.3 - 1) < 4 * found.error < 0.01


@pytest.mark.parametrize("near_qps", [None, 20.0, 279.0, 499.0, 800.0])
def test_the_answer_does_not_depend_on_where_the_search_begins(near_qps: float | None) -> None:
    """From far below, from nearby and from beyond saturation the same capacity is found."""
    service, limit = ServiceTimes.constant(0.002), LatencyLimit(99, 0.010)
    found = predict_capacity(Queue(), service, "exponential", limit, near_qps=near_qps)
    assert abs(found.qps / 280.39 - 1) < 4 * found.error < 0.01


def test_two_servers_meet_the_exact_answer() -> None:
    """M/D/2, 2 ms, p99 <= 10 ms: 756 qps, within the error that the simulation states."""
    service = ServiceTimes.constant(0.002)
    found = predict_capacity(Queue(2), service, "exponential", LatencyLimit(99, 0.010))
    assert abs(found.qps / 756.0 - 1) < 4 * found.error < 0.02


def test_equal_spacing_reaches_the_service_rate() -> None:
    """D/D/1 holds up to one query per service time, and D/D/2 twice that."""
    service = ServiceTimes.constant(0.002)
    for servers in (1, 2):
        found = predict_capacity(Queue(servers), service, "linear", LatencyLimit(99, 0.010))
        assert found.qps == pytest.approx(500 * servers, rel=1e-4)


def test_a_limit_below_the_service_time_has_no_rate() -> None:
    """When the service alone takes longer than the limit, no rate meets it."""
    service = ServiceTimes.constant(0.012)
    assert predict_capacity(Queue(), service, "exponential", LatencyLimit(99, 0.010)) is None


def _late(servers: int, mu: float, qps: float, max_latency_s: float) -> float:
    """Return the fraction of late queries in M/M/k, by Erlang's chance to wait (1917)."""
    terms = [(qps / mu) ** k / math.factorial(k) for k in range(servers + 1)]
    spare = servers * mu - qps
    queued = terms[-1] * servers * mu / spare
    waits = queued / (sum(terms[:-1]) + queued)
    served, drained = math.exp(-mu * max_latency_s), math.exp(-spare * max_latency_s)
    return served + waits * mu * (served - drained) / (spare - mu)


@pytest.mark.parametrize("servers", [2, 4])
def test_memoryless_servers_meet_the_exact_answer(servers: int) -> None:
    """One line for several servers without memory is M/M/k, which a formula solves."""
    mu, max_latency_s = 500.0, 0.020
    low, high = 1.0, servers * mu
    for _ in range(40):
        middle = (low + high) / 2
        met = _late(servers, mu, middle, max_latency_s) <= 0.01
        low, high = (middle, high) if met else (low, middle)
    quantiles = -np.log1p(-(np.arange(20_000) + 0.5) / 20_000) / mu
    found = predict_capacity(
        Queue(servers),
        ServiceTimes.sampled(quantiles),
        "exponential",
        LatencyLimit(99, max_latency_s),
    )
    assert abs(found.qps / low - 1) < 4 * found.error < 0.02


def test_constant_servers_meet_the_exact_answer() -> None:
    """M/D/4, 2 ms, p99 <= 10 ms: 1739.6 qps."""
    service = ServiceTimes.constant(0.002)
    found = predict_capacity(Queue(4), service, "exponential", LatencyLimit(99, 0.010))
    assert abs(found.qps / 1739.6 - 1) < 4 * found.error < 0.01


def test_unlike_servers_meet_the_answer_of_a_long_simulation() -> None:
    """Servers of 2 and 4 ms, cv 0.1, p99 <= 15 ms: 583.2 qps from 30 million queries on a heap."""
    sigma = math.sqrt(math.log1p(0.1**2))
    ratio = np.random.default_rng(1).lognormal(-(sigma**2) / 2, sigma, 100_000)
    mean_times = MeanTimes(np.array([0.0, 0.002]), slowdown=np.array([1.0, 2.0]))
    service = replace(ServiceTimes.sampled(ratio / ratio.mean()), mean_times=mean_times)
    found = predict_capacity(Queue(2), service, "exponential", LatencyLimit(99, 0.015))
    assert abs(found.qps / 583.2 - 1) < 4 * found.error < 0.01


def test_further_rounds_bring_the_error_down() -> None:
    """The error falls like one over the root of the rounds, and is that between seeds."""
    service, limit = ServiceTimes.constant(0.002), LatencyLimit(99, 0.010)

    def found(rounds: int, seed: int) -> Capacity:
        return predict_capacity(
            Queue(4),
            service,
            "exponential",
            limit,
            seed=100 * seed,
            near_qps=1741.0,
            effort=Effort(16, rounds),
        )

    few = [found(2, seed) for seed in range(24)]
    more = [found(8, seed).error for seed in range(4)]
    stated = np.mean([one.error for one in few])
    assert np.mean(more) == pytest.approx(stated / 2, rel=0.25)
    assert np.log([one.qps for one in few]).std() == pytest.approx(stated, rel=0.4)


def test_few_samples_give_a_larger_error() -> None:
    """The error grows as the sample of service times shrinks."""
    rng = np.random.default_rng(4)
    errors = [
        predict_capacity(
            Queue(),
            ServiceTimes.sampled(rng.lognormal(0, 0.5, n) * 0.002),
            "exponential",
            LatencyLimit(99, 0.010),
            effort=Effort(resamples=24),
        ).error
        for n in (300, 10_000)
    ]
    assert errors[0] > 2.5 * errors[1]


@pytest.mark.parametrize("memoryless", [False, True])
def test_chance_is_the_spread_of_the_percentile_over_fresh_trials(*, memoryless: bool) -> None:
    """It falls like one over the root of the queries, and fresh trials spread by it within 25 %."""
    service, limit = ServiceTimes.constant(0.002), LatencyLimit(99, 0.010)
    if memoryless:
        quantiles = -np.log1p(-(np.arange(20_000) + 0.5) / 20_000) * 0.002
        service, limit = ServiceTimes.sampled(quantiles), LatencyLimit(99, 0.020)
    found = predict_capacity(Queue(), service, "exponential", limit)
    assert found.chance(2_500) == pytest.approx(2 * found.chance(10_000))
    rng = np.random.default_rng(1)
    for queries, trials in ((2_500, 600), (10_000, 300)):
        arrive_s = rng.standard_exponential((trials, queries)).cumsum(axis=1) / found.qps
        ratio = service.draw(rng, trials, queries)
        latency_s = line_latencies(Queue(), service.mean_times, arrive_s, ratio)
        spread = float(np.log(np.percentile(latency_s, 99, axis=1)).std())
        assert found.chance(queries) == pytest.approx(found.elasticity * spread, rel=0.25)


def test_the_slopes_tell_how_the_capacity_moves() -> None:
    """A limit 5 % wider, or times 5 % longer, move the capacity by the elasticity."""
    limit, wider = LatencyLimit(99, 0.010), LatencyLimit(99, 0.0105)
    service = ServiceTimes.constant(0.002)
    found = predict_capacity(Queue(), service, "exponential", limit)
    more = predict_capacity(Queue(), service, "exponential", wider)
    less = predict_capacity(Queue(), service.slower(1.05), "exponential", limit)
    step = math.log(1.05)
    assert math.log(more.qps / found.qps) == pytest.approx(found.elasticity * step, rel=0.15)
    assert math.log(less.qps / found.qps) == pytest.approx(-(1 + found.elasticity) * step, rel=0.15)

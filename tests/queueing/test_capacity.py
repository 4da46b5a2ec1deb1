import math
from dataclasses import replace

import numpy as np
import pytest

from mlbench.outcomes import LatencyLimit
from mlbench.queueing.capacity import Effort, predict_capacity
from mlbench.queueing.line import MeanTimes, Queue
from mlbench.queueing.service import ServiceTimes


def test_constant_service_meets_the_exact_answer() -> None:
    """M/D/1, 2 ms, p99 <= 10 ms: 280.39 qps by the exact waiting-time distribution."""
    service = ServiceTimes.constant(0.002)
    found = predict_capacity(Queue(), service, "exponential", LatencyLimit(99, 0.010))
    assert found.qps == pytest.approx(280.39, rel=2e-4)


@pytest.mark.parametrize("max_latency_s", [0.020, 0.050])
def test_memoryless_service_meets_the_exact_answer(max_latency_s: float) -> None:
    """M/M/1 has p99 = ln(100) / (mu - lambda)."""
    quantiles = -np.log1p(-(np.arange(20_000) + 0.5) / 20_000) * 0.002
    service = ServiceTimes.sampled(np.random.default_rng(1).permutation(quantiles))
    found = predict_capacity(Queue(), service, "exponential", LatencyLimit(99, max_latency_s))
    assert found.qps == pytest.approx(500 - math.log(100) / max_latency_s, rel=1e-3)


def test_simulation_and_formula_agree() -> None:
    """Service times drawn in blocks are simulated; independent ones then give the same answer."""
    seconds = 0.002 * np.random.default_rng(2).lognormal(0.0, 0.3, 4000)
    calculated, simulated = (
        predict_capacity(
            Queue(), ServiceTimes.sampled(seconds, block), "exponential", LatencyLimit(99, 0.010)
        )
        for block in (1, 2)
    )
    assert abs(simulated.qps / calculated.qps - 1) < 4 * simulated.error < 0.02


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


def test_a_simulation_goes_on_until_it_is_exact() -> None:
    """Further rounds bring the simulation's error down, but none beyond what is needed."""

    def error(rounds: int) -> float:
        return predict_capacity(
            Queue(4),
            ServiceTimes.constant(0.002),
            "exponential",
            LatencyLimit(99, 0.010),
            near_qps=1741.0,
            effort=Effort(replicas=64, rounds=rounds),
        ).error

    once, often, more = error(1), error(6), error(60)
    assert more == often < 0.75 * once


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

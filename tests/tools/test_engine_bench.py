import math

import numpy as np
import pytest
from engine_bench.ideal import line_latency_s
from engine_bench.pairs import (
    crossing_qps,
    highest_passing_qps,
    mean_ratio,
    pooled_p99_ratio,
    resampled,
)

from mlbench.queueing import MeanTimes, Queue, line_latencies


def test_given_service_times_play_as_in_the_queue_model() -> None:
    """Each query takes its own service time, on the server that is free first."""
    rng = np.random.default_rng(1)
    arrive_s = rng.standard_exponential(500).cumsum()
    service_s = rng.standard_exponential(500) * 1.5
    mean_times = MeanTimes(np.array([0.0, 1.0]))
    expected = line_latencies(Queue(2), mean_times, arrive_s[None], service_s[None])[0]
    assert line_latency_s(arrive_s, service_s[:, None], 2) == pytest.approx(expected)


def test_servers_may_differ() -> None:
    """A query takes as long as its server does."""
    latency_s = line_latency_s(np.array([0.0, 0.0, 0.0]), [2.0, 5.0], 2)
    assert latency_s == pytest.approx([2.0, 5.0, 4.0])


def test_the_mean_ratio_has_the_interval_of_student() -> None:
    """Four pairs whose logarithms deviate by 1 % have an interval of 3.18 standard errors."""
    logs = np.array([0.01, -0.01, 0.01, -0.01])
    found = mean_ratio(2 * np.exp(logs), np.ones(4))
    reach = 3.182 * logs.std(ddof=1) / 2
    assert found.value == pytest.approx(2)
    assert math.log(found.high / 2) == pytest.approx(reach, rel=1e-3)
    assert math.log(found.low / 2) == pytest.approx(-reach, rel=1e-3)


def test_one_pair_has_no_interval() -> None:
    """Nothing tells how sure the ratio of a single pair is."""
    assert math.isnan(mean_ratio(np.array([2.0]), np.array([1.0])).low)
    assert math.isnan(resampled(lambda chosen: float(chosen.sum()), 1).high)


def test_no_interval_leaves_resamples_out() -> None:
    """Where many resamples tell no value there is no interval, not one that is too narrow."""
    found = resampled(lambda chosen: 1.0 if 0 in chosen else math.nan, 3)
    assert found.value == 1.0
    assert math.isnan(found.low)


def test_the_ratio_of_tails_is_that_of_all_pairs_together() -> None:
    """Latencies of every pair that are 10 % longer give 1.1, and all resamples do."""
    theirs = [np.random.default_rng(i).random(300) for i in range(5)]
    found = pooled_p99_ratio([1.1 * series for series in theirs], theirs)
    assert (found.value, found.low, found.high) == pytest.approx((1.1, 1.1, 1.1))


def test_the_crossing_is_where_the_line_meets_the_bound() -> None:
    """A p99 that grows as the square of the rate tells a crossing near what was tried."""
    qps = np.array([80.0, 90.0, 100.0])
    assert crossing_qps(qps, (qps / 95) ** 2 * 0.05, 0.05) == pytest.approx(95)
    assert math.isnan(crossing_qps(qps, (qps / 300) ** 2 * 0.05, 0.05))
    assert math.isnan(crossing_qps(qps, 1 / qps, 0.05))


def test_a_rate_passes_by_majority() -> None:
    """The highest rate counts at which more than half of the blocks met the limit."""
    qps = np.repeat([100.0, 103.0, 106.0], 3)
    p99_s = np.array([0.01, 0.01, 0.09, 0.09, 0.01, 0.01, 0.09, 0.09, 0.01])
    assert highest_passing_qps(qps, p99_s, 0.05) == 103
    assert math.isnan(highest_passing_qps(qps, np.ones(9), 0.05))

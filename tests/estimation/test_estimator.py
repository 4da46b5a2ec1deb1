"""Estimates from the trials of devices that no simple queue describes, and of steady ones."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mlbench.arrivals.exponential import Exponential
from mlbench.arrivals.kind import ArrivalKind
from mlbench.arrivals.linear import Linear
from mlbench.estimation.estimate import Estimate, Question
from mlbench.estimation.estimator import estimate
from mlbench.estimation.learning import learn
from mlbench.estimation.observation import Observation, observe
from mlbench.outcomes import Answer, LatencyLimit, Trial, TrialRequest
from mlbench.pool.virtual import Batch, Service, SimulatedService, VirtualPool
from mlbench.queueing.line import Queue
from mlbench.search.plan import SearchPlan
from mlbench.search.search import Search
from mlbench.trial.replay import send_lag_ns
from mlbench.trial.schedule import make_schedule
from mlbench.trial.summary import summarise
from mlbench.trial.verdict import judge

LIMIT = LatencyLimit(99.0, 0.010)
EXPONENTIAL = Exponential()
STEADY = SimulatedService(0.002, cv=0.1)  # 278.1 qps within 10 ms


def _with_pauses(_: np.random.Generator, batch: Batch) -> float:
    """Serve for 2 ms, but not in the first 20 ms of each second."""
    now_s, left_s = batch.start_s, 0.002
    while True:
        second = math.floor(now_s)
        now_s = max(now_s, second + 0.020)
        if now_s + left_s <= second + 1:
            return now_s + left_s - batch.start_s
        left_s -= second + 1 - now_s
        now_s = second + 1.0


def _slow_after_5_ms_of_idling(rng: np.random.Generator, batch: Batch) -> float:
    return STEADY(rng, batch) * (1.6 if batch.idle_s > 0.005 else 1.0)


def _slower_from(at_s: float) -> Service:
    return lambda rng, batch: STEADY(rng, batch) * (1.15 if batch.start_s > at_s else 1.0)


def _searched(service: Service, limit_s: float, seed: int, budget_s: float) -> Answer:
    plan = SearchPlan(
        (EXPONENTIAL,), (limit_s,), 99.0, budget_s / 4, budget_s, 0.002, seed, Queue(), 400.0
    )
    search, pool = Search(plan), VirtualPool(service, seed=seed)
    while (request := search.next()) is not None:
        schedule = make_schedule(request.kind, request.target_qps, request.queries, request.seed)
        search.record(request, pool.run(schedule, request.max_backlog_s))
    return search.answers()["exponential"][limit_s]


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("device", "limit_s", "true_qps"),
    [
        (lambda _: _with_pauses, 0.030, 386.6),
        (lambda _: _slow_after_5_ms_of_idling, 0.010, 269.3),
        (lambda budget_s: _slower_from(budget_s / 2), 0.010, 215.8),
    ],
    ids=["pauses", "cold", "slower half-way"],
)
def test_the_interval_holds_the_truth(
    device: Callable[[float], Service], limit_s: float, true_qps: float, seed: int
) -> None:
    """On devices that pause, that cool down, and that become slower, from 10,000 queries."""
    budget_s = 10_000 / true_qps
    answer = _searched(device(budget_s), limit_s, seed, budget_s)
    assert answer.capacity_qps is not None
    assert answer.capacity_ci95 is not None
    low, high = answer.capacity_ci95
    assert low < true_qps < high
    assert high - low < 0.5 * true_qps
    assert answer.capacity_qps == pytest.approx(true_qps, rel=0.1)


def _observed(
    pool: VirtualPool, qps: float, kind: ArrivalKind = EXPONENTIAL, queries: int = 2500
) -> Observation:
    completions = pool.run(make_schedule(kind, qps, queries, round(pool.now_s * 1e6)))
    lag_ns = send_lag_ns(completions, pool.queue)
    judged = judge(completions, LIMIT, pool.queue, lag_ns)
    request = TrialRequest(kind, qps, queries, 1, LIMIT.max_latency_s)
    trial = Trial(request, summarise(completions), {LIMIT.max_latency_s: judged}, qps)
    return observe(trial, completions, lag_ns)


def _estimate(
    seen: list[Observation],
    *,
    kind: ArrivalKind = EXPONENTIAL,
    limit: LatencyLimit = LIMIT,
    known_qps: float | None = None,
    guess_qps: float = 300.0,
) -> Estimate:
    learnt = learn([one.log for one in seen], Queue())
    return estimate(seen, learnt, Question(Queue(), kind, limit, seed=1), known_qps, guess_qps)


def test_an_estimate_does_not_depend_on_where_it_begins() -> None:
    """A known rate or a guess, far off or near, lead to the same capacity."""
    pool = VirtualPool(STEADY)
    seen = [_observed(pool, qps) for qps in (260.0, 270.0)]
    rates = [
        found.qps
        for found in (
            _estimate(seen),
            _estimate(seen, guess_qps=1000.0),
            _estimate(seen, known_qps=100.0),
            _estimate(seen, known_qps=278.0),
        )
    ]
    assert rates == pytest.approx([278.1] * 4, rel=0.015)
    assert max(rates) < 1.005 * min(rates)


def test_more_trials_make_it_more_certain() -> None:
    """The interval of eight trials is narrower than that of one, and inside it is the truth."""
    pool = VirtualPool(STEADY)
    seen = [_observed(pool, 255.0 + 2 * n) for n in range(8)]
    one, all_of_them = _estimate(seen[:1]), _estimate(seen)
    assert all_of_them.half_width < 0.8 * one.half_width
    assert all_of_them.low < 278.1 < all_of_them.high


def test_a_fresh_trial_at_a_supported_rate_meets_the_limit_eight_times_in_ten() -> None:
    """It does so at about that share of the time, and more often at what longer trials support."""
    pool = VirtualPool(STEADY)
    found = _estimate([_observed(pool, 255.0 + 2 * n) for n in range(8)])
    assert found.supported_qps(500) < found.supported_qps(2500) < found.supported_qps(50_000)
    assert found.deviation(10**8) == pytest.approx(found.error, rel=0.01)
    qps = found.supported_qps(2500)
    met = [np.percentile(_observed(pool, qps).latency_s, 99) <= 0.010 for _ in range(60)]
    assert np.mean(met) == pytest.approx(0.8, abs=0.16)


def test_a_device_that_collapses_over_a_rate_has_that_in_its_interval() -> None:
    """3 ms over 150 qps, which holds 131, and 2 ms below: wherever it begins, 150 is possible."""

    def serve(rng: np.random.Generator, batch: Batch) -> float:
        return STEADY(rng, batch) * (1.5 if batch.target_qps > 150 else 1.0)

    pool = VirtualPool(serve)
    seen = [_observed(pool, qps) for qps in (120.0, 180.0, 140.0, 160.0)]
    for known_qps in (130.0, 150.0, 300.0):
        found = _estimate(seen, known_qps=known_qps)
        assert found.low < 150 < found.high
        assert "trials_differ" in [one.code for one in found.findings]


def test_latency_that_no_service_time_explains_is_corrected_for_and_told() -> None:
    """3 ms before each query, seen in eight trials, leave the capacity of 7 ms, 196 qps."""
    pool = VirtualPool(STEADY)
    seen = [_observed(pool, 190.0 + n, queries=5000) for n in range(8)]
    found = _estimate([replace(one, latency_s=one.latency_s + 0.003) for one in seen])
    assert found.qps == pytest.approx(196.0, rel=0.04)
    assert found.low < 196.0 < found.high
    assert any(one.code.startswith("model_") for one in found.findings)


def test_other_arrivals_tell_the_service_times() -> None:
    """Trials with equally spaced queries are enough to know what exponential ones will hold."""
    pool = VirtualPool(STEADY)
    seen = [_observed(pool, qps, Linear()) for qps in (280.0, 285.0)]
    found = _estimate(seen)
    assert found.qps == pytest.approx(278.1, rel=0.02)
    assert found.low < 278.1 < found.high


def test_a_limit_below_the_service_time_has_no_rate_for_sure() -> None:
    """1.5 ms of a device that takes 2 ms: nothing is possible, and the p99 alone is told."""
    seen = [_observed(VirtualPool(STEADY), 250.0)]
    found = _estimate(seen, limit=LatencyLimit(99.0, 0.0015))
    assert (found.qps, found.low, found.high, found.supported_qps(100)) == (None, 0.0, 0.0, 0.0)
    assert found.half_width == math.inf
    assert found.unloaded_s == pytest.approx(0.002 * math.exp(2.326 * 0.1), rel=0.02)

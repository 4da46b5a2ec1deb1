"""Estimates from the trials of devices that the queue model cannot describe."""

import numpy as np

from mlbench.arrivals.exponential import Exponential
from mlbench.arrivals.kind import ArrivalKind
from mlbench.arrivals.linear import Linear
from mlbench.estimation.estimate import Question
from mlbench.estimation.estimator import estimate
from mlbench.estimation.observation import Observation, observe
from mlbench.outcomes import LatencyLimit, Trial, TrialRequest
from mlbench.pool.virtual import Batch, VirtualPool
from mlbench.queueing.line import Queue
from mlbench.trial.replay import send_lag_ns
from mlbench.trial.schedule import make_schedule
from mlbench.trial.summary import summarise
from mlbench.trial.verdict import judge

LIMIT = LatencyLimit(99.0, 0.010)
EXPONENTIAL = Exponential()


def _slow_between_100_and_200(_: np.random.Generator, batch: Batch) -> float:
    return 0.012 if 100 < batch.target_qps < 200 else 0.002


def _observed(pool: VirtualPool, qps: float, kind: ArrivalKind = EXPONENTIAL) -> Observation:
    completions = pool.run(make_schedule(kind, qps, 2000, 1))
    lag_ns = send_lag_ns(completions, Queue())
    judged = judge(completions, LIMIT, Queue(), lag_ns)
    request = TrialRequest(kind, qps, 2000, 1, LIMIT.max_latency_s)
    summary = summarise(completions)
    trial = Trial(request, summary, {LIMIT.max_latency_s: judged}, completions.schedule.offered_qps)
    return observe(trial, completions, lag_ns)


def test_a_limit_met_beyond_a_failure_belongs_to_the_interval() -> None:
    """A device that misses the limit at 150 qps only: 80 to 240 qps, cautiously below 150."""
    pool = VirtualPool(_slow_between_100_and_200)
    seen = [_observed(pool, qps) for qps in (80.0, 150.0, 240.0)]
    verdicts = [one.trial.judgement.verdict for one in seen]
    found = estimate(seen, Question(Queue(), EXPONENTIAL, LIMIT, seed=1), None, 150.0)
    assert verdicts == ["pass", "fail", "pass"]
    assert not found.modelled
    assert (found.low, found.high) == (80.0, 240.0)
    assert 80 < found.qps < 150


def test_a_bracket_is_open_where_nothing_was_measured() -> None:
    """With nothing met below a failure the interval reaches down to 0, and the middle is half."""
    pool = VirtualPool(_slow_between_100_and_200)
    seen = [_observed(pool, 150.0), _observed(pool, 240.0)]
    found = estimate(seen, Question(Queue(), EXPONENTIAL, LIMIT, seed=1), None, 150.0)
    assert not found.modelled
    assert (found.qps, found.low, found.high) == (75.0, 0.0, 240.0)


def _slow_over_200(_: np.random.Generator, batch: Batch) -> float:
    return 0.004 if batch.target_qps > 200 else 0.002


def test_a_bracket_of_nothing_looks_where_the_model_points() -> None:
    """Where no trial of the kind was run and the model settles on no rate, it is still a start."""
    pool = VirtualPool(_slow_over_200)
    seen = [_observed(pool, qps, Linear()) for qps in (90.0, 240.0)]
    found = estimate(seen, Question(Queue(), EXPONENTIAL, LIMIT, seed=1), None, 150.0)
    assert not found.modelled
    assert (found.low, found.high) == (0.0, np.inf)
    assert found.findings[-1].figures["predicted_qps"] == found.qps

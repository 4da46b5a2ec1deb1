"""The model's curve that an answer carries."""

import numpy as np
import pytest

from mlbench.arrivals.exponential import Exponential
from mlbench.arrivals.linear import Linear
from mlbench.outcomes import Answer
from mlbench.pool.virtual import SimulatedService, VirtualPool
from mlbench.queueing import Queue
from mlbench.search.plan import SearchPlan
from mlbench.search.search import Search
from mlbench.trial.schedule import make_schedule

LIMITS_S = (0.010, 0.020)


@pytest.fixture(scope="module")
def search() -> Search:
    """A search on a steady device of 2 ms: 278 qps of Poisson arrivals within 10 ms."""
    plan = SearchPlan((Exponential(), Linear()), LIMITS_S, 99.0, 5.0, 30.0, 0.05, 1, Queue(), 400.0)
    search, pool = Search(plan), VirtualPool(SimulatedService(0.002, cv=0.1), seed=1)
    while (request := search.next()) is not None:
        schedule = make_schedule(request.kind, request.target_qps, request.queries, request.seed)
        search.record(request, pool.run(schedule, request.max_backlog_s))
    return search


@pytest.fixture(scope="module")
def answers(search: Search) -> list[Answer]:
    """Its answers."""
    return [answer for own in search.answers().values() for answer in own.values()]


def _column(answer: Answer, name: str) -> np.ndarray:
    return np.array([getattr(point, name) for point in answer.curve])


def test_the_curve_meets_the_limit_at_the_capacity(answers: list[Answer]) -> None:
    """For Poisson arrivals, to the rounding of straight lines between points."""
    for answer in answers[:2]:
        at_s = np.interp(answer.capacity_qps, _column(answer, "qps"), _column(answer, "latency_s"))
        assert at_s == pytest.approx(answer.max_latency_s, rel=0.03)


def test_the_band_meets_the_limit_where_the_interval_ends(answers: list[Answer]) -> None:
    """What makes the capacity uncertain is in the band, and no more: to half of the interval."""
    answer = answers[0]
    qps, limit_s = _column(answer, "qps"), answer.max_latency_s
    found = [np.interp(limit_s, _column(answer, name), qps) for name in ("high_s", "low_s")]
    low, high = answer.capacity_ci95
    assert found == pytest.approx([low, high], abs=(high - low) / 2)


def test_a_curve_rises_within_its_band(answers: list[Answer]) -> None:
    """From an almost idle device, which serves in about 2 ms, to near saturation."""
    for answer in answers:
        latency_s = _column(answer, "latency_s")
        assert (np.diff(_column(answer, "qps")) > 0).all()
        assert (np.diff(latency_s) > -0.02 * latency_s[1:]).all()
        assert (_column(answer, "low_s") < latency_s).all()
        assert (_column(answer, "high_s") > latency_s).all()
        assert 0.002 < latency_s[0] < 0.005


def test_answers_in_a_hurry_have_no_curve(search: Search) -> None:
    """A run that is interrupted does not compute for seconds."""
    answers = search.answers(thorough=False)
    assert all(answer.curve == () for own in answers.values() for answer in own.values())

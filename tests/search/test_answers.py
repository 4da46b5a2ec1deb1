"""Which trial an answer reports, with made-up trials and estimates."""

import math
from dataclasses import replace
from statistics import NormalDist

import pytest

from mlbench.arrivals.exponential import Exponential
from mlbench.estimation.estimate import Estimate
from mlbench.estimation.observation import Observation, observe
from mlbench.outcomes import Answer, LatencyLimit, Verdict
from mlbench.pool.virtual import SimulatedService, VirtualPool
from mlbench.queueing.line import Queue
from mlbench.report.sentences import sentences
from mlbench.search.answers import make_answer
from mlbench.search.goal import Goal
from mlbench.search.history import History
from mlbench.search.plan import SearchPlan
from mlbench.search.search import Search
from mlbench.trial.replay import send_lag_ns
from mlbench.trial.schedule import make_schedule

LIMIT_S = 0.010
PLAN = SearchPlan((Exponential(),), (LIMIT_S,), 99.0, 1.0, 60.0, 0.02, 1, Queue(), 450.0)


def _observations(*trials: tuple[float, Verdict]) -> list[Observation]:
    """A saturation trial, then one trial at each rate, with the verdict that is given to it."""
    search, pool, made = Search(PLAN), VirtualPool(SimulatedService(0.002)), []
    request = search.next()
    assert request is not None
    for qps, verdict in ((1600.0, "fail"), *trials):
        own = replace(request, kind=Exponential(), target_qps=qps, queries=300)
        if made:
            own = replace(own, purpose="search")
        completions = pool.run(make_schedule("exponential", qps, 300, 1))
        trial = search.record(own, completions)
        judged = {LIMIT_S: replace(trial.judgement, verdict=verdict)}
        made.append(
            observe(
                replace(trial, judgements=judged), completions, send_lag_ns(completions, Queue())
            )
        )
    return made


def _answer(estimate: Estimate, *trials: tuple[float, Verdict]) -> Answer:
    history = History(PLAN.queue)
    history.observations += _observations(*trials)
    goal = Goal(PLAN, Exponential(), LatencyLimit(99.0, LIMIT_S), history)
    goal.estimate = estimate
    return make_answer(goal, estimate, [])


def _reported(estimate: Estimate, *trials: tuple[float, Verdict]) -> tuple[float | None, str]:
    answer = _answer(estimate, *trials)
    return answer.qps, " ".join(sentences(answer.findings))


ESTIMATE = Estimate(280.0, 274.5, 285.5, error=0.01, unloaded_s=0.002)


@pytest.mark.parametrize(
    ("trials", "qps"),
    [
        ([(260, "pass"), (272, "pass")], 272),  # 2.9 standard deviations below: supported
        ([(260, "pass"), (279, "pass")], 260),  # closer than that it may be chance
        ([(150, "pass"), (285, "pass"), (272, "undecided")], 150),
        ([(279, "pass")], 279),  # unless no better one is known
        ([(279, "pass"), (272, "undecided")], 279),
        ([(279, "pass"), (272, "fail")], 279),  # better than none at all
        ([(260, "pass"), (279, "pass"), (150, "fail")], 260),
        ([(285, "pass")], None),  # above the estimate
        ([(285, "pass"), (272, "fail")], None),
        ([(295, "pass")], None),
        ([(250, "fail"), (260, "undecided")], None),
    ],
)
def test_the_reported_rate_is_one_that_can_be_believed(
    trials: list[tuple[float, Verdict]], qps: float | None
) -> None:
    """The highest rate that a trial met, less what may have been chance."""
    assert _reported(ESTIMATE, *trials)[0] == qps


@pytest.mark.parametrize("qps", [260, 272, 279])
def test_the_chance_to_meet_the_limit_again_is_told(qps: float) -> None:
    """It is that of the estimate to be above the rate, by its normal distribution."""
    answer = _answer(ESTIMATE, (qps, "pass"))
    expected = NormalDist(0.0, 0.01).cdf(math.log(280 / qps))
    assert answer.meets_again == pytest.approx(expected, abs=1e-6)


def test_without_a_rate_nothing_is_met_again() -> None:
    """An answer without a rate, or without an estimate that has one, tells no such chance."""
    assert _answer(ESTIMATE, (250, "fail")).meets_again is None


def test_a_slower_trial_that_failed_is_told_beside_the_rate() -> None:
    """On a machine that changes, a rate is reported with the rate at which the limit was missed."""
    _, notes = _reported(ESTIMATE, (265, "pass"), (250, "fail"), (279, "fail"))
    assert notes == "a slower trial, at 250 qps, did not meet the limit"
    assert _reported(ESTIMATE, (265, "pass"), (279, "fail")) == (265, "")


def test_rates_above_the_estimate_are_not_reported_and_told() -> None:
    """As when the device became slower than it was in all the trials that met the limit."""
    qps, notes = _reported(ESTIMATE, (295, "pass"))
    assert qps is None
    assert notes.startswith("the rates that trials met are above what the estimate supports")


def test_a_rate_met_by_chance_is_not_reported_where_none_seems_possible() -> None:
    """When the estimate is that no rate meets the limit, a trial that did was chance."""
    doubtful = Estimate(None, 0.0, 300.0, error=0.0, unloaded_s=0.0099)
    qps, notes = _reported(doubtful, (250, "pass"))
    assert qps is None
    assert notes.startswith("the rates that trials met are above what the estimate supports")

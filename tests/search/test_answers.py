"""Which trial an answer reports, with made-up trials and estimates."""

from dataclasses import replace

import numpy as np
import pytest

from mlbench.arrivals.exponential import Exponential
from mlbench.estimation.estimate import Estimate
from mlbench.estimation.observation import Observation, observe
from mlbench.outcomes import LatencyLimit, Verdict
from mlbench.pool.virtual import SimulatedService, VirtualPool
from mlbench.queueing.line import Queue
from mlbench.queueing.service import Drift
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


def _reported(estimate: Estimate, *trials: tuple[float, Verdict]) -> tuple[float | None, str]:
    history = History()
    history.observations += _observations(*trials)
    goal = Goal(PLAN, Exponential(), LatencyLimit(99.0, LIMIT_S), history)
    goal.estimate = estimate
    answer = make_answer(goal, estimate, [])
    return answer.qps, " ".join(sentences(answer.findings))


ESTIMATE = Estimate(280.0, 270.0, 290.0, modelled=True, unloaded_s=0.002)


@pytest.mark.parametrize(
    ("trials", "qps"),
    [
        ([(260, "pass"), (272, "pass")], 272),  # a quarter of the interval below: supported
        ([(260, "pass"), (279, "pass")], 260),  # above that it may be chance
        ([(150, "pass"), (279, "pass")], 279),  # unless what is supported is far below
        ([(150, "pass"), (285, "pass"), (272, "undecided")], 150),
        ([(279, "pass")], 279),  # or no better one is known
        ([(279, "pass"), (272, "undecided")], 279),
        ([(279, "pass"), (272, "fail")], 279),  # better than none at all
        ([(260, "pass"), (279, "pass"), (150, "fail")], 260),
        ([(285, "pass"), (272, "fail")], None),
        ([(285, "pass")], 285),  # within the interval, and nothing speaks against it
        ([(285, "pass"), (272, "undecided")], None),
        ([(295, "pass")], None),  # beyond the interval
        ([(250, "fail"), (260, "undecided")], None),
    ],
)
def test_the_reported_rate_is_one_that_can_be_believed(
    trials: list[tuple[float, Verdict]], qps: float | None
) -> None:
    """The highest rate that a trial met, less what may have been chance."""
    assert _reported(ESTIMATE, *trials)[0] == qps


def test_a_slower_trial_that_failed_is_told_beside_the_rate() -> None:
    """On a machine that changes, a rate is reported with the rate at which the limit was missed."""
    _, notes = _reported(ESTIMATE, (265, "pass"), (250, "fail"), (279, "fail"))
    assert notes == "a slower trial, at 250 qps, did not meet the limit"
    assert _reported(ESTIMATE, (265, "pass"), (279, "fail")) == (265, "")


def test_rates_that_a_drifting_device_no_longer_holds_are_not_reported() -> None:
    """When the device became slower than all rates that were met, the reason is told."""
    slower = replace(ESTIMATE, drift=Drift(0.002, 0.0001, 60.0, 30.0))
    qps, notes = _reported(slower, (295, "pass"))
    assert qps is None
    assert notes.startswith("the rates that trials met are above what the device still holds")


def test_a_rate_met_by_chance_is_not_reported_where_none_seems_possible() -> None:
    """When the estimate is that no rate meets the limit, a trial that did was chance."""
    doubtful = Estimate(None, 0.0, 300.0, modelled=True, unloaded_s=0.0099)
    qps, notes = _reported(doubtful, (250, "pass"))
    assert qps is None
    assert notes.startswith("the rates that trials met are above what the estimate supports")


def test_a_bracket_reports_the_highest_rate_met() -> None:
    """Without a model the estimate is the bracket's middle, and its lower end was met."""
    bracket = Estimate(np.sqrt(250.0 * 290.0), 250.0, 290.0, modelled=False, unloaded_s=0.002)
    assert _reported(bracket, (250, "pass"), (290, "fail"))[0] == 250

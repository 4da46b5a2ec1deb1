"""The search of a side of a comparison, whose trials are short turns."""

import math

import numpy as np

from mlbench.arrivals.registry import arrival_kind
from mlbench.outcomes import LatencyLimit
from mlbench.pool.virtual import SimulatedService, VirtualPool
from mlbench.queueing import Queue, ServiceTimes, predict_capacity
from mlbench.search.plan import SearchPlan
from mlbench.search.search import Search
from mlbench.trial.schedule import make_schedule

KEY = ("exponential", 0.1)
TURN_S, FEWEST = 1.0, 150


def _search(service_s: float, budget_s: float) -> Search:
    plan = SearchPlan(
        kinds=(arrival_kind("exponential"),),
        max_latencies_s=(0.1,),
        percentile=99.0,
        max_trial_s=10.0,
        budget_s=budget_s,
        precision=0.02,
        seed=1,
        queue=Queue(),
        first_guess_qps=1 / service_s,
        usual_trial_s=TURN_S,
        growth=1.5,
        short_turns=True,
    )
    search, pool = Search(plan), VirtualPool(SimulatedService(service_s, cv=0.1), Queue(), seed=1)
    search.contest([KEY])
    while (request := search.next()) is not None:
        schedule = make_schedule(request.kind, request.target_qps, request.queries, request.seed)
        search.record(request, pool.run(schedule, request.max_backlog_s))
    return search


def test_turns_are_short_once_a_trial_has_met_the_limit() -> None:
    """A device of 10 ms, which holds 77 qps, gets trials of 150 queries until one passes.

    The others are turns of a second, nearly all of them just below its capacity.
    """
    _, *trials = _search(0.010, 40.0).trials
    turns = [trial for trial in trials if trial.request.purpose == "turn"]
    before = trials[: trials.index(turns[0])]
    assert [one.judgement.verdict for one in before].count("pass") == 1
    assert all(one.request.queries >= FEWEST for one in before)
    assert len(turns) == len(trials) - len(before) > 20
    assert {one.judgement.verdict for one in turns} == {"undecided"}
    assert sum(one.request.target_qps > 0.95 * 77 for one in turns) > 0.9 * len(turns)
    for one in turns[:-1]:  # the last one takes what is left of the budget
        assert one.request.queries == round(one.request.target_qps * TURN_S)


def test_turns_of_a_slow_device_have_queries_enough_to_compare() -> None:
    """A device of 25 ms holds 18 qps, so its turns last longer than a second."""
    turns = [one for one in _search(0.025, 60.0).trials if one.request.purpose == "turn"]
    assert turns
    assert {one.request.queries for one in turns[:-1]} == {30}  # the last takes what is left


def test_short_turns_tell_the_capacity_in_every_round() -> None:
    """The capacity is within 2 % of the true one, and each of the turns has its own ln of it."""
    search = _search(0.010, 60.0)
    rounds = list(range(len(search.trials)))
    by_round = search.log_capacity_by_round(rounds)[KEY]
    assert list(by_round) == rounds
    ratio = np.random.default_rng(1).lognormal(-0.005, 0.1, 100_000)
    service = ServiceTimes.sampled(0.010 * ratio)
    true = predict_capacity(Queue(), service, "exponential", LatencyLimit(99.0, 0.1))
    assert true is not None
    answer = search.answers()[KEY[0]][KEY[1]]
    assert answer.capacity_qps is not None
    assert abs(math.log(answer.capacity_qps / true.qps)) < 0.02

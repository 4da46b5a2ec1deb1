"""What the trials of single rounds say of a capacity."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from mlbench.arrivals.exponential import Exponential
from mlbench.arrivals.linear import Linear
from mlbench.pool.virtual import Batch, Service, SimulatedService, VirtualPool
from mlbench.queueing.line import Queue
from mlbench.search.plan import SearchPlan
from mlbench.search.search import Search
from mlbench.trial.schedule import make_schedule

STEADY = SimulatedService(0.002, cv=0.1)  # 278.1 qps within 10 ms
KEY = ("exponential", 0.010)


def _measured(
    serve: Service, kinds: tuple[str, ...] = ("exponential",), trial_s: float = 5.0
) -> tuple[Search, list[int]]:
    """Return a search of 50 s in trials of 5 s, and the round of each trial."""
    made = tuple({"exponential": Exponential(), "linear": Linear()}[kind] for kind in kinds)
    plan = SearchPlan(made, (0.010,), 99.0, trial_s, 50.0, 1e-6, 3, Queue(), 450.0)
    search, pool, rounds = Search(plan), VirtualPool(serve, seed=3), list[int]()
    while (request := search.next()) is not None:
        schedule = make_schedule(request.kind, request.target_qps, request.queries, request.seed)
        search.record(request, pool.run(schedule, request.max_backlog_s))
        rounds.append(len(rounds) // len(kinds))
    return search, rounds


def _by_trial(slower: Callable[[int], float]) -> Service:
    """Return the steady device, whose service times are longer by a factor in each trial."""
    trials = 0

    def serve(rng: np.random.Generator, batch: Batch) -> float:
        nonlocal trials
        trials += batch.idle_s > 0.99
        return STEADY(rng, batch) * slower(trials - 1)

    return serve


def test_rounds_of_a_steady_device_differ_by_chance() -> None:
    """Rounds of 1,300 queries of cv 0.1 lie within 4 % of 278.1 qps, and their mean within 2 %."""
    search, rounds = _measured(STEADY)
    by_round = search.log_capacity_by_round(rounds)[KEY]
    values = np.array(list(by_round.values()))
    assert set(by_round) == set(rounds)
    assert np.abs(values[1:] - math.log(278.1)).max() < 0.04
    assert abs(values[1:].mean() - math.log(278.1)) < 0.02
    assert 0.001 < values[1:].std(ddof=1) < 0.02


def test_a_slow_round_is_seen_as_slow() -> None:
    """Where every other trial is 5 % slower, its rounds say 10 % less: (1 + 0.95) times 5 %."""
    search, rounds = _measured(_by_trial(lambda trial: 1.05 if trial % 2 else 1.0))
    by_round = search.log_capacity_by_round(rounds)[KEY]
    slow = np.mean([by_round[n] for n in sorted(by_round)[1:] if n % 2])
    quick = np.mean([by_round[n] for n in sorted(by_round)[1:] if not n % 2])
    assert quick - slow == pytest.approx(0.10, abs=0.03)


def test_trials_for_another_answer_tell_the_speed_of_their_round() -> None:
    """Each of two answers has every round, although each trial was for one of them."""
    search, rounds = _measured(STEADY, ("linear", "exponential"))
    for by_round in search.log_capacity_by_round(rounds).values():
        assert set(by_round) == set(rounds)


def test_a_device_that_is_always_late_has_no_rounds() -> None:
    """Where no rate meets the limit there is no capacity, and none by round."""
    search, rounds = _measured(SimulatedService(0.020))
    assert search.log_capacity_by_round(rounds) == {KEY: {}}


def test_before_the_first_trial_there_are_no_rounds() -> None:
    """A search that has measured nothing says nothing."""
    plan = SearchPlan((Exponential(),), (0.010,), 99.0, 5.0, 50.0, 0.02, 3, Queue(), 450.0)
    assert Search(plan).log_capacity_by_round([]) == {KEY: {}}

"""A race between simulated configurations in virtual time, from the first round to the last."""

from pathlib import Path

import pytest

from mlbench.bench.settings import RunSettings, make_settings
from mlbench.bench.sweep.entry import Entry, search_plan
from mlbench.bench.sweep.plan import Configuration
from mlbench.bench.sweep.racing import look
from mlbench.bench.sweep.rounds import next_round, shuffled
from mlbench.bench.sweep.winners import find_winners
from mlbench.pool.virtual import SimulatedService, VirtualPool
from mlbench.trial.schedule import make_schedule

KEY = ("exponential", 0.05)


def _entry(name, budget_s):
    options = {
        "backend": "simulated",
        "max_latency": (0.05,),
        "arrivals": ("exponential",),
        "budget": budget_s,
        "precision": 0.01,
        "seed": 3,
        "output": Path("nowhere"),
    }
    settings = make_settings(RunSettings, options, {})
    return Entry(Configuration(name, {}, options, settings))


def _race(service_s, budget_s):
    entries = [_entry(f"{1e3 * one:g} ms", budget_s) for one in service_s]
    pools = [VirtualPool(SimulatedService(one, cv=0.2), seed=i) for i, one in enumerate(service_s)]
    while live := [entry for entry in entries if entry.is_live]:
        number = next_round([entry.rounds for entry in entries])
        for entry in shuffled(live, 3, number):
            pool = pools[entries.index(entry)]
            if entry.search is None:
                entry.begin(search_plan(entry.configuration.settings, pool.queue, 300.0))
            for wanted in entry.turn():
                schedule = make_schedule(
                    wanted.kind, wanted.target_qps, wanted.queries, wanted.seed
                )
                entry.record(number, wanted, pool.run(schedule, wanted.max_backlog_s))
        look(entries, budget_s * len(entries))
    return entries


@pytest.mark.slow
def test_the_slow_are_dropped_and_their_time_goes_to_the_others():
    """Of devices of 2 and 4 ms the latter is dropped; the winner is sure, and measured longer."""
    fast, slow = entries = _race([0.002, 0.004], 6.0)
    assert (fast.state, slow.state) == ("measured", "dropped")
    assert slow.reason == "loses for certain to 2 ms"
    assert fast.measured_s > slow.measured_s
    assert sum(entry.measured_s for entry in entries) <= 12.5
    winner = find_winners([entry.standing() for entry in entries])[KEY]
    assert (winner.name, winner.runner_up) == ("2 ms", "4 ms")
    assert winner.paired
    assert winner.more_than_noise


@pytest.mark.slow
def test_a_trial_each_round_and_the_budget_is_kept():
    """A configuration alone has a turn in each round, and its trials take the budget at most."""
    (entry,) = _race([0.005], 10.0)
    assert entry.state == "measured"
    assert len(set(entry.rounds)) >= 5
    assert entry.measured_s <= 10.5
    assert set(entry.rates()[KEY]) <= set(entry.rounds)


def test_rounds_are_shuffled_each_in_its_own_way():
    """The order of a round follows from the seed and its number, and has everybody once."""
    items = list("abcdefgh")
    orders = [shuffled(items, 5, number) for number in range(1, 5)]
    assert all(sorted(order) == items for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert shuffled(items, 5, 1) == orders[0]


def test_a_new_round_begins_after_what_was_measured():
    """An interrupted round is not filled up: its trials had another minute of the machine."""
    assert next_round([]) == 1
    assert next_round([[1, 1, 2], [1], []]) == 3

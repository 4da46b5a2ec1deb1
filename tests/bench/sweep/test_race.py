"""Races: who is out, who is still in it, and how often chance throws out the best."""

import math

import numpy as np
import pytest

from mlbench.bench.sweep.race import contest

NOBODY: frozenset[str] = frozenset()


def _rates(capacities, rounds, scatter, seed=0, walk=0.0):
    rng = np.random.default_rng(seed)
    common = walk * rng.standard_normal(rounds)
    return {
        name: {
            number + 1: math.log(qps) + common[number] + scatter * rng.standard_normal()
            for number in range(rounds)
        }
        for name, qps in capacities.items()
    }


def test_what_is_much_slower_is_out_after_few_rounds():
    """Half the rate is out against the leader, whatever the machine did to all in a round."""
    rates = _rates({"fast": 100, "near": 99, "slow": 50}, 4, 0.01, walk=0.3)
    found = contest(rates, 3, 0.02, NOBODY)
    assert found.out == {"slow": found.leader}
    assert found.leader in ("fast", "near")
    assert not found.is_over


def test_two_rounds_tell_nothing():
    """Nobody is out before there are three common rounds."""
    assert contest(_rates({"fast": 100, "slow": 50}, 2, 0.001), 2, 0.02, NOBODY).out == {}


def test_a_race_is_over_when_those_left_are_as_good_as_equal():
    """With the lead surely below the precision nobody need go on; nor when nobody else is left."""
    equal = _rates({"a": 100, "b": 100}, 12, 0.005)
    assert contest(equal, 2, 0.02, NOBODY).is_over
    assert not contest(equal, 2, 0.0001, NOBODY).is_over
    assert contest({"a": equal["a"]}, 2, 0.02, NOBODY).is_over


def test_who_has_no_rate_is_waited_for_unless_there_is_no_hope():
    """A limit that no rate of a configuration meets is lost to any that meets it."""
    rates = {**_rates({"a": 100}, 5, 0.01), "b": {}}
    assert not contest(rates, 2, 0.02, NOBODY).is_over
    found = contest(rates, 2, 0.02, frozenset({"b"}))
    assert (found.out, found.is_over) == ({"b": "a"}, True)
    nothing = contest({"b": {}}, 2, 0.02, frozenset({"b"}))
    assert (nothing.leader, nothing.out, nothing.is_over) == (None, {}, True)


def test_who_entered_late_is_compared_in_common_rounds():
    """A quick machine in the first rounds does not make those ahead that were measured then."""
    rates = _rates({"early": 100, "late": 110}, 8, 0.01)
    early = {number: rate + (0.5 if number < 4 else 0) for number, rate in rates["early"].items()}
    late = {number: rate for number, rate in rates["late"].items() if number >= 4}
    assert contest({"early": early, "late": late}, 2, 0.001, NOBODY).leader == "late"


@pytest.mark.parametrize("rounds", [4, 12])
def test_the_best_is_hardly_ever_out(rounds):
    """Looked at after each round among 24, the best by 1 % is out in at most 2 of 60 races."""
    capacities = {f"c{number}": 100.0 - number % 8 for number in range(1, 24)} | {"best": 101.0}
    wrong = 0
    for seed in range(60):
        rates = _rates(capacities, rounds, 0.03, seed)
        left = dict(rates)
        for last in range(3, rounds + 1):
            now = {n: {r: v for r, v in own.items() if r <= last} for n, own in left.items()}
            for name in contest(now, 24, 0.0, NOBODY).out:
                del left[name]
        wrong += "best" not in left
    assert wrong <= 2

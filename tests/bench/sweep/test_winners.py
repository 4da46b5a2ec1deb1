"""Who wins an answer, and whether that is more than noise."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from mlbench.bench.sweep.entry import Entry
from mlbench.bench.sweep.plan import make_plan
from mlbench.bench.sweep.winners import find_winners
from mlbench.outcomes import Answer

KEY = ("exponential", 0.05)


def _standing(size, qps, by_round, lost=()):
    content = {"base": {"backend": "simulated"}, "include": [{"batch_size": size}]}
    (configuration,) = make_plan(content, Path("/folder"), {}).configurations
    interval = (0.98 * qps, 1.02 * qps)
    answer = Answer(*KEY, qps, None, qps, interval, 1, 1.0, 100)
    rates = {KEY: {number + 1: math.log(rate) for number, rate in enumerate(by_round)}}
    standing = Entry(configuration).standing()
    return replace(standing, answers=[answer], rates=rates, lost=lost)


def test_what_lost_a_race_does_not_win_by_a_quick_minute():
    """The winner is among those that have not lost, although another was measured as quicker."""
    still = _standing(1, 100.0, [120, 101, 99, 100])
    lost = _standing(2, 110.0, [110, 92, 91], lost=[KEY])
    winner = find_winners([still, lost])[KEY]
    assert (winner.name, winner.runner_up, winner.paired) == ("batch_size=1", "batch_size=2", True)
    assert winner.ratio is not None
    assert winner.ratio.ratio == pytest.approx(1.09, abs=0.01)


def test_without_common_rounds_intervals_decide():
    """Configurations of other rounds are compared by their own intervals, and that is told."""
    one, other = _standing(1, 100.0, []), _standing(2, 101.0, [])
    winner = find_winners([one, other])[KEY]
    assert (winner.name, winner.paired, winner.more_than_noise) == ("batch_size=2", False, False)
    assert find_winners([one])[KEY].runner_up is None


def test_common_rounds_decide_and_not_the_minutes_of_others():
    """Who is ahead in the rounds of both wins, although a quick minute raised the other's rate."""
    ahead = _standing(1, 100.0, [100, 101, 99, 100])
    behind = _standing(2, 104.0, [95, 96, 94, 95, 120, 121])
    winner = find_winners([ahead, behind])[KEY]
    assert (winner.name, winner.paired) == ("batch_size=1", True)
    assert winner.ratio is not None
    assert winner.ratio.ratio == pytest.approx(1.053, abs=0.001)

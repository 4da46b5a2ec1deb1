"""The ratio of two things measured in the same rounds."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from mlbench.stats.paired import Ratio, paired_ratio


def _rounds(values: NDArray[np.float64]) -> dict[int, float]:
    return dict(enumerate(values.tolist()))


def test_the_interval_is_students() -> None:
    """Differences of 1, 2 and 3 % have the interval 2 % +- 4.3027 standard errors of t(2)."""
    found = paired_ratio({1: 0.0, 2: 1.0, 3: 5.0}, {1: 0.01, 2: 1.02, 3: 5.03})
    half = 4.302653 * 0.01 / math.sqrt(3)
    assert found.rounds == 3
    assert [found.ratio, found.low, found.high] == pytest.approx(
        np.exp([0.02, 0.02 - half, 0.02 + half]).tolist()
    )


def test_what_a_machine_does_to_both_sides_cancels() -> None:
    """A drift of a factor of two over the rounds leaves the interval as narrow as without it."""
    rng = np.random.default_rng(1)
    drift, noise = np.linspace(0, math.log(2), 20), rng.normal(0, 0.01, (2, 20))
    steady = paired_ratio(_rounds(noise[0]), _rounds(noise[1]))
    drifting = paired_ratio(_rounds(drift + noise[0]), _rounds(drift + noise[1]))
    assert [drifting.low, drifting.high] == pytest.approx([steady.low, steady.high])


@pytest.mark.parametrize("rounds", [2, 3, 12])
def test_the_interval_holds_the_ratio_as_often_as_it_says(rounds: int) -> None:
    """Of 1,000 pairs with independent noise 93 to 97 % hold the truth, even from two rounds."""
    rng, held = np.random.default_rng(rounds), 0
    for _ in range(1000):
        a, b = rng.normal(0, 0.02, (2, rounds))
        found = paired_ratio(_rounds(a), _rounds(b + 0.1))
        held += found.low <= math.exp(0.1) <= found.high
    assert 930 <= held <= 970


def test_rounds_that_are_alike_count_less() -> None:
    """Differences with a correlation of 0.8 from round to round hold the truth in 80 % or more."""
    rng, held, plain = np.random.default_rng(5), 0, 0
    for _ in range(300):
        noise = rng.normal(0, 0.6, 60)
        for place in range(1, 60):
            noise[place] += 0.8 * noise[place - 1]
        found = paired_ratio(_rounds(np.zeros(60)), _rounds(0.01 * noise))
        held += found.low <= 1 <= found.high
        half = 2.0 * 0.01 * noise.std(ddof=1) / math.sqrt(60)
        plain += abs(0.01 * noise.mean()) <= half
    assert held >= 240
    assert plain <= 180  # where they counted as independent


def test_one_common_round_bounds_nothing() -> None:
    """A single common round gives its ratio, with an interval from 0 to infinity."""
    assert paired_ratio({1: 0.0, 2: 0.3}, {2: 0.3, 4: 1.0}) == Ratio(1.0, 0.0, math.inf, 1)


def test_without_a_common_round_there_is_no_ratio() -> None:
    """Rounds that one side alone has are no comparison."""
    with pytest.raises(ValueError, match="no common round"):
        paired_ratio({1: 0.0}, {2: 0.0})


def test_two_rounds_that_differ_much_bound_nothing() -> None:
    """An interval beyond what a float holds ends at 0 and infinity."""
    found = paired_ratio({1: 0.0, 2: 0.0}, {1: 0.0, 2: 700.0})
    assert (found.low, found.high) == (0.0, math.inf)

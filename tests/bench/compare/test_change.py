"""How one answer of B stands to that of A."""

import math

import numpy as np
import pytest

from mlbench.bench.compare.change import Change, Verdict, compare_rates, verdict_of
from mlbench.bench.rates import Rate, ratio_of
from mlbench.stats.paired import Ratio

KEY = ("exponential", 0.05)
UNMET = Rate(0.0, 0.0, 0.0)


def _compared(a: Rate, b: Rate, *, same_sweep: bool = False) -> Change:
    return compare_rates(KEY, a, b, 0.03, same_sweep=same_sweep)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.90, 0.96, "slower"),
        (0.90, 0.9999, "slower"),
        (1.01, 1.20, "faster"),
        (0.98, 1.02, "no difference"),
        (0.975, 0.985, "no difference"),
        (0.97, 1.03, "no difference"),
        (0.96, 1.01, "undecided"),
        (0.0, math.inf, "undecided"),
    ],
)
def test_the_whole_interval_decides(low: float, high: float, verdict: str) -> None:
    """Within the margin there is no difference; otherwise the side of 1 that it lies on counts."""
    assert verdict_of(Ratio(1.0, low, high, 5), 0.03) == verdict


def test_independent_errors_add_as_squares() -> None:
    """Capacities of 100 +- 3 % and 110 +- 4 % have a ratio of 1.1 +- 5 %, in logarithms."""
    a = Rate(100.0, 100 * math.exp(-0.03), 100 * math.exp(0.03))
    b = Rate(110.0, 110 * math.exp(-0.04), 110 * math.exp(0.04))
    found = ratio_of(a, b)
    assert [found.ratio, found.low, found.high] == pytest.approx(
        [1.1, 1.1 * math.exp(-0.05), 1.1 * math.exp(0.05)]
    )
    assert found.rounds == 0


def test_an_open_end_stays_open() -> None:
    """A capacity that may be 0, or has no upper end, bounds the ratio on one side only."""
    sharp = Rate(100.0, 99.0, 101.0)
    assert ratio_of(sharp, Rate(90.0, 0.0, 95.0)).low == 0
    assert ratio_of(sharp, Rate(90.0, 0.0, 95.0)).high < 1
    assert ratio_of(Rate(90.0, 0.0, 95.0), sharp).high == math.inf
    assert ratio_of(sharp, Rate(90.0, 80.0, math.inf)).high == math.inf


def test_common_rounds_of_a_sweep_are_compared_in_pairs() -> None:
    """What both sides share in a round cancels, where the intervals alone tell nothing."""
    minute = np.random.default_rng(1).normal(0, 0.2, 8)
    rounds = [
        {n: 4.6 + float(x) + move for n, x in enumerate(minute, start=1)} for move in (0.0, -0.05)
    ]
    a, b = (Rate(100.0, 60.0, 160.0, one) for one in rounds)
    assert _compared(a, b).verdict == "undecided"
    found = _compared(a, b, same_sweep=True)
    assert (found.verdict, found.ratio.rounds, found.is_paired) == ("slower", 8, True)
    assert found.ratio.ratio == pytest.approx(math.exp(-0.05))


def test_two_common_rounds_are_too_few() -> None:
    """With fewer than three rounds the sides are compared as if measured apart, and it is told."""
    rate = Rate(100.0, 99.0, 101.0, {1: 4.6, 2: 4.6})
    found = _compared(rate, rate, same_sweep=True)
    assert not found.is_paired
    assert [one.code for one in found.findings] == ["few_common_rounds"]


def test_a_limit_that_one_side_never_meets_decides() -> None:
    """0 qps for certain is slower than any rate; where it is uncertain, nothing is said."""
    some = Rate(100.0, 99.0, 101.0)
    assert _compared(some, UNMET).verdict == "slower"
    assert _compared(UNMET, some).verdict == "faster"
    assert _compared(UNMET, UNMET).verdict == "no difference"
    assert _compared(some, Rate(0.0, 0.0, 90.0)).verdict == "undecided"
    assert _compared(Rate(100.0, 0.0, 110.0), UNMET).verdict == "undecided"


def test_nothing_is_said_without_a_capacity() -> None:
    """An answer without a valid trial is undecided, and says why."""
    found = _compared(Rate(None), Rate(100.0, 99.0, 101.0))
    assert (found.verdict, found.findings[0].code) == ("undecided", "no_capacity")


@pytest.mark.parametrize(
    ("low", "high", "is_slower"),
    [(0.90, 0.96, True), (0.90, 0.98, None), (0.97, 1.02, False), (1.0, 1.1, False)],
)
def test_slower_by_more_than_a_share(low: float, high: float, is_slower: bool | None) -> None:
    """It is slower by more than 3 % for certain, or not for certain, or it cannot be told."""
    rate = Rate(100.0, 99.0, 101.0)
    change = Change(KEY, rate, rate, Ratio(0.95, low, high, 5), "undecided")
    assert change.slower_than(0.03) is is_slower


def test_a_stricter_interval_of_independent_errors_is_wider() -> None:
    """At a confidence of 99 % the interval from two others is 2.576 / 1.96 times as wide."""
    a = b = Rate(100.0, 100 * math.exp(-0.03), 100 * math.exp(0.03))
    usual, strict = ratio_of(a, b), ratio_of(a, b, 0.99)
    assert math.log(strict.high) == pytest.approx(1.3143 * math.log(usual.high), rel=1e-4)


@pytest.mark.parametrize(
    ("ratio", "verdict", "decided"),
    [
        (1.018, "faster", False),
        (0.982, "slower", False),
        (1.05, "faster", True),
        (0.95, "slower", True),
        (1.01, "no difference", True),
        (1.05, "undecided", False),
    ],
)
def test_a_difference_below_the_margin_is_measured_further(
    ratio: float, verdict: Verdict, decided: bool
) -> None:
    """It may turn out not to matter, which a larger one and none at all cannot."""
    rate = Rate(100.0)
    change = Change(KEY, rate, rate, Ratio(ratio, 0.0, 2.0, 40), verdict)
    assert change.is_decided(0.03) is decided

"""Estimates of several limits are put in order."""

import pytest

from mlbench.estimation.estimate import Estimate
from mlbench.outcomes import Answer
from mlbench.search.order import in_order, rising


def _estimate(qps: float, half_width: float) -> Estimate:
    return Estimate(qps, qps * (1 - half_width), qps * (1 + half_width), half_width / 1.96, 0.001)


def _rates(estimates: list[Estimate | None]) -> list[float | None]:
    return [None if e is None else e.qps for e in estimates]


def test_rates_in_order_are_left_alone() -> None:
    """Estimates and intervals that rise with the limit are returned as they are."""
    estimates = [_estimate(100, 0.1), _estimate(200, 0.1), _estimate(300, 0.1)]
    assert in_order(estimates) == estimates


def test_intervals_are_cut_to_what_both_limits_allow() -> None:
    """A narrower limit's rate is no higher than a wider one's can be, and the other way round."""
    narrow, wide = in_order([_estimate(200, 0.3), _estimate(210, 0.1)])
    assert narrow is not None
    assert wide is not None
    assert (narrow.qps, wide.qps) == (200, 210)
    assert narrow.high == wide.high == _estimate(210, 0.1).high
    assert narrow.low < wide.low


def test_the_less_certain_of_two_follows_the_other() -> None:
    """Where a wider limit has the lower rate, the estimate with the wider interval gives way."""
    near_300 = pytest.approx([300, 300], rel=1e-3)
    assert _rates(in_order([_estimate(300, 0.01), _estimate(200, 0.5)])) == near_300
    near_200 = pytest.approx([200, 200], rel=1e-3)
    assert _rates(in_order([_estimate(300, 0.5), _estimate(200, 0.01)])) == near_200


def test_two_that_are_equally_certain_meet_half_way() -> None:
    """Both get the mean of their rates by inverse variance, and tell what their own was."""
    narrow, wide = in_order([_estimate(242, 0.1), _estimate(200, 0.1)])
    assert narrow is not None
    assert wide is not None
    assert (narrow.qps, wide.qps) == pytest.approx((217, 217), rel=1e-3)
    assert [narrow.findings[-1].figures, wide.findings[-1].figures] == [
        {"own_qps": 242},
        {"own_qps": 200},
    ]


def test_a_moved_interval_still_holds_its_rate() -> None:
    """The ends of an interval move with its rate."""
    for one in in_order([_estimate(300, 0.3), _estimate(200, 0.01), _estimate(210, 0.2)]):
        assert one is not None
        assert one.qps is not None
        assert one.low <= one.qps <= one.high


def test_order_holds_over_several_limits() -> None:
    """After ordering no estimate lies below that of a narrower limit."""
    rates = _rates(
        in_order(
            [_estimate(300, 0.2), _estimate(200, 0.1), _estimate(250, 0.3), _estimate(90, 0.9)]
        )
    )
    assert rates == sorted(rates, key=float)  # type: ignore[arg-type]  # none is None here


def test_unmet_and_unknown_estimates_are_left_alone() -> None:
    """A limit that nothing meets and one without an estimate neither give nor take a rate."""
    estimates = [None, Estimate(None, 0.0, 0.0, 0.0, 0.02), _estimate(100, 0.1)]
    assert in_order(estimates) == estimates


def test_a_wider_limit_is_given_at_least_the_rate_of_a_narrower_one() -> None:
    """What met the narrower limit met the wider one: 50, 74, 74 and 90 of 50, 74, 71 and 90 qps."""
    answers = [
        Answer("linear", 0.01 * i, qps, None, None, None, 1, 1.0, 100)
        for i, qps in enumerate((50.0, 74.0, 71.0, 90.0), start=1)
    ]
    assert [answer.qps for answer in rising(answers)] == [50.0, 74.0, 74.0, 90.0]

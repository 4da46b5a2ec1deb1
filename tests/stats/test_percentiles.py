import numpy as np
import pytest

from mlbench.stats.percentiles import percentile, percentiles, rank


@pytest.mark.parametrize(
    ("count", "p", "expected"),
    [
        (1000, 99.9, 999),
        (1000, "99.9", 999),
        (10, 90, 9),
        (100, 99, 99),
        (101, 99, 100),
        (1, 50, 1),
    ],
)
def test_rank_is_exact(count: int, p: float | str, expected: int) -> None:
    """The rank is ceil(p/100 n) in exact arithmetic, where binary floats would be one too high."""
    assert rank(count, p) == expected


def test_percentile_is_a_measured_value() -> None:
    """A percentile is the nearest-rank value of the sorted sample, whatever its order."""
    values = np.random.default_rng(1).permutation(1000) + 1.0
    ordered = np.sort(values)
    for p in (0.1, 50, 99, 99.9, 100):
        assert percentile(values, p) == ordered[rank(1000, p) - 1]


def test_empty_sample_has_no_percentile() -> None:
    """A percentile of nothing is an error for one, and None for all."""
    with pytest.raises(ValueError, match="no values"):
        percentile(np.empty(0), 99)
    assert set(percentiles(np.empty(0)).values()) == {None}


@pytest.mark.parametrize(("count", "told"), [(99, False), (100, True)])
def test_percentile_needs_enough_values(count: int, told: bool) -> None:
    """The 99th percentile is known from 100 values on, and None before."""
    assert (percentiles(np.arange(count))["99"] is not None) is told


def test_percentiles_leave_values_alone() -> None:
    """Taking percentiles does not reorder the caller's column."""
    values = np.arange(1000, dtype=np.int64)[::-1].copy()
    assert percentiles(values) == {
        "50": 499, "80": 799, "90": 899, "95": 949, "99": 989, "99.9": 998,
    }  # fmt: skip
    assert values[0] == 999

import numpy as np
import pytest

from mlbench.arrivals.gamma import Gamma
from mlbench.arrivals.registry import arrival_kind
from mlbench.arrivals.trace import Trace

LONG = Trace(np.random.default_rng(1).exponential(1.0, 1_000))
KINDS = [arrival_kind("linear"), arrival_kind("exponential"), Gamma(0.5), Gamma(), LONG]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_streams_are_sorted_rows_at_the_rate_1(kind):
    """The queue model gets float64 (rows, n), each row ascending, one arrival a unit of time."""
    times = kind.streams(2, 200, 2_000)
    assert (times.shape, times.dtype) == ((200, 2_000), np.float64)
    assert (np.diff(times) >= 0).all()
    rate = 2_000 / (times[:, -1] - times[:, 0]).mean()
    assert rate == pytest.approx(1.0 / LONG.own_gaps.mean() if kind is LONG else 1.0, rel=0.02)


@pytest.mark.parametrize("kind", KINDS[1:], ids=lambda kind: kind.name)
def test_rows_of_random_kinds_differ(kind):
    """Each stream is drawn for itself, by the seed alone."""
    one, again = (kind.streams(3, 4, 50) for _ in range(2))
    assert np.array_equal(one, again)
    assert len({row.tobytes() for row in np.diff(one)}) == 4


def test_linear_streams_are_equally_spaced():
    """Equally spaced arrivals are the same whatever the seed."""
    assert np.array_equal(KINDS[0].streams(1, 2, 3), [[0, 1, 2]] * 2)

"""By how much a capacity moves with other service times."""

import numpy as np
import pytest

from mlbench.arrivals.exponential import Exponential
from mlbench.outcomes import LatencyLimit
from mlbench.queueing.capacity import Capacity, Effort, moved_by, predict_capacity
from mlbench.queueing.line import Floats, Queue
from mlbench.queueing.service import ServiceTimes

LIMIT = LatencyLimit(99.0, 0.010)
QUEUE, KIND = Queue(), Exponential()


def _capacity(service: ServiceTimes) -> Capacity:
    found = predict_capacity(QUEUE, service, KIND, LIMIT, seed=1, effort=Effort(16, 4))
    assert found is not None
    return found


def _moved(
    service: ServiceTimes, *others: ServiceTimes, capacity: Capacity | None = None
) -> Floats:
    known = capacity or _capacity(service)
    return moved_by(QUEUE, service, others, KIND, LIMIT, known, seed=1, replicas=8)


def _lognormal(cv: float) -> ServiceTimes:
    sigma2 = np.log1p(cv**2)
    normal = np.random.default_rng(1).standard_normal(4000)
    return ServiceTimes.sampled(0.002 * np.exp(np.sqrt(sigma2) * normal - sigma2 / 2))


def test_the_same_service_times_move_nothing() -> None:
    """On the same random numbers there is no difference at all."""
    service = _lognormal(0.3)
    assert _moved(service, service, service).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("factor", [0.98, 1.02])
def test_slower_service_times_move_it_as_their_own_capacity_says(factor: float) -> None:
    """2 % more or less move the capacity to that of the slower device, to a tenth of the change."""
    service = _lognormal(0.3)
    other = service.slower(factor)
    expected = float(np.log(_capacity(other).qps / _capacity(service).qps))
    assert _moved(service, other)[0] == pytest.approx(expected, rel=0.15)


def test_another_shape_moves_it_too() -> None:
    """A wider distribution of the same mean serves less."""
    assert _moved(_lognormal(0.3), _lognormal(0.35))[0] < -0.005


def test_where_nothing_is_late_the_mean_decides() -> None:
    """At a capacity that is the saturated rate, it moves as that does."""
    service = ServiceTimes.constant(0.002)
    saturated = Capacity(500.0, 0.0, 1.0, 0.0, 0.0, 1)
    moved = _moved(service, service.slower(1.1), capacity=saturated)
    assert moved.tolist() == pytest.approx([-np.log(1.1)])


def test_a_rate_that_saturates_the_others_is_bounded() -> None:
    """Service times twice as long, which the rate saturates, give a finite, large fall."""
    service = _lognormal(0.3)
    assert -5 < _moved(service, service.slower(2.0))[0] < -0.2

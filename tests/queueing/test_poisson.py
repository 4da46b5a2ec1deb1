import math

import numpy as np
import pytest

from mlbench.queueing.line import MeanTimes, Queue, line_latencies
from mlbench.queueing.poisson import PoissonQueue


def test_constant_service_has_its_exact_late_fraction() -> None:
    """M/D/1, 2 ms, 10 ms: 1 % are late at 280.39 qps."""
    late = PoissonQueue(np.array([[0.002]]), 0.010).late_fraction(np.array([280.39]))
    assert late == pytest.approx(0.01, rel=2e-4)


@pytest.mark.parametrize("max_latency_s", [0.020, 0.050, 0.200])
def test_memoryless_service_has_its_exact_late_fraction(max_latency_s: float) -> None:
    """M/M/1 is later than a limit with the chance exp(-(mu - lambda) limit)."""
    quantiles = -np.log1p(-(np.arange(50_000) + 0.5) / 50_000) * 0.002
    qps = np.array([100.0, 500 - math.log(100) / max_latency_s])
    late = PoissonQueue(quantiles[None, :], max_latency_s).late_fraction(qps)
    assert late == pytest.approx(np.exp(-(500 - qps) * max_latency_s), rel=4e-3, abs=1e-5)


def test_idle_slowdown_agrees_with_a_simulation() -> None:
    """A server that is slower after idling is late as often as it is in a long simulation."""
    rng, qps = np.random.default_rng(1), 265.0
    seconds = 0.002 * rng.lognormal(0.0, 0.3, 4000)
    late = PoissonQueue(seconds[None, :], 0.010, 1.3).late_fraction(np.array([qps]))
    arrive_s = rng.standard_exponential((256, 4096)).cumsum(axis=1) / qps
    mean_times = MeanTimes(np.array([0.0, 1.0]), 1.3)
    waits = line_latencies(Queue(), mean_times, arrive_s, rng.choice(seconds, arrive_s.shape))
    assert late == pytest.approx((waits[:, 512:] > 0.010).mean(), rel=0.05)


def test_each_resample_has_its_own_rate() -> None:
    """Rows of service times go with their rates, as if each were alone."""
    seconds = np.array([[0.001, 0.002], [0.002, 0.004]])
    qps = np.array([400.0, 200.0])
    together = PoissonQueue(seconds, 0.010).late_fraction(qps)
    alone = [PoissonQueue(seconds[[i]], 0.010).late_fraction(qps[[i]])[0] for i in (0, 1)]
    assert together == pytest.approx(alone)

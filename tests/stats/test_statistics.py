import math

import numpy as np
import pytest
from scipy.stats import anderson, beta, t

from mlbench.outcomes import PERCENTILES
from mlbench.pool.virtual import SimulatedService, VirtualPool
from mlbench.stats.percentiles import percentile
from mlbench.stats.statistics import (
    anderson_darling,
    beta_cdf,
    correlation_time,
    effective_size,
    exceedance_interval,
    pool_estimates,
    student_quantile,
    summarise,
)
from mlbench.trial.schedule import make_schedule


@pytest.mark.parametrize(
    ("x", "a", "b"), [(0.01, 3, 100), (0.5, 2, 3), (0.9, 50, 4), (0.02, 183.5, 9818)]
)
def test_beta_cdf_agrees_with_scipy(x: float, a: float, b: float) -> None:
    """The incomplete beta function agrees with an independent implementation."""
    assert beta_cdf(x, a, b) == pytest.approx(beta.cdf(x, a, b), rel=1e-9)


@pytest.mark.parametrize("free", [1, 2, 7, 100])
def test_student_quantile_agrees_with_scipy(free: int) -> None:
    """Student's quantile, which holds 95 % of both sides, agrees with another implementation."""
    assert student_quantile(free) == pytest.approx(t.ppf(0.975, free), rel=1e-9)


@pytest.mark.parametrize("n", [30, 5000])
def test_anderson_darling_agrees_with_scipy(n: int) -> None:
    """The statistic is that of an independent implementation, but for the correction for n."""
    series = np.random.default_rng(n).gumbel(3.0, 2.0, n)
    expected = anderson(series, "norm", method="interpolate").statistic
    assert anderson_darling(series) == pytest.approx(expected * (1 + 0.75 / n + 2.25 / n**2))


def test_anderson_darling_exceeds_its_point_as_often_as_it_says() -> None:
    """One normal sample in ten exceeds 0.631."""
    rng = np.random.default_rng(6)
    over = np.mean([anderson_darling(rng.normal(5, 3, 200)) > 0.631 for _ in range(1000)])
    assert 0.07 < over < 0.13


def test_pieces_of_one_process_are_taken_together() -> None:
    """Several series give their common correlation time, whatever their means."""
    rng = np.random.default_rng(7)
    pieces = []
    for mean in (1.0, 5.0, 20.0):
        series = rng.standard_normal(4000)
        for i in range(1, len(series)):
            series[i] += 0.8 * series[i - 1]
        pieces.append(series + mean)
    assert correlation_time(*pieces) == pytest.approx(9.0, rel=0.3)  # (1 + 0.8) / (1 - 0.8)


def test_exceedance_interval_is_clopper_pearson() -> None:
    """The exact interval of 183 late in 10,000 has the bounds of the beta distribution."""
    low, high = exceedance_interval(183, 10_000)
    assert low == pytest.approx(beta.ppf(0.025, 183, 9818), rel=1e-9)
    assert high == pytest.approx(beta.ppf(0.975, 184, 9817), rel=1e-9)


def test_exceedance_interval_of_none_and_all_reaches_the_end() -> None:
    """With nothing late the interval starts at 0, with everything late it ends at 1."""
    assert exceedance_interval(0, 100)[0] == 0.0
    assert exceedance_interval(100, 100)[1] == 1.0


def test_independent_samples_count_in_full() -> None:
    """White noise has a correlation time of 1, or little more by chance."""
    assert correlation_time(np.random.default_rng(1).standard_normal(5000)) < 1.2


def test_autoregression_has_its_known_correlation_time() -> None:
    """A first-order autoregression of 0.9 has a correlation time of (1 + 0.9) / (1 - 0.9)."""
    rng, x = np.random.default_rng(2), np.zeros(100_000)
    noise = rng.standard_normal(len(x))
    for i in range(1, len(x)):
        x[i] = 0.9 * x[i - 1] + noise[i]
    assert correlation_time(x) == pytest.approx(19, rel=0.25)
    assert effective_size(x) == pytest.approx(len(x) / 19, rel=0.3)


def test_constant_series_counts_in_full() -> None:
    """A series that never changes, up to rounding, has no correlation to speak of."""
    assert correlation_time(np.full(1000, 0.002)) == 1.0


def test_pooling_finds_scatter_beyond_noise() -> None:
    """Estimates that differ by more than their errors get a scatter and a wider mean."""
    alike = pool_estimates(np.array([1.0, 1.01, 0.99]), np.full(3, 0.05))
    apart = pool_estimates(np.array([1.0, 1.5, 0.5]), np.full(3, 0.05))
    assert alike.scatter == 0.0
    assert apart.scatter == pytest.approx(0.5, rel=0.05)
    assert apart.error > 5 * alike.error


def test_summary_counts_from_the_scheduled_time() -> None:
    """A constant device at half its rate has all percentiles at its service time."""
    pool = VirtualPool(SimulatedService(0.002))
    summary = summarise(pool.run(make_schedule("linear", 250, 1000, 1)))
    assert summary.count == 1000
    assert summary.percentiles["99"] == pytest.approx(0.002)
    assert summary.qps == pytest.approx(250, rel=0.005)
    assert math.isclose(summary.mean_s or 0, 0.002, rel_tol=1e-6)


def test_summary_of_few_queries_has_no_high_percentile() -> None:
    """A percentile that too few queries can't tell is None."""
    pool = VirtualPool(SimulatedService(0.002))
    summary = summarise(pool.run(make_schedule("linear", 250, 50, 1)))
    assert summary.percentiles["99"] is None
    assert summary.percentiles["90"] is not None


def test_the_bounded_percentile_is_in_the_summary() -> None:
    """Whatever percentile is bounded, the summary tells it beside the usual ones."""
    pool = VirtualPool(SimulatedService(0.002))
    completions = pool.run(make_schedule("exponential", 250, 1000, 1))
    assert summarise(completions, 97.5).percentiles["97.5"] == percentile(
        completions.latency_s, 97.5
    )
    assert list(summarise(completions).percentiles) == list(PERCENTILES)

import numpy as np
import pytest
from scipy.stats import anderson, beta, t

from mlbench.stats.correlation import correlation_time, effective_size
from mlbench.stats.intervals import binomial_interval, student_quantile
from mlbench.stats.normality import anderson_darling
from mlbench.stats.pooling import pool_estimates


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


def test_binomial_interval_is_clopper_pearson() -> None:
    """The exact interval of 183 late in 10,000 has the ends of the beta distribution."""
    low, high = binomial_interval(183, 10_000)
    assert low == pytest.approx(beta.ppf(0.025, 183, 9818), rel=1e-9)
    assert high == pytest.approx(beta.ppf(0.975, 184, 9817), rel=1e-9)


def test_binomial_interval_of_none_and_all_reaches_the_end() -> None:
    """With nothing late the interval starts at 0, with everything late it ends at 1."""
    assert binomial_interval(0, 100)[0] == 0.0
    assert binomial_interval(100, 100)[1] == 1.0


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


def test_pooling_finds_variance_beyond_noise() -> None:
    """Estimates that differ by more than their errors have a variance and a less certain mean."""
    alike = pool_estimates(np.array([1.0, 1.01, 0.99]), np.full(3, 0.05))
    apart = pool_estimates(np.array([1.0, 1.5, 0.5]), np.full(3, 0.05))
    assert alike.between_sd == 0.0
    assert apart.between_sd == pytest.approx(0.5, rel=0.05)
    assert apart.error > 5 * alike.error

import numpy as np
import pytest
from scipy.stats import beta

from mlbench.stats.correlation import correlation_time, effective_size
from mlbench.stats.intervals import binomial_interval
from mlbench.stats.pooling import between_variance


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


def test_estimates_that_differ_by_more_than_their_errors_vary() -> None:
    """The variance behind estimates is 0 where the errors explain all, and their own elsewhere."""
    errors = np.full(3, 0.05)
    assert between_variance(np.array([1.0, 1.01, 0.99]), errors) == 0.0
    assert between_variance(np.array([1.0, 1.5, 0.5]), errors) == pytest.approx(0.25 - 0.05**2)


def test_the_variance_about_a_given_middle_counts_the_distance_to_it() -> None:
    """Estimates that agree with each other, but not with the middle, vary about that."""
    values, errors = np.array([0.3, 0.31, 0.29]), np.full(3, 0.05)
    assert between_variance(values, errors, 0.0) == pytest.approx(0.3**2, rel=0.05)
    assert between_variance(values, errors, 0.3) == 0.0


def test_the_variance_is_right_on_average() -> None:
    """Over many draws with errors that differ, the variance found is the true one, 0.04."""
    rng = np.random.default_rng(3)
    errors = np.array([0.05, 0.1, 0.2, 0.1, 0.05, 0.15])
    found = [
        between_variance(rng.normal(1.0, np.sqrt(0.04 + errors**2)), errors) for _ in range(2000)
    ]
    assert np.mean(found) == pytest.approx(0.04, rel=0.1)


def test_one_estimate_tells_no_variance() -> None:
    """Nothing is known of how true values differ where there is but one."""
    assert between_variance(np.array([2.0]), np.array([0.1])) == 0.0

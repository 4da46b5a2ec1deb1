import numpy as np
import pytest
from scipy import stats

from mlbench.arrivals.gamma import Gamma
from mlbench.trial.schedule import make_schedule


@pytest.mark.parametrize("cv", [0.3, 1.0, 2.0, 4.0])
def test_gaps_have_their_mean_and_coefficient_of_variation(cv):
    """The gaps of a schedule have the mean 1 / rate and the spread that was asked for."""
    gaps_s = np.diff(make_schedule(Gamma(cv), 250.0, 200_001, seed=1).due_ns) * 1e-9
    assert gaps_s.mean() == pytest.approx(1 / 250.0, rel=1e-6)
    assert gaps_s.std() / gaps_s.mean() == pytest.approx(cv, rel=0.03)


def test_gaps_are_of_the_gamma_distribution_and_independent():
    """The gaps pass a Kolmogorov-Smirnov test for their shape, 1 / cv^2, and do not correlate."""
    gaps = Gamma(2.0).gaps(np.random.default_rng(4), 1, 20_000)[0]
    assert stats.kstest(gaps, stats.gamma(0.25, scale=4.0).cdf).pvalue > 0.01
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 3 / np.sqrt(len(gaps))


def test_a_coefficient_of_variation_of_1_is_exponential():
    """With 1 the gaps pass the test for an exponential distribution."""
    gaps_s = np.diff(make_schedule(Gamma(1.0), 250.0, 5_000, seed=1).due_ns) * 1e-9
    assert stats.kstest(gaps_s, stats.expon(scale=1 / 250.0).cdf).pvalue > 0.01


@pytest.mark.parametrize("queries", [2, 5])
def test_gaps_too_small_to_stretch_still_give_the_rate(queries):
    """Where all gaps are 0 in floating point, the last query is due when the rate wants it."""
    for seed in range(20):
        schedule = make_schedule(Gamma(100.0), 10.0, queries, seed)
        assert schedule.offered_qps == pytest.approx(10.0, rel=1e-6)


@pytest.mark.parametrize("cv", [0.0, -1.0, float("nan"), float("inf")])
def test_a_spread_that_is_not_above_0_is_refused(cv):
    """There is no gamma distribution without a spread."""
    with pytest.raises(ValueError, match="above 0"):
        Gamma(cv)

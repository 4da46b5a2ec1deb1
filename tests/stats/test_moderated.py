"""Variances that lend to each other."""

import numpy as np
import pytest

from mlbench.stats.moderated import moderated


def _sample_variances(sigmas, dof, seed=1):
    rng = np.random.default_rng(seed)
    return [sigma**2 * rng.chisquare(dof) / dof for sigma in sigmas]


def test_variances_that_are_alike_lend_much():
    """Of 23 samples of three with one variance each is known with 14 degrees of freedom, or so."""
    own = _sample_variances([0.03] * 23, 2)
    found = moderated(own, [2] * 23)
    assert all(one.dof > 8 for one in found)
    errors = [abs(np.log(one.variance / 0.03**2)) for one in found]
    assert max(errors) < 0.8 < max(abs(np.log(np.array(own) / 0.03**2)))


def test_variances_that_are_unlike_lend_little():
    """Where standard deviations differ hundredfold, each sample is on its own, or nearly."""
    own = _sample_variances([0.001, 0.01, 0.1] * 8, 10)
    found = moderated(own, [10] * 24)
    assert all(one.dof < 12 for one in found)
    np.testing.assert_allclose([one.variance for one in found], own, rtol=0.6)


def test_few_variances_lend_nothing():
    """Of three it can't be told how alike they are; of none there is none."""
    found = moderated([0.1, 0.2, 0.3], [2, 2, 2])
    assert [(one.variance, one.dof) for one in found] == [(0.1, 2), (0.2, 2), (0.3, 2)]
    assert moderated([], []) == []


def test_samples_without_scatter_are_finite():
    """A variance of 0, of rounds that happened to be equal, is drawn up by the others."""
    found = moderated([0.0, 1e-4, 2e-4, 1e-4, 3e-4], [2] * 5)
    assert found[0].variance == pytest.approx(found[0].variance)
    assert 0 < found[0].variance < 1e-4

"""How the speed of a device changes with time, with the rate, and from trial to trial.

The level of the service times (ln of their mean, relative to one mean for all) is a Gaussian
process over all trials: a random walk in time, a smooth function of the rate, and a deviation of
each trial. How large each of the three is, is not known: all are averaged over, weighted by how
well they explain the levels that were measured (Rasmussen and Williams, Gaussian Processes for
Machine Learning (2006), chapters 2 and 5). So a drift, a step, a dependence on the load and a
machine that differs from trial to trial are neither tested for nor assumed.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_WALK = (0.0, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)  # standard deviation after a second
_RATE = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)  # of the function of the rate
_TRIAL = (0.0, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3)  # of a trial
"""Standard deviations of the level that are averaged over: from steady to a factor of three."""
_USUAL_WALK, _USUAL_RATE, _USUAL_TRIAL = 0.001, 0.02, 0.003
"""Medians of their half-Cauchy priors (Gelman, Bayesian Analysis 1 (2006), 515): what a quiet
machine does. The prior's tail lets data of a machine a hundred times less steady overrule it."""
_NONE = 5.0  # prior weight of a component that is not there, over that of its median
_REACH = 0.25  # ln(rate) over which the level may change by about its standard deviation
_PRIOR_SD = 1.0  # of the common level; it is measured to far better
_NEGLIGIBLE = 7.0  # log likelihoods below the best: a thousandth of its weight
_AHEAD_S = 5.0  # an answer is for the ten seconds after the last trial: half of that


@dataclass(frozen=True)
class Levels:
    """Measured levels of consecutive parts of trials, float64 (n,) each.

    `level`: ln of the mean ratio; `error`: its standard error; `at_s`: the part's mean time on the
    clock that all trials share; `log_qps`: ln of the trial's rate; `trial`: int64, its number.
    """

    level: Floats
    error: Floats
    at_s: Floats
    log_qps: Floats
    trial: NDArray[np.int64]


@dataclass(frozen=True)
class Forecast:
    """The level of the next trial: a mixture of normal distributions, float64 (k,) each."""

    means: Floats
    variances: Floats
    weights: Floats

    @property
    def mean(self) -> float:
        """The mean of the mixture."""
        return float(self.weights @ self.means)

    @property
    def variance(self) -> float:
        """The variance of the mixture."""
        return float(self.weights @ (self.variances + (self.means - self.mean) ** 2))

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        """Draw levels, float64 (n,)."""
        part = rng.choice(len(self.weights), n, p=self.weights / self.weights.sum())
        normal = rng.standard_normal(n)
        return np.asarray(self.means[part] + np.sqrt(self.variances[part]) * normal)


@dataclass(frozen=True)
class _Fit:
    """The process with given standard deviations, and the Cholesky factor of its covariance."""

    walk: float
    rate: float
    trial: float
    factor: Floats
    scaled: Floats  # factor^-1 level
    log_weight: float


class Speed:
    """The process behind measured levels."""

    def __init__(self, levels: Levels) -> None:
        self._levels = levels
        self._at_s = levels.at_s - levels.at_s.min()
        self._walk = np.minimum.outer(self._at_s, self._at_s)
        self._rate = _alike(np.subtract.outer(levels.log_qps, levels.log_qps))
        self._trial = np.equal.outer(levels.trial, levels.trial).astype(np.float64)
        fits = list(self._fits())
        best = max(fit.log_weight for fit in fits)
        self._likely = [fit for fit in fits if fit.log_weight > best - _NEGLIGIBLE]
        weights = np.exp([fit.log_weight - best for fit in self._likely])
        self._weights: Floats = weights / weights.sum()

    def _fits(self) -> Iterator[_Fit]:
        for walk, rate, trial in product(_WALK, _RATE, _TRIAL):
            covariance = self._covariance(walk, rate, trial) + np.diag(self._levels.error**2)
            factor = np.linalg.cholesky(covariance).astype(np.float64)
            scaled = np.linalg.solve(factor, self._levels.level).astype(np.float64)
            log_likelihood = -0.5 * scaled @ scaled - np.log(np.diag(factor)).sum()
            log_prior = (
                _log_prior(walk, _USUAL_WALK)
                + _log_prior(rate, _USUAL_RATE)
                + _log_prior(trial, _USUAL_TRIAL)
            )
            yield _Fit(walk, rate, trial, factor, scaled, float(log_likelihood) + log_prior)

    def _covariance(self, walk: float, rate: float, trial: float) -> Floats:
        parts = walk**2 * self._walk + rate**2 * self._rate + trial**2 * self._trial
        return np.asarray(parts + _PRIOR_SD**2)

    def forecast(self, qps: float) -> Forecast:
        """Return what the level of a trial at this rate will be, a few seconds after the last."""
        log_qps, at_s = math.log(qps), float(self._at_s.max()) + _AHEAD_S
        alike, means, variances = _alike(log_qps - self._levels.log_qps), [], []
        for fit in self._likely:
            covariance = fit.walk**2 * self._at_s + fit.rate**2 * alike + _PRIOR_SD**2
            scaled = np.linalg.solve(fit.factor, covariance)
            own = fit.walk**2 * at_s + fit.rate**2 + fit.trial**2 + _PRIOR_SD**2
            means.append(float(scaled @ fit.scaled))
            variances.append(max(own - float(scaled @ scaled), 0.0))
        return Forecast(np.array(means), np.array(variances), self._weights)

    def change_to(self, qps: float) -> Floats:
        """Return by how much the level at this rate is expected to exceed each part's own, (n,).

        That is what the level owes to the rate alone, and not to the moment or the trial.
        """
        alike = _alike(math.log(qps) - self._levels.log_qps)
        change = np.zeros(len(alike))
        for fit, weight in zip(self._likely, self._weights, strict=True):
            explained = np.linalg.solve(fit.factor.T, fit.scaled)
            change += weight * fit.rate**2 * (alike @ explained - self._rate @ explained)
        return change

    def smoothed(self) -> Floats:
        """Return the expected level of each part of a trial, float64 (n,)."""
        level = np.zeros(len(self._levels.level))
        for fit, weight in zip(self._likely, self._weights, strict=True):
            covariance = self._covariance(fit.walk, fit.rate, fit.trial)
            level += weight * (np.linalg.solve(fit.factor, covariance).T @ fit.scaled)
        return level


def _alike(difference: Floats) -> Floats:
    """Return the correlation of levels whose ln(rate) differs so much."""
    return np.asarray(np.exp(-0.5 * (difference / _REACH) ** 2))


def _log_prior(sd: float, usual: float) -> float:
    """Return ln of the half-Cauchy density over ln(sd), or of what stands for none at all."""
    ratio = sd / usual
    return math.log(ratio / (1 + ratio**2)) if sd else math.log(_NONE)

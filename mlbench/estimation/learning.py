"""The service times to expect of a device, learnt from the trials of a search."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mlbench.estimation.drift import find_drift
from mlbench.estimation.mean_times import (
    CORRELATED,
    Batches,
    error_of_mean,
    fit_line,
    measured_means,
)
from mlbench.queueing.line import Floats, Queue
from mlbench.queueing.service import NO_DRIFT, Drift, ServiceTimes
from mlbench.stats.correlation import correlation_time
from mlbench.stats.intervals import student_quantile
from mlbench.stats.normality import anderson_darling
from mlbench.stats.pooling import pool_estimates
from mlbench.trial.service_log import ServiceLog

NEAR = 0.2
"""Trials whose ln(rate) differs by less than this load the device alike."""

_FEWEST = 200  # batches of a trial that tell a correlation, and of a sample that is worth a test
_MOST = 100_000  # batches; their mean is known to 0.1 % at a coefficient of variation of 0.3
_LOGNORMAL = 0.631
"""Anderson and Darling's statistic that one normal sample in ten exceeds (D'Agostino and Stephens
1986, table 4.7): a tail is extrapolated only when nothing speaks against it."""
_CONSTANT = 0.01  # standard deviation of ln(ratio), below which the shape does not matter
_LEAST_RATIO = 1e-12  # keeps the logarithm of a service time of 0 finite
_BLOCK = 8
"""Correlation times in a block. About 1 / 8 of the correlation is lost, at the ends of blocks."""
_LEAST_BLOCKS = 20  # in the sample, so that simulated orders differ
_PROVEN, _EXPECTED = 3.0, 0.0
"""Standard deviations of chi squared that show a variance between trials: to find one, and when it
was found among all trials and is only measured again among those near the rate."""
_LEAST_DOF = 2
"""Degrees of freedom of a variance between trials; Student's t of 1, which two trials have, is 12.7
and would tell next to nothing."""
_NORMAL95 = 1.96  # two-sided 95 % quantile of the normal distribution
_ONE_TRIAL_SHARE = 0.5
"""Of the standard deviation between all trials, expected when one alone is near the rate. A part of
it comes from the load, and how much cannot be told from one trial."""


def learn(logs: Sequence[ServiceLog], queue: Queue, qps: float) -> ServiceTimes:
    """Return the service times to expect at the rate `qps`, from the batches of all trials.

    When the device drifted, they are those at the end of the measurement. When trials still differ
    by more than chance, service times depend on the load or on the moment: then only trials near
    the rate are used, or the nearest one.
    """
    logs = [log.first(_MOST // len(logs)) for log in logs]
    times = _combine(logs, queue)
    ratios = [times.ratio[times.trial == number] for number in range(times.trial[-1] + 1)]
    drift = find_drift(ratios, [log.begin_s + log.done_s for log in logs])
    if drift.per_s:
        logs = [_carried_forward(log, drift) for log in logs]
        times = _combine(logs, queue, drift)
    if times.between_sd == 0.0 or len(logs) == 1:
        return times
    return _near_rate(times, logs, queue, qps)


def service_ratios(logs: Sequence[ServiceLog], queue: Queue) -> list[Floats]:
    """Return each trial's service times over their means, float64 (m,).

    The mean is that of all trials for the batch's size and worker, after idling or not.
    """
    batches = Batches.of(logs)
    return batches.by_trial(batches.ratios(measured_means(batches, queue)[0]))


def _near_rate(
    times: ServiceTimes, logs: Sequence[ServiceLog], queue: Queue, qps: float
) -> ServiceTimes:
    """Return the service times of the trials near a rate; `times` are those of all trials."""
    distance = np.array([abs(np.log(log.qps / qps)) for log in logs])
    near = [log for log, d in zip(logs, distance, strict=True) if d < NEAR]
    if not near:
        near = [logs[int(distance.argmin())]]
    local = _combine(near, queue, times.drift, _EXPECTED)
    if len(near) == 1:
        return replace(
            local,
            between_sd=_ONE_TRIAL_SHARE * times.between_sd,
            next_trial_sd=_ONE_TRIAL_SHARE * times.next_trial_sd,
        )
    # All trials differ by the load too: near one rate they differ no more, and more trials tell it.
    at_most = max(local.between_sd, times.next_trial_sd)
    return replace(local, next_trial_sd=min(local.next_trial_sd, at_most))


def _carried_forward(log: ServiceLog, drift: Drift) -> ServiceLog:
    return replace(log, seconds=log.seconds / drift.slowdown(log.begin_s + log.done_s))


def _combine(
    logs: Sequence[ServiceLog], queue: Queue, drift: Drift = NO_DRIFT, threshold: float = _PROVEN
) -> ServiceTimes:
    """Return the service times of these trials together.

    `threshold`: the standard deviations of chi squared that show a variance between trials.
    """
    batches = Batches.of(logs)
    mean_times, idle_error = measured_means(batches, queue)
    ratio = batches.ratios(mean_times)
    pieces = batches.by_trial(ratio)
    long = [own for own in pieces if len(own) >= _FEWEST]
    tau = correlation_time(*(long or pieces), threshold=CORRELATED)
    errors = np.array([error_of_mean(own, tau) for own in pieces])
    log_means = np.log([own.mean() for own in pieces])
    between_sd = pool_estimates(log_means, errors, threshold).between_sd
    block = _block(tau, len(ratio))
    error = ratio.std() * np.sqrt(tau)
    mean_times, covariance_factor = fit_line(mean_times, batches.size, error)
    ratio = batches.ratios(mean_times)
    return ServiceTimes(
        mean_times=mean_times,
        ratio=ratio,
        weight=_weights(batches.trial, errors, between_sd),
        trial=batches.trial,
        block=block,
        between_sd=between_sd,
        next_trial_sd=_next_trial_sd(between_sd, len(logs)),
        covariance_factor=covariance_factor,
        lognormal=block == 1 and between_sd == 0.0 and _is_lognormal(ratio),
        drift=drift,
        idle_error=idle_error,
        idle_share=float(batches.idle.mean()),
    )


def _block(tau: float, batches: int) -> int:
    """Return how many consecutive ratios are drawn together at a correlation time of tau."""
    if tau == 1.0:
        return 1
    return int(min(np.ceil(_BLOCK * tau), max(batches // _LEAST_BLOCKS, 1)))


def _next_trial_sd(between_sd: float, trials: int) -> float:
    """Return the standard deviation with which ln(mean) of the next trial is predicted.

    The prediction interval has Student's t in place of 1.96, as the variance is from few trials
    (Higgins, Thompson and Spiegelhalter, JRSS A 172 (2009), 137, with the error of the mean apart).
    """
    dof = max(trials - 1, _LEAST_DOF)
    return between_sd * student_quantile(dof) / _NORMAL95


def _weights(trial: NDArray[np.int64], errors: Floats, between_sd: float) -> Floats:
    """Return the probability of each batch (m,): equal, or by trial when trials differ.

    Trials then have the weights of a random-effects mean, shared by their batches.
    """
    share = np.ones(len(errors))
    if between_sd:
        share = 1 / (errors**2 + between_sd**2) / np.bincount(trial)
    return np.asarray(share[trial] / share[trial].sum())


def _is_lognormal(ratio: Floats) -> bool:
    """Return whether ratios vary, are enough for a test, and pass it as lognormal."""
    logs = np.log(np.maximum(ratio, _LEAST_RATIO))
    if len(logs) < _FEWEST or logs.std() <= _CONSTANT:
        return False
    return anderson_darling(logs) < _LOGNORMAL

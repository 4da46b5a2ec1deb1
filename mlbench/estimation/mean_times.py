"""Mean service times from measured batches: by size, by worker, and after idling."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlbench.queueing.line import Floats, MeanTimes, Queue
from mlbench.stats.correlation import correlation_time
from mlbench.stats.pooling import chi2_z, pool_estimates
from mlbench.trial.service_log import ServiceLog

CORRELATED = 4.0
"""Standard errors of the first autocorrelation, from which service times count as correlated. It is
high because each estimate of a search tests it again, and blocks make estimates less certain."""

_LEAST_ERROR = 2e-4  # relative, of a mean; clocks and rounding allow no less
_FEWEST = 30  # batches of one kind, so that their mean is about normal
_UNLIKE = 0.02  # standard deviation of ln(mean) between workers that is worth a mean for each
_IDLE_SIGNIFICANT = 4.0  # standard errors of ln(idle factor)
_LINE_POINTS = 4  # sizes of batches, so that two are left to contradict a line
_NOT_LINEAR = 2.0  # standard deviations of chi squared above its mean, exceeded by 2 % of lines


@dataclass(frozen=True)
class Batches:
    """The batches of several trials, one trial after the other; all arrays are (m,).

    `seconds`: the service time; `size`: its queries; `idle`: whether the worker was idle before it;
    `worker` and `trial`: the numbers of these.
    """

    seconds: Floats
    size: NDArray[np.int64]
    idle: NDArray[np.bool_]
    worker: NDArray[np.int64]
    trial: NDArray[np.int64]

    @classmethod
    def of(cls, logs: Sequence[ServiceLog]) -> "Batches":
        """Return the batches of all these trials."""
        return cls(
            seconds=np.concatenate([log.seconds for log in logs]),
            size=np.concatenate([log.size for log in logs]),
            idle=np.concatenate([log.idle for log in logs]),
            worker=np.concatenate([log.worker for log in logs]),
            trial=np.repeat(np.arange(len(logs)), [len(log.seconds) for log in logs]),
        )

    def ratios(self, mean_times: MeanTimes) -> Floats:
        """Return each service time over its mean, float64 (m,)."""
        slowdown = mean_times.slowdown[self.worker if len(mean_times.slowdown) > 1 else 0]
        idle_factor = np.where(self.idle, mean_times.idle_factor, 1.0)
        return np.asarray(self.seconds / (mean_times.by_size_s[self.size] * slowdown * idle_factor))

    def by_trial(self, values: Floats) -> list[Floats]:
        """Return the values (m,) of each trial."""
        return [values[self.trial == number] for number in range(self.trial[-1] + 1)]


def measured_means(batches: Batches, queue: Queue) -> tuple[MeanTimes, float]:
    """Return the mean service times, and the relative standard error of the idle factor."""
    factor, idle_error = _idle_factor(batches)
    busy_s = batches.seconds / np.where(batches.idle, factor, 1.0)
    mean_times = MeanTimes(_means_by_size(busy_s, batches.size, queue), factor)
    slowdown = _slowdowns(batches.ratios(mean_times), batches.worker, queue.servers)
    # The slowdowns are scaled so that the servers are worth as many without slowdown.
    scale = len(slowdown) / float((1 / slowdown).sum())
    scaled = replace(mean_times, by_size_s=mean_times.by_size_s * scale, slowdown=slowdown / scale)
    return scaled, idle_error


def error_of_mean(values: Floats, tau: float) -> float:
    """Return the relative standard error of the mean of values (m,) with correlation time tau."""
    error = float(values.std() * np.sqrt(tau / len(values)) / values.mean())
    return max(error, _LEAST_ERROR)


def fit_line(
    mean_times: MeanTimes, size: NDArray[np.int64], error: float
) -> tuple[MeanTimes, Floats]:
    """Replace the means by size with a straight line over the size, if chi squared allows it.

    `size`: int64 (m,), that of each batch. `error`: the relative standard error of the mean of one
    batch. Returns the means and a factor of the covariance of their relative errors,
    float64 (batch_size + 1, k). The line is the weighted least squares fit.
    """
    sizes = np.arange(len(mean_times.by_size_s))
    count = np.bincount(size, minlength=len(sizes))[: len(sizes)]
    independent = np.diag(error / np.sqrt(np.maximum(count, 1)))
    seen = np.flatnonzero(count)
    if len(seen) < _LINE_POINTS or error == 0.0:
        return mean_times, independent
    weight = np.sqrt(count[seen]) / (error * mean_times.by_size_s[seen])
    design = np.stack([np.ones(len(sizes)), sizes], axis=1)
    line, _, _, _ = np.linalg.lstsq(
        design[seen] * weight[:, None], mean_times.by_size_s[seen] * weight, rcond=None
    )
    fitted = design @ line
    chi2 = float((((fitted - mean_times.by_size_s)[seen] * weight) ** 2).sum())
    if chi2_z(chi2, len(seen) - 2) > _NOT_LINEAR or fitted[1:].min() <= 0:
        return mean_times, independent
    covariance = np.linalg.inv(design[seen].T @ (design[seen] * weight[:, None] ** 2))
    factor = design @ np.linalg.cholesky(covariance) / np.maximum(fitted, 1e-12)[:, None]
    return replace(mean_times, by_size_s=fitted), factor


def _means_by_size(busy_s: Floats, size: NDArray[np.int64], queue: Queue) -> Floats:
    """Return the mean for each size, float64 (batch_size + 1,).

    Sizes in between those seen are interpolated; above the largest they grow with the size.
    """
    sizes = np.arange(queue.batch_size + 1)
    count = np.bincount(size, minlength=len(sizes))[: len(sizes)]
    total = np.bincount(size, weights=busy_s, minlength=len(sizes))[: len(sizes)]
    seen = np.flatnonzero(count)
    by_size_s = np.interp(sizes, seen, total[seen] / count[seen])
    beyond = sizes > seen[-1]
    by_size_s[beyond] *= sizes[beyond] / seen[-1]
    return by_size_s


def _slowdowns(ratio: Floats, worker: NDArray[np.int64], servers: int) -> Floats:
    """Return each worker's slowdown (servers,); [1.0] unless they differ by more than chance."""
    pieces = [ratio[worker == number] for number in range(servers)]
    if servers == 1 or min(map(len, pieces)) < _FEWEST:
        return np.ones(1)
    tau = correlation_time(*pieces, threshold=CORRELATED)
    errors = np.array([error_of_mean(own, tau) for own in pieces])
    means = np.array([own.mean() for own in pieces])
    differ = pool_estimates(np.log(means), errors).between_sd > _UNLIKE
    return means if differ else np.ones(1)


def _idle_factor(batches: Batches) -> tuple[float, float]:
    """Return the factor by which batches take longer after idling, and its relative error.

    Batches of the same size on the same worker are compared. The factor is 1 without an error
    unless it is significantly above. It is never below: where slow batches come in runs the queue
    is busy during them, which looks like a device that is quicker after idling.
    """
    logs, errors = [], []
    kind = batches.size * (batches.worker.max() + 1) + batches.worker
    for one in np.unique(kind):
        after_idling = batches.seconds[(kind == one) & batches.idle]
        others = batches.seconds[(kind == one) & ~batches.idle]
        if min(len(after_idling), len(others)) >= _FEWEST:
            logs.append(np.log(after_idling.mean() / others.mean()))
            variances = [(x.std() / x.mean()) ** 2 / len(x) for x in (after_idling, others)]
            errors.append(max(np.sqrt(sum(variances)), _LEAST_ERROR))
    if not logs:
        return 1.0, 0.0
    pooled = pool_estimates(np.array(logs), np.array(errors))
    if pooled.mean <= _IDLE_SIGNIFICANT * pooled.error:
        return 1.0, 0.0
    return float(np.exp(pooled.mean)), pooled.error

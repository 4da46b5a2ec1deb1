"""What the trials of a search say about a device's service times."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlbench.estimation.mean_times import LEAST_ERROR, Batches, measured_means
from mlbench.estimation.pauses import regular_pauses, without_pauses
from mlbench.estimation.speed import Levels, Speed
from mlbench.queueing.line import Floats, MeanTimes, Queue
from mlbench.queueing.service import ServiceTimes
from mlbench.stats.correlation import correlation_time
from mlbench.trial.service_log import ServiceLog

NEAR = 0.2
"""Trials whose ln(rate) differs by less than this load the device alike."""

_MOST = 100_000  # batches; their mean is known to 0.1 % at a coefficient of variation of 0.3
_LONG = 200  # batches of a trial, or a part of one, that tell a correlation
_CORRELATED = 4.0
"""Standard errors of the first autocorrelation, from which service times count as correlated: each
estimate of a search looks at it again, and blocks make estimates less certain."""
_BLOCK = 8  # correlation times in a block; about 1 / 8 of the correlation is lost at its ends
_LEAST_BLOCKS = 20  # in the sample, so that simulated orders differ
_MOST_PARTS, _ALL_PARTS = 10, 100
"""Parts of a trial, and of all trials together, whose levels are followed. The process takes time
with the cube of the latter: 0.1 s."""
_LEAST_PART, _PART_TIMES = 20, 4  # batches of a part, and correlation times of batches
_PART_ERROR = 0.04  # standard error of a level, so that the logarithm of a mean is about normal
_ELSEWHERE, _SPREAD = 0.02, 0.35
"""Weight of a trial's service times at another rate: their distribution may depend on the load. A
trial at 0.7 of the rate or 1.4 times it counts 0.6, a saturation trial a tenth or less."""


@dataclass(frozen=True)
class Learnt:
    """What trials say about service times.

    `mean_times`: the means at level 0. `ratio`: float64 (m,), service times over their means at the
    level of their moment, trial by trial; `trial`: int64 (m,). `log_qps`: float64 (trials,). `cv`:
    the coefficient of variation within trials, and `tau` the correlation time in batches. `block`
    as in `ServiceTimes`. `speed`: the process of the level. `measured`: the levels of parts of
    trials, and `level`: float64, what each of them is expected to be in the process.
    """

    mean_times: MeanTimes
    ratio: Floats
    trial: NDArray[np.int64]
    log_qps: Floats
    cv: float
    tau: float
    block: int
    speed: Speed
    measured: Levels
    level: Floats

    def nearness(self, qps: float) -> Floats:
        """Return the weight of each trial for what happens at a rate, float64 (trials,)."""
        distance = (self.log_qps - math.log(qps)) / _SPREAD
        return np.asarray(np.exp(-0.5 * distance**2) + _ELSEWHERE)

    def service_at(self, qps: float) -> ServiceTimes:
        """Return the service times at a rate, at level 0."""
        weight = self.nearness(qps)[self.trial]
        weight = weight / weight.sum()
        ratio = self.ratio / float(weight @ self.ratio)
        return ServiceTimes(self.mean_times, ratio, weight, self.trial, self.block)

    def sampling_variance(self, service: ServiceTimes) -> float:
        """Return the variance of ln(mean) that the number of service times alone causes."""
        return self.cv**2 * self.tau * float(service.weight @ service.weight)

    def level_in(self, trial: int, at_s: Floats) -> Floats:
        """Return the expected level in a trial at moments of the shared clock."""
        own = self.measured.trial == trial
        return np.asarray(np.interp(at_s, self.measured.at_s[own], self.level[own]))


def learn(logs: Sequence[ServiceLog], queue: Queue) -> Learnt:
    """Return what these trials, at least one, say about service times."""
    pauses = regular_pauses(logs)
    if pauses:
        logs = [without_pauses(log) for log in logs]
    logs = [log.first(_MOST // len(logs)) for log in logs]
    batches = Batches.of(logs)
    means = measured_means(batches, queue)
    if pauses:
        means = replace(means, pause_gap_s=pauses.gap_s, pause_s=pauses.length_s)
    ratio, trial = batches.ratios(means), batches.trial
    pieces = [ratio[trial == number] for number in range(len(logs))]
    tau = correlation_time(*_parts(pieces), threshold=_CORRELATED)
    cv = _cv_within(pieces)
    log_qps = np.log([log.qps for log in logs])
    measured = _measured_levels(pieces, logs, log_qps, cv, tau)
    speed = Speed(measured)
    learnt = Learnt(
        mean_times=means,
        ratio=ratio,
        trial=trial,
        log_qps=log_qps,
        cv=cv,
        tau=tau,
        block=_block(tau, len(ratio)),
        speed=speed,
        measured=measured,
        level=speed.smoothed(),
    )
    level = [learnt.level_in(n, log.begin_s + log.done_s) for n, log in enumerate(logs)]
    return replace(learnt, ratio=ratio / np.exp(np.concatenate(level)))


def _parts(pieces: Sequence[Floats]) -> list[Floats]:
    """Return parts of trials, each with a mean of its own, so that a drift or a step is no run."""
    long = [piece for piece in pieces if len(piece) >= _LONG] or pieces
    return [
        part
        for piece in long
        for part in np.array_split(piece, max(min(_MOST_PARTS, len(piece) // _LONG), 1))
    ]


def _block(tau: float, batches: int) -> int:
    return int(min(np.ceil(_BLOCK * tau), max(batches // _LEAST_BLOCKS, 1))) if tau > 1 else 1


def _cv_within(pieces: Sequence[Floats]) -> float:
    """Return the coefficient of variation within trials, over all of them."""
    squares = [float(piece.var() / piece.mean() ** 2) for piece in pieces]
    return math.sqrt(np.average(squares, weights=[len(piece) for piece in pieces]))


def _measured_levels(
    pieces: Sequence[Floats], logs: Sequence[ServiceLog], log_qps: Floats, cv: float, tau: float
) -> Levels:
    """Return the levels of consecutive parts of each trial."""
    most = max(min(_MOST_PARTS, _ALL_PARTS // len(logs)), 1)
    least = max(_LEAST_PART, _PART_TIMES * tau, tau * (cv / _PART_ERROR) ** 2)
    rows = []
    for number, (piece, log) in enumerate(zip(pieces, logs, strict=True)):
        order = np.argsort(log.done_s, kind="stable")
        count = max(min(most, int(len(piece) // least)), 1)
        for part in np.array_split(order, count):
            error = max(cv * math.sqrt(tau / len(part)), LEAST_ERROR)
            # E ln(mean) is below ln(E mean) by half the relative variance of the mean.
            level = math.log(piece[part].mean()) + error**2 / 2
            at_s = log.begin_s + float(log.done_s[part].mean())
            rows.append((level, error, at_s, log_qps[number], number))
    level, error, at_s, qps, trial = np.array(rows).T
    return Levels(level, error, at_s, qps, trial.astype(np.int64))

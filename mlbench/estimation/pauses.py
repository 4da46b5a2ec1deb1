"""Regular pauses of a device, as for garbage collection, read off its service times.

A pause strikes whatever is served at its moment, so that the clock decides when it comes and not
the batch. Drawn like other service times, pauses would come in pairs and queues would get longer
than they do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlbench.queueing.line import Floats
from mlbench.trial.service_log import ServiceLog

_LONG = 3.0  # medians of batches of its size; an exponential service time exceeds it in one of 8
_RARE = 0.05  # of the batches at most; what strikes more of them is how the device serves
_FEWEST_GAPS, _FEWEST_WHOLE = 12, 2
"""Gaps between pauses, and pauses seen in their whole length, that are worth a model."""
_REGULAR, _ALIKE = 0.15, 0.2
"""Relative deviations up to which pauses are regular: of the gaps (root mean square; independent
stalls have about 0.37 by the same measure) and of the lengths (mean)."""


@dataclass(frozen=True)
class Pauses:
    """A pause of `length_s` seconds begins every `gap_s` seconds."""

    gap_s: float
    length_s: float


def regular_pauses(logs: Sequence[ServiceLog]) -> Pauses | None:
    """Return the pauses that strike in these trials, or None if there are no regular ones."""
    struck = [_struck(log) for log in logs]
    if sum(map(np.count_nonzero, struck)) > _RARE * sum(len(log.seconds) for log in logs):
        return None
    whole_s = np.concatenate(
        [_excess_s(log)[at & (log.idle_s == 0)] for log, at in zip(logs, struck, strict=True)]
    )
    gaps_s = np.array([gap for pair in zip(logs, struck, strict=True) for gap in _gaps_s(*pair)])
    if len(gaps_s) < _FEWEST_GAPS or len(whole_s) < _FEWEST_WHOLE:
        return None
    gap_s, length_s = _typical_gap_s(gaps_s), float(np.median(whole_s))
    missed = np.maximum(np.round(gaps_s / gap_s), 1) * gap_s
    is_regular = np.sqrt(np.mean((gaps_s - missed) ** 2)) < _REGULAR * gap_s
    is_alike = np.mean(np.abs(whole_s - length_s)) < _ALIKE * length_s
    return Pauses(gap_s, length_s) if is_regular and is_alike and length_s < gap_s else None


def without_pauses(log: ServiceLog) -> ServiceLog:
    """Return the service times as they would be if no pause had struck."""
    return replace(log, seconds=np.where(_struck(log), _usual_s(log), log.seconds))


def _usual_s(log: ServiceLog) -> Floats:
    """Return the median service time of batches of the same size, float64 (m,)."""
    usual_s = np.zeros(int(log.size.max()) + 1)
    for size in np.unique(log.size):
        usual_s[size] = np.median(log.seconds[log.size == size])
    return np.asarray(usual_s[log.size])


def _excess_s(log: ServiceLog) -> Floats:
    return log.seconds - _usual_s(log)


def _struck(log: ServiceLog) -> NDArray[np.bool_]:
    """Return which batches a pause may have struck, bool (m,)."""
    return np.asarray(log.seconds > _LONG * _usual_s(log))


def _gaps_s(log: ServiceLog, struck: NDArray[np.bool_]) -> Iterator[float]:
    """Yield the times between pauses of the same worker."""
    for worker in np.unique(log.worker):
        own = struck & (log.worker == worker)
        yield from np.diff(np.sort(log.done_s[own]))


def _typical_gap_s(gaps_s: Floats) -> float:
    """Return the single gap; where a pause strikes nobody, a multiple of it is seen."""
    median_s = float(np.median(gaps_s))
    single = gaps_s < 1.5 * median_s
    return float(gaps_s[single].mean())

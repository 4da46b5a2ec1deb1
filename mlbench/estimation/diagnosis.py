"""Findings about the device from the service times of all trials."""

from collections.abc import Sequence

import numpy as np

from mlbench.contracts.findings import Finding
from mlbench.estimation.drift import is_significant, slope_within
from mlbench.estimation.learning import service_ratios
from mlbench.estimation.observation import Observation
from mlbench.queueing.line import Floats, Queue
from mlbench.stats.correlation import correlation_time
from mlbench.trial.service_log import ServiceLog

_FEWEST = 200  # batches of a trial, as many as a slope takes (`drift`)
_STALL = 5.0  # medians; an exponential service time exceeds it in 3 % of batches, too many to note
_RARE = 0.01  # of the batches; if more of them are slow, that is how the device serves
_LONG_RUN = 10.0  # batches of correlation time, which divide the sample by ten


def diagnose(observations: Sequence[Observation], queue: Queue) -> list[Finding]:
    """Return findings that make an estimate less trustworthy: drift, stalls, runs of slow batches.

    They are about service ratios: that large batches take longer, or that one worker is slower, is
    neither a stall nor a drift.
    """
    some = [seen for seen in observations if len(seen.log.seconds) >= _FEWEST]
    if not some:
        return []
    logs = [seen.log for seen in some]
    ratios = service_ratios(logs, queue)
    steady = [i for i, seen in enumerate(some) if not seen.saturated] or range(len(some))
    findings = [
        _drift(ratios, [log.done_s for log in logs]),
        _stalls(np.concatenate(ratios)),
        _runs([(ratios[i], logs[i]) for i in steady]),
    ]
    return [finding for finding in findings if finding]


def _drift(ratios: Sequence[Floats], times_s: Sequence[Floats]) -> Finding | None:
    slope = slope_within(ratios, times_s)
    if slope is None or not is_significant(slope):
        return None
    figures = {"change_per_s": abs(slope.mean)}
    return Finding("slowed_down" if slope.mean > 0 else "sped_up", figures)


def _stalls(ratio: Floats) -> Finding | None:
    count = int((ratio > _STALL * np.median(ratio)).sum())
    if not 0 < count < _RARE * len(ratio):
        return None
    return Finding("stalls", {"slow": count, "batches": len(ratio), "times": _STALL})


def _runs(trials: Sequence[tuple[Floats, ServiceLog]]) -> Finding | None:
    longest = max(
        correlation_time(ratio[log.worker == worker])
        for ratio, log in trials
        for worker in np.unique(log.worker)
    )
    if longest < _LONG_RUN:
        return None
    return Finding("runs", {"batches": longest})

"""Findings about the device from the service times of all trials."""

import math

import numpy as np

from mlbench.contracts.findings import Finding
from mlbench.estimation.learning import Learnt
from mlbench.estimation.speed import Levels
from mlbench.queueing.line import Floats, MeanTimes

_FEWEST = 200  # batches that are worth a finding
_STALL = 5.0  # medians; an exponential service time exceeds it in 3 % of batches, too many to note
_RARE = 0.01  # of the batches; if more of them are slow, that is how the device serves
_LONG_RUN = 10.0  # batches of correlation time, which divide the sample by ten
_PARTS = 4  # of a trial that tell a slope
_SIGNIFICANT, _LEAST_PER_S = 3.0, 5e-4
"""Standard errors, and the relative change a second, of a drift that is told: less than 3 % a
minute matters to no answer."""


def diagnose(learnt: Learnt) -> list[Finding]:
    """Return what is odd about service times: drift, pauses, stalls, runs of slow batches.

    They are about service times relative to their means: that large batches take longer, or that
    one worker is slower, is neither a stall nor a drift.
    """
    if len(learnt.ratio) < _FEWEST:
        return []
    findings = [
        _drift(learnt.measured),
        _pauses(learnt.mean_times),
        _stalls(learnt.ratio),
        _runs(learnt.tau),
    ]
    return [finding for finding in findings if finding]


def _drift(measured: Levels) -> Finding | None:
    """Tell of a level that changes with time within trials, by regression in each of them."""
    top, bottom = 0.0, 0.0
    for number in np.unique(measured.trial):
        own = measured.trial == number
        if own.sum() < _PARTS:
            continue
        weight = measured.error[own] ** -2.0
        at_s = measured.at_s[own] - np.average(measured.at_s[own], weights=weight)
        top += float((weight * at_s) @ measured.level[own])
        bottom += float(weight @ at_s**2)
    if not bottom or abs(top / bottom) < max(_SIGNIFICANT / math.sqrt(bottom), _LEAST_PER_S):
        return None
    return Finding("slowed_down" if top > 0 else "sped_up", {"change_per_s": abs(top / bottom)})


def _pauses(means: MeanTimes) -> Finding | None:
    if not means.pause_s:
        return None
    return Finding("pauses", {"pause_s": means.pause_s, "gap_s": means.pause_gap_s})


def _stalls(ratio: Floats) -> Finding | None:
    count = int((ratio > _STALL * np.median(ratio)).sum())
    if not 0 < count < _RARE * len(ratio):
        return None
    return Finding("stalls", {"slow": count, "batches": len(ratio), "times": _STALL})


def _runs(tau: float) -> Finding | None:
    return Finding("runs", {"batches": tau}) if tau >= _LONG_RUN else None

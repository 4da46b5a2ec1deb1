"""The load at which the late fraction is exactly what the percentile allows.

The load is the rate over the rate that saturates the servers. The crossing is searched on the logit
of the load, ln(load / (1 - load)): a step of it is fine where the load is almost 1 and the late
fraction steep. Over a short bracket the logarithm of the late fraction is then nearly a straight
line; in M/M/1 it is -mu L (1 - load) for a limit of L.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mlbench.queueing.line import Floats

SCAN = np.array(
    [0.9999, 0.99, 0.97, 0.93, 0.88, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.03, 0.01, 0.003]
)
"""Loads at which to look for the crossing, the highest first: between two loads that meet the limit
there may be loads that do not, as with batches that wait for a timeout. The first one that meets
the limit brackets the highest crossing."""
MAX_LOGIT = 13.0
"""The logit of a load of 1 - 2e-6, taken as saturation; its negative is taken as no load."""
POINTS = 4
"""Loads of a bracket that are tried at a time: three cells, of which one holds the crossing."""

_WIDTH = 0.05  # logits of the last bracket: 1.25 % of the rate at load 0.5, one Newton step away
_FLOOR = 0.01  # of the allowed late fraction, added to it so that no late query has a logarithm
_LEAST_SLOPE = 0.1  # of the log excess; noise may give less, and a Newton step would be too long
_LONGEST_STEP = 1.0  # logits of one Newton step, which a straight line can be trusted for


@dataclass(frozen=True)
class Crossing:
    """Where the limit is just met: the logit of the load, and the slope of the log excess there."""

    logit: float
    slope: float


def logit_of(load: Floats | float) -> Floats:
    """Return the logit of a load, ln(load / (1 - load))."""
    return np.asarray(np.log(load) - np.log1p(-np.asarray(load)))


def load_of(logit: Floats | float) -> Floats:
    """Return the load of a logit, 1 / (1 + exp(-logit))."""
    return np.asarray(1 / (1 + np.exp(-np.asarray(logit))))


def bracket_around(load: float) -> tuple[float, float]:
    """Return two loads around a load near which the crossing is expected."""
    logit, reach = float(logit_of(load)), _WIDTH * (POINTS - 1) / 2
    return float(load_of(logit - reach)), float(load_of(logit + reach))


def log_excess(late: Floats | float, allowed: float) -> Floats:
    """Return ln(late fraction / allowed fraction), kept finite where nothing is late.

    The limit is met where it is 0 or less.
    """
    floor = allowed * _FLOOR
    return np.asarray(np.log((np.maximum(late, 0.0) + floor) / (allowed + floor)))


def newton_step(logit: Floats | float, excess: Floats, slope: float) -> Floats:
    """Return the logit one Newton step nearer to an excess of 0, with a given slope."""
    step = np.clip(excess / slope, -_LONGEST_STEP, _LONGEST_STEP)
    return np.clip(logit - step, -MAX_LOGIT, MAX_LOGIT)


def find_crossing(
    excess: Callable[[Floats], Floats], bracket: tuple[float, float]
) -> Crossing | None:
    """Return where the log excess, a function of logits, is 0; None where it is always above.

    `bracket`: two loads, between which that should be. It is moved when it holds no crossing, and
    narrowed otherwise, to the highest crossing in it.
    """
    low, high = (float(logit_of(load)) for load in bracket)
    while True:
        logits = np.linspace(low, high, POINTS)
        values = excess(logits)
        met = np.flatnonzero(values <= 0)
        if len(met) == 0:
            if low <= -MAX_LOGIT:
                return None
            low, high = low - 2 * (high - low), low
        elif met[-1] == POINTS - 1:
            if high >= MAX_LOGIT:
                return Crossing(high, _LEAST_SLOPE)
            low, high = high, high + 2 * (high - low)
        else:
            low, high = logits[met[-1] : met[-1] + 2]
            under, over = values[met[-1] : met[-1] + 2]
            if high - low < 1.01 * _WIDTH:  # 1 % for rounding
                slope = max(float(over - under) / (high - low), _LEAST_SLOPE)
                return Crossing(float(high - over / slope), slope)

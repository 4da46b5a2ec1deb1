"""Where the late fraction crosses what the percentile allows, as the load grows.

The logarithm of the late fraction is nearly straight in the logit of the load (the rate over the
saturated one), from an idle queue to a full one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mlbench.queueing.line import Floats

SCAN = np.array(
    [0.9999, 0.99, 0.97, 0.93, 0.88, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.03, 0.01, 0.003]
)
"""Loads on which to look for the crossing, from above: the limit may be met in patches."""
MAX_LOGIT = 13.0
"""A load of almost 1; its negative, of almost 0."""
POINTS = 4
"""Of a bracket, that are tried at once."""

_WIDTH = 0.05  # of the last bracket
_FLOOR = 0.01  # of the allowed late fraction, added to keep logarithms finite
_FLATTEST = 0.1  # slope of the excess


@dataclass(frozen=True)
class Crossing:
    """Where the limit is just met: the logit of the load, and the slope of the excess there."""

    logit: float
    slope: float


def logit_of(load: Floats | float) -> Floats:
    """Return the logit of a load, the logarithm of load / (1 - load)."""
    return np.asarray(np.log(load) - np.log1p(-np.asarray(load)))


def load_of(logit: Floats | float) -> Floats:
    """Return the load of a logit."""
    return np.asarray(1 / (1 + np.exp(-np.asarray(logit))))


def around(load: float) -> tuple[float, float]:
    """Return a bracket around a load that is already known well."""
    logit, reach = float(logit_of(load)), _WIDTH * (POINTS - 1) / 2
    return float(load_of(logit - reach)), float(load_of(logit + reach))


def excess_of(late: Floats | float, allowed: float) -> Floats:
    """Log of the late fraction over the allowed one, finite when nothing is late."""
    floor = allowed * _FLOOR
    return np.asarray(np.log((np.maximum(late, 0.0) + floor) / (allowed + floor)))


def newton_step(logit: Floats | float, excess: Floats, slope: float) -> Floats:
    """Move towards where the excess is 0, by Newton's method with a fixed slope."""
    return np.clip(logit - np.clip(excess / slope, -1.0, 1.0), -MAX_LOGIT, MAX_LOGIT)


def find_crossing(
    excess: Callable[[Floats], Floats], bracket: tuple[float, float]
) -> Crossing | None:
    """Return where the excess, a function of logits, crosses 0 for the last time.

    `bracket`: two loads, between which that should be. None when the excess is positive from the
    lowest load on.
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
                return Crossing(high, _FLATTEST)
            low, high = high, high + 2 * (high - low)
        else:
            low, high = logits[met[-1] : met[-1] + 2]
            under, over = values[met[-1] : met[-1] + 2]
            if high - low < 1.01 * _WIDTH:
                slope = max(float(over - under) / (high - low), _FLATTEST)
                return Crossing(float(high - over / slope), slope)

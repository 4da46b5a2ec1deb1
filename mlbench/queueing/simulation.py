"""The capacity of a queue by simulation, where no formula tells it."""

import math
from collections.abc import Sequence

import numpy as np

from mlbench.outcomes import Constraint
from mlbench.queueing.crossing import (
    MAX_LOGIT,
    POINTS,
    SCAN,
    excess_of,
    find_crossing,
    load_of,
    logit_of,
    newton_step,
)
from mlbench.queueing.line import Floats, Queue
from mlbench.queueing.service import ServiceTimes
from mlbench.queueing.streams import Streams

_STEEPEST = 2.0  # slope of a control variate


class Simulation:
    """Finds by simulation where the late fraction crosses what the percentile allows."""

    def __init__(self, queue: Queue, service: ServiceTimes, constraint: Constraint) -> None:
        self.queue, self.service = queue, service
        self.bound_s = constraint.max_latency_s
        self.allowed = 1 - constraint.percentile / 100
        self.saturated_qps = service.saturated_qps(queue)

    def _late(self, streams: Streams, load: Floats, ratios: Floats) -> Floats:
        levels = [self.service.levels] * len(load)
        return streams.late_fraction(
            self.queue, levels, load * self.saturated_qps, ratios[:, None], self.bound_s
        )

    def scan(self, streams: Streams) -> tuple[float, float] | None:
        """Bracket the highest load that meets the bound, from above: it may be met in patches."""
        late = self._late(streams, SCAN, streams.draw(self.service)).mean(axis=1)
        met = np.flatnonzero(late <= self.allowed)
        if len(met) == 0:
            return None
        best = int(met[0])
        return (SCAN[best], SCAN[best - 1] if best else 1 - 1e-6)

    def refine(self, streams: Streams, bracket: tuple[float, float]) -> tuple[float, float] | None:
        """Return the load in logits and the slope of the excess there.

        None when even an idle device is late more often than allowed.
        """
        ratios = streams.draw(self.service)
        return find_crossing(lambda logits: self._at(streams, ratios, logits), bracket)

    def polish(self, streams: Streams, logit: float, slope: float) -> tuple[float, float, float]:
        """Take a last step on more streams; returns the load, its relative error, the excess.

        The excess is that at the logit given, where on the streams that gave it there was none.
        """
        late = self._late(streams, load_of(np.array([logit])), streams.draw(self.service))
        excess = float(excess_of(late.mean(), self.allowed))
        load = float(load_of(min(logit - excess / slope, MAX_LOGIT)))
        error = float(late.std()) / math.sqrt(late.size) / self.allowed
        return load, min(error / slope, 1.0) * (1 - load), excess

    def bind(
        self, streams: Streams, beyond: float, few: Streams, bracket: tuple[float, float]
    ) -> tuple[float, float] | None:
        """Return the load at which queries bound to servers when due meet the bound, its error.

        Binding is slow to play, so a few queries must do. One line with the same queries is the
        control variate: more `streams`, and the excess `beyond` them, tell its late fraction. None
        as for `refine`.
        """
        many, ratios = streams.draw(self.service), few.draw(self.service)
        noise = 0.0

        def excess(logits: Floats) -> Floats:
            nonlocal noise
            load = load_of(logits)
            line = self._late(streams, load, many).mean(axis=1) * math.exp(beyond)
            alike = self._late(few, load, ratios)
            real = few.bound_late_fraction(
                self.queue, self.service.levels, load * self.saturated_qps, ratios, self.bound_s
            )
            share = _regression(real, alike)
            rest = real - share[:, None] * alike
            noise = float(rest[POINTS // 2].std()) / math.sqrt(rest.shape[1])
            return excess_of(rest.mean(axis=1) + share * line, self.allowed)

        found = find_crossing(excess, bracket)
        if found is None:
            return None
        logit, slope = found
        load = float(load_of(logit))
        return load, min(noise / self.allowed / slope, 1.0) * (1 - load)

    def _at(self, streams: Streams, ratios: Floats, logits: Floats) -> Floats:
        late = self._late(streams, load_of(logits), ratios)
        return excess_of(late.mean(axis=1), self.allowed)

    def bootstrap(
        self, streams: Streams, load: float, slope: float, drawn: Sequence[ServiceTimes]
    ) -> float:
        """Return the relative spread of the capacity over resampled service times."""
        ratios = np.stack([streams.draw(one) for one in drawn], axis=1)
        levels = [one.levels for one in drawn]
        saturated_qps = np.array([one.saturated_qps(self.queue) for one in drawn])
        logit = np.full(len(drawn), float(logit_of(load)))
        for _ in range(2):
            late = streams.late_fraction(
                self.queue, levels, load_of(logit) * saturated_qps, ratios, self.bound_s
            )
            logit = newton_step(logit, excess_of(late.mean(axis=1), self.allowed), slope)
        return spread_of(load_of(logit[1:]) * saturated_qps[1:])


def spread_of(qps: Floats) -> float:
    """Standard deviation of log rates; none counts as more than 3 from the middle of them."""
    logs = np.log(qps)
    below, middle, above = np.percentile(logs, [15.87, 50, 84.13])
    reach = 1.5 * (above - below)
    return float(np.clip(logs, middle - reach, middle + reach).std())


def _regression(of: Floats, on: Floats) -> Floats:
    """Return the slopes, row by row, of one variate on another; 1 where that does not vary."""
    centred = on - on.mean(axis=1, keepdims=True)
    variance = (centred**2).sum(axis=1)
    covariance = (centred * of).sum(axis=1)
    slopes = np.divide(covariance, variance, out=np.ones(len(of)), where=variance > 0)
    return np.asarray(np.clip(slopes, 0.0, _STEEPEST))

"""The capacity of a queue by simulation, where no formula tells it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mlbench.outcomes import Constraint
from mlbench.queueing.crossing import (
    SCAN,
    excess_of,
    find_crossing,
    load_of,
    newton_step,
)
from mlbench.queueing.line import Floats, Queue
from mlbench.queueing.service import ServiceTimes
from mlbench.queueing.streams import Streams

_STEEPEST = 2.0  # slope of a control variate


@dataclass(frozen=True)
class Crossing:
    """Where the bound is just met on some streams: the logit of the load, the excess's slope there.

    `line`: the late fraction of one line on these streams. The late fraction in question is `share`
    times that and a rest; `noise`: standard error of the rest.
    """

    logit: float
    slope: float
    line: float
    share: float = 1.0
    noise: float = 0.0


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

    def refine(self, streams: Streams, bracket: tuple[float, float]) -> Crossing | None:
        """Find where one line meets the bound.

        None when even an idle device is late more often than allowed.
        """
        ratios = streams.draw(self.service)

        def excess(logits: Floats) -> Floats:
            late = self._late(streams, load_of(logits), ratios)
            return excess_of(late.mean(axis=1), self.allowed)

        found = find_crossing(excess, bracket)
        return Crossing(*found, line=self.allowed) if found else None

    def bind(self, streams: Streams, few: Streams, bracket: tuple[float, float]) -> Crossing | None:
        """Find where queries that are bound to servers when due meet the bound; None as above.

        Binding is slow to play, so a few queries must do. One line with the same queries is the
        control variate: the `streams` tell its late fraction.
        """
        many, ratios = streams.draw(self.service), few.draw(self.service)
        seen: dict[str, Floats] = {}

        def excess(logits: Floats) -> Floats:
            load = load_of(logits)
            line = self._late(streams, load, many).mean(axis=1)
            alike = self._late(few, load, ratios)
            real = few.bound_late_fraction(
                self.queue, self.service.levels, load * self.saturated_qps, ratios, self.bound_s
            )
            share = _regression(real, alike)
            rest = real - share[:, None] * alike
            noise = rest.std(axis=1) / math.sqrt(rest.shape[1])
            seen.update(logits=logits, line=line, share=share, noise=noise)
            return excess_of(rest.mean(axis=1) + share * line, self.allowed)

        found = find_crossing(excess, bracket)
        if found is None:
            return None
        line, share, noise = (
            float(np.interp(found[0], seen["logits"], seen[name]))
            for name in ("line", "share", "noise")
        )
        return Crossing(*found, line, share, noise)

    def polish(
        self, streams: Iterable[Streams], crossing: Crossing, enough: float
    ) -> tuple[float, float]:
        """Take a last step on more streams; returns the load and its relative error.

        As many of the `streams` are played as make the error small `enough`.
        """
        load, error, late = load_of(np.array([crossing.logit])), math.inf, np.empty((1, 0))
        for some in streams:
            late = np.hstack([late, self._late(some, load, some.draw(self.service))])
            line_noise = crossing.share * float(late.std()) / math.sqrt(late.size)
            noise = math.hypot(line_noise, crossing.noise) / self.allowed
            error = min(noise / crossing.slope, 1.0) * (1 - float(load[0]))
            if error <= enough:
                break
        really = self.allowed + crossing.share * (float(late.mean()) - crossing.line)
        excess = excess_of(np.array(really), self.allowed)
        return float(load_of(newton_step(crossing.logit, excess, crossing.slope))), error

    def bootstrap(
        self, streams: Streams, crossing: Crossing, drawn: Sequence[ServiceTimes]
    ) -> float:
        """Return the relative spread of the capacity over resampled service times."""
        ratios = np.stack([streams.draw(one) for one in drawn], axis=1)
        levels = [one.levels for one in drawn]
        saturated_qps = np.array([one.saturated_qps(self.queue) for one in drawn])
        logits = np.full(len(drawn), crossing.logit)
        for _ in range(2):
            late = streams.late_fraction(
                self.queue, levels, load_of(logits) * saturated_qps, ratios, self.bound_s
            )
            logits = newton_step(logits, excess_of(late.mean(axis=1), self.allowed), crossing.slope)
        return spread_of(load_of(logits[1:]) * saturated_qps[1:])


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

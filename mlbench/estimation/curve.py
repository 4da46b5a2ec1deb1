"""The model's curve: the limited percentile of the latency by rate, from all trials of a search."""

import math
from dataclasses import dataclass

import numpy as np

from mlbench.estimation.estimate import Estimate, Question
from mlbench.estimation.learning import Learnt
from mlbench.outcomes import CurvePoint
from mlbench.queueing.capacity import percentile_latency_s
from mlbench.queueing.line import Floats
from mlbench.stats.intervals import NORMAL95

_POINTS = 16  # of a curve; between two of them the latency grows by a fifth or so
_LIGHTEST, _HEAVIEST = 0.08, 0.98
"""Loads at the ends. A device that is less busy is no quicker; nearer to saturation the latency is
that of the time simulated."""
_BEYOND = 0.5  # logits of the load, up to which a curve goes on beyond the highest capacity
_REPLICAS = 16  # of 16,384 queries each; they place a curve along the rate to 1 %
_WIDEST = 3.0  # of ln(latency), to both sides of a band: a factor of 20, where nothing is known


@dataclass(frozen=True)
class Curve:
    """The queue model's percentile of the latency at rates, ascending; float64 (k,) each.

    `log_s`: ln of the latency in seconds. `level_sd`: of the level of service times at that rate,
    beyond what their number causes.
    """

    qps: Floats
    log_s: Floats
    level_sd: Floats


def latency_curve(learnt: Learnt, question: Question, highest_qps: float) -> Curve:
    """Return the curve for a kind of arrivals, a little beyond its highest capacity.

    `question`: one of those with these arrivals; its limit has the percentile.
    """
    rates = _rates(learnt, question, highest_qps)
    rows = []
    for qps in rates:
        service, level = learnt.service_at(qps), learnt.speed.forecast(qps)
        slower = service.slower(math.exp(level.mean))
        if qps > _HEAVIEST * slower.saturated_qps(question.queue):
            break
        latency_s = percentile_latency_s(
            question.queue,
            slower,
            question.kind,
            question.limit,
            qps,
            seed=question.seed,
            replicas=_REPLICAS,
        )
        more = max(level.variance - learnt.sampling_variance(service), 0.0)
        rows.append((qps, math.log(latency_s), math.sqrt(more)))
    return Curve(*np.array(rows).reshape(-1, 3).T)


def _rates(learnt: Learnt, question: Question, highest_qps: float) -> Floats:
    level = learnt.speed.forecast(highest_qps).mean
    service = learnt.service_at(highest_qps).slower(math.exp(level))
    saturated_qps = service.saturated_qps(question.queue)
    load = min(highest_qps / saturated_qps, _HEAVIEST)
    last = min(_logit(load) + _BEYOND, _logit(_HEAVIEST))
    logits = np.linspace(min(_logit(_LIGHTEST), last - 1), last, _POINTS)
    return np.asarray(saturated_qps / (1 + np.exp(-logits)))


def _logit(load: float) -> float:
    return math.log(load / (1 - load))


def corrected(curve: Curve, known: Estimate, limit_s: float) -> tuple[CurvePoint, ...]:
    """Return a curve as an estimate corrects it, with the band that holds it with 95 %.

    Latencies are longer by the discrepancy at the estimated capacity, and the curve is moved along
    the rate until it meets the limit there: the capacity rests on more simulation. The band counts
    what the interval of the capacity counts: one follows from the other.
    """
    if known.qps is None or known.capacity is None or known.gap is None or len(curve.qps) < 2:
        return ()
    log_qps, middle = np.log(curve.qps), curve.log_s + known.gap.mean
    # Service times that are longer by a factor make latencies longer by it, and a higher load.
    slope = np.maximum(np.gradient(middle, log_qps), 0.0)
    parts = (1 + slope) * curve.level_sd, known.gap.sd, slope * known.capacity.error
    away = np.minimum(NORMAL95 * np.sqrt(sum(np.square(part) for part in parts)), _WIDEST)
    moved_qps = np.exp(log_qps + _shift(log_qps, middle, known.qps, limit_s))
    points = np.column_stack([moved_qps, *np.exp([middle, middle - away, middle + away])])
    return tuple(CurvePoint(*map(float, point)) for point in points)


def _shift(log_qps: Floats, log_s: Floats, capacity_qps: float, limit_s: float) -> float:
    """Return by how much ln(rate) of a curve is to grow so that it meets the limit; 0 if it can't.

    A curve of evenly spaced arrivals may end, near saturation, before it has reached the limit.
    """
    above = np.flatnonzero(log_s > math.log(limit_s))
    if len(above) == 0 or above[0] == 0:
        return 0.0
    two = slice(above[0] - 1, above[0] + 1)
    met_at = float(np.interp(math.log(limit_s), log_s[two], log_qps[two]))
    return math.log(capacity_qps) - met_at

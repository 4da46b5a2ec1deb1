"""Which configuration is the best for each answer, and whether that is more than noise. Pure."""

import math
from collections.abc import Sequence

from mlbench.bench.sweep.standing import Standing, Winner
from mlbench.outcomes import Answer
from mlbench.search.plan import AnswerKey
from mlbench.stats.intervals import NORMAL95
from mlbench.stats.paired import Ratio, paired_ratio

_CONFIDENCE = 0.95
_FEWEST_ROUNDS = 3  # in common, below which an interval of a ratio says nothing
_MOST_LOG = 10.0  # of a ratio's half-width: a factor of 22,000 is as good as any


def find_winners(standings: Sequence[Standing]) -> dict[AnswerKey, Winner]:
    """Return the winner of each answer that some configuration has a rate for."""
    keys = dict.fromkeys(key for one in standings for key in one.answer_by_key)
    found = {key: _winner(key, standings) for key in keys}
    return {key: winner for key, winner in found.items() if winner is not None}


def _winner(key: AnswerKey, standings: Sequence[Standing]) -> Winner | None:
    ranked = _ranked(key, [one for one in standings if _rate(one, key)])
    if not ranked:
        return None
    best, *others = ranked
    if not others:
        return Winner(best.name)
    ratio, paired = _ratio(key, best, others[0], _CONFIDENCE)
    # Bonferroni: the best of many is ahead of one of them by chance more often than of one alone.
    strict = 1 - (1 - _CONFIDENCE) / len(others)
    sure = all(_ratio(key, best, other, strict)[0].low > 1 for other in others)
    return Winner(best.name, others[0].name, ratio, paired, sure)


def _ranked(key: AnswerKey, rated: Sequence[Standing]) -> list[Standing]:
    """Return the best first; what lost a race may have been measured in quicker minutes: last."""
    if not rated:
        return []
    most = max(rated, key=lambda one: len(one.rates.get(key, {})))
    return sorted(
        rated, key=lambda one: (key in one.lost, -_ratio(key, one, most, _CONFIDENCE)[0].ratio)
    )


def _rate(standing: Standing, key: AnswerKey) -> Answer | None:
    """Return the answer, if its capacity is known."""
    answer = standing.answer_by_key.get(key)
    return answer if answer and answer.capacity_qps else None


def _ratio(key: AnswerKey, a: Standing, b: Standing, confidence: float) -> tuple[Ratio, bool]:
    """Return the capacity of A over that of B, and whether it is from common rounds."""
    rates_a, rates_b = a.rates.get(key, {}), b.rates.get(key, {})
    if len(rates_a.keys() & rates_b.keys()) >= _FEWEST_ROUNDS:
        return paired_ratio(rates_b, rates_a, confidence), True
    return _unpaired(a.answer_by_key[key], b.answer_by_key[key], confidence), False


def _unpaired(a: Answer, b: Answer, confidence: float) -> Ratio:
    """Return the ratio from both intervals, as if their errors had nothing in common."""
    from scipy.special import ndtri  # SciPy takes 0.1 s to import

    error = math.hypot(_log_error(a), _log_error(b))
    ratio = (a.capacity_qps or 1.0) / (b.capacity_qps or 1.0)
    factor = math.exp(min(float(ndtri(0.5 + confidence / 2)) * error, _MOST_LOG))
    return Ratio(ratio, ratio / factor, ratio * factor, 0)


def _log_error(answer: Answer) -> float:
    """Return the standard error of ln(capacity); infinite where it may be 0."""
    low, high = answer.capacity_ci95 or (0.0, 0.0)
    return math.log(high / low) / (2 * NORMAL95) if low > 0 and high > 0 else math.inf

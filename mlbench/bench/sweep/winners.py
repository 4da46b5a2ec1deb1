"""Which configuration is the best for each answer, and whether that is more than noise. Pure."""

from collections.abc import Sequence

from mlbench.bench.rates import ratio_of
from mlbench.bench.sweep.standing import Standing, Winner
from mlbench.search.plan import AnswerKey
from mlbench.stats.paired import Ratio

_CONFIDENCE = 0.95


def find_winners(standings: Sequence[Standing]) -> dict[AnswerKey, Winner]:
    """Return the winner of each answer that some configuration has a rate for."""
    keys = dict.fromkeys(key for one in standings for key in one.answer_by_key)
    found = {key: _winner(key, standings) for key in keys}
    return {key: winner for key, winner in found.items() if winner is not None}


def _winner(key: AnswerKey, standings: Sequence[Standing]) -> Winner | None:
    ranked = _ranked(key, [one for one in standings if one.rate(key).qps])
    if not ranked:
        return None
    best, *others = ranked
    if not others:
        return Winner(best.name)
    # Bonferroni: the best of many is ahead of one of them by chance more often than of one alone.
    strict = 1 - (1 - _CONFIDENCE) / len(others)
    sure = all(_lead(key, best, other, strict).low > 1 for other in others)
    return Winner(best.name, others[0].name, _lead(key, best, others[0]), sure)


def _ranked(key: AnswerKey, rated: Sequence[Standing]) -> list[Standing]:
    """Return the best first; what lost a race may have been measured in quicker minutes: last."""
    if not rated:
        return []
    most = max(rated, key=lambda one: len(one.rate(key).rounds))
    return sorted(rated, key=lambda one: (key in one.lost, -_lead(key, one, most).ratio))


def _lead(key: AnswerKey, a: Standing, b: Standing, confidence: float = _CONFIDENCE) -> Ratio:
    """Return the capacity of A over that of B."""
    return ratio_of(b.rate(key), a.rate(key), confidence)

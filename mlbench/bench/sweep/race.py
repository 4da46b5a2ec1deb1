"""A race: which configurations surely lose against the best so far. Pure.

For each answer its contenders are compared with the leader, round by round. Who loses for certain
is out, and who is left is measured more: Hoeffding races (Maron and Moore, Advances in Neural
Information Processing Systems 6 (1993), 59), with Student's interval of the paired differences in
place of Hoeffding's bound, as F-Race does with ranks (Birattari et al., GECCO (2002), 11).

The winner must not be out by chance. It is compared with every other contender, and looked at again
and again; each comparison has its part of a small probability (Bonferroni's inequality), and those
of later looks have smaller parts, whose sum over all looks is bounded: 1 / k (k + 1) of it at the
k-th look, which sums to 1. Of three rounds a variance is hardly known; but those of many contenders
are much alike, and lend to each other (`mlbench.stats.moderated`).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from mlbench.bench.rates import FEWEST_ROUNDS, LogRates
from mlbench.stats.correlation import effective_size
from mlbench.stats.moderated import moderated
from mlbench.stats.paired import paired_ratio, student_quantile

_MISTAKE = 0.05
"""The probability that the winner of an answer is ever out, if differences are normal."""
_LEAST_SIZE = 1.5  # independent rounds, where neighbours are alike; half a degree of freedom
_CONFIDENCE = 0.95  # of contenders that are as good as equal


@dataclass(frozen=True)
class Contest:
    """How the race for one answer stands.

    `out`: who surely loses, and against whom. `is_over`: nobody is left but the leader, or those
    left are as good as equal.
    """

    leader: str | None = None
    out: Mapping[str, str] = field(default_factory=dict)
    is_over: bool = False


def contest(
    rates: Mapping[str, LogRates], entrants: int, precision: float, hopeless: frozenset[str]
) -> Contest:
    """Return how the race stands among the contenders for one answer.

    `rates`: for each of them, ln(capacity) by round; none for one of which no rate is known.
    `entrants`: how many there were. `precision`: a lead of less is as good as none. `hopeless`:
    contenders that no rate meets the limit for, which lose against any that has one.
    """
    rated = {name: own for name, own in rates.items() if own and name not in hopeless}
    if not rated:
        return Contest(is_over=rates.keys() <= hopeless)
    leader = _leader(rated)
    others = {name: own for name, own in rated.items() if name != leader}
    behind = _surely_behind(others, rated[leader], entrants)
    out = dict.fromkeys([*(hopeless & rates.keys()), *behind], leader)
    leads = [_possible_lead(own, rated[leader]) for name, own in others.items() if name not in out]
    waiting = rates.keys() - rated.keys() - hopeless
    return Contest(leader, out, not waiting and all(lead <= 1 + precision for lead in leads))


def _leader(rated: Mapping[str, LogRates]) -> str:
    """Return who is ahead, by the rounds that each has in common with the one that has the most."""
    most = max(rated.values(), key=len)
    return max(rated, key=lambda name: _lead(rated[name], most))


def _lead(own: LogRates, other: LogRates) -> float:
    """Return by how much ln(capacity) is above that of another, in common rounds if there are."""
    common = own.keys() & other.keys()
    if not common:
        return _mean(own.values()) - _mean(other.values())
    return _mean(own[number] - other[number] for number in common)


def _mean(values: Iterable[float]) -> float:
    return math.fsum(found := list(values)) / len(found)


def _surely_behind(others: Mapping[str, LogRates], leading: LogRates, entrants: int) -> list[str]:
    """Return whose differences from the leader are above 0 for certain."""
    leads = {}
    for name, own in others.items():
        common = own.keys() & leading.keys()
        if len(common) >= FEWEST_ROUNDS:
            leads[name] = np.array([leading[number] - own[number] for number in sorted(common)])
    sizes = {name: max(effective_size(lead), _LEAST_SIZE) for name, lead in leads.items()}
    variances = moderated(
        [float(lead.var(ddof=1)) for lead in leads.values()], [n - 1 for n in sizes.values()]
    )
    found = []
    for (name, lead), known in zip(leads.items(), variances, strict=True):
        look = len(lead) - FEWEST_ROUNDS + 1
        chance = _MISTAKE / max(entrants - 1, 1) / (look * (look + 1))
        error = math.sqrt(known.variance / sizes[name])
        if lead.mean() > student_quantile(1 - chance, known.dof) * error:
            found.append(name)
    return found


def _possible_lead(own: LogRates, leading: LogRates) -> float:
    """Return the ratio of the leader to this one that is still possible: its upper end."""
    if not own.keys() & leading.keys():
        return math.inf
    return paired_ratio(own, leading, _CONFIDENCE).high

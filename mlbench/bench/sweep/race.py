"""A race: which configurations surely lose against the best so far. Pure.

For each answer its contenders are compared with the leader, round by round. Who loses for certain
is out, and who is left is measured more: Hoeffding races (Maron and Moore, Advances in Neural
Information Processing Systems 6 (1993), 59), with Student's interval of the paired differences in
place of Hoeffding's bound, as F-Race does with ranks (Birattari et al., GECCO (2002), 11).

The winner must not be out by chance. It is compared with every other contender, and looked at again
and again; each comparison has its part of a small probability (Bonferroni's inequality), and those
of later looks have smaller parts, whose sum over all looks is bounded: 1 / k (k + 1) of it at the
k-th look, which sums to 1.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mlbench.bench.sweep.standing import LogRates
from mlbench.stats.paired import paired_ratio

_MISTAKE = 0.05
"""The probability that the winner of an answer is ever out, if differences are normal."""
_FIRST_LOOK = 3  # rounds: with two, one degree of freedom hardly ever tells
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
    out = dict.fromkeys(hopeless & rates.keys(), leader)
    leads = []
    for name, own in rated.items():
        if name == leader:
            continue
        if _surely_behind(own, rated[leader], entrants):
            out[name] = leader
        else:
            leads.append(_possible_lead(own, rated[leader]))
    waiting = rates.keys() - rated.keys() - hopeless
    is_over = not waiting and all(lead <= 1 + precision for lead in leads)
    return Contest(leader, out, is_over)


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


def _surely_behind(own: LogRates, leading: LogRates, entrants: int) -> bool:
    common = len(own.keys() & leading.keys())
    look = common - _FIRST_LOOK + 1
    if look < 1:
        return False
    chance = _MISTAKE / max(entrants - 1, 1) / (look * (look + 1))
    return paired_ratio(own, leading, 1 - 2 * chance).low > 1


def _possible_lead(own: LogRates, leading: LogRates) -> float:
    """Return the ratio of the leader to this one that is still possible: its upper end."""
    if not own.keys() & leading.keys():
        return math.inf
    return paired_ratio(own, leading, _CONFIDENCE).high

"""How an answer of B stands to that of A: a ratio with its interval, and the verdict. Pure."""

import math
from dataclasses import dataclass
from typing import Literal

from mlbench.bench.compare.side import AnswerKey, Rate
from mlbench.contracts.findings import Finding
from mlbench.stats.paired import Ratio, paired_ratio

Verdict = Literal["faster", "slower", "no difference", "undecided"]

DEFAULT_MARGIN = 0.03
_FEWEST_ROUNDS = 3  # in common; two give an interval of 12.7 standard errors
_LARGEST = 700.0  # a float holds exp of that
_NOTHING = Ratio(math.nan, 0.0, math.inf, 0)


@dataclass(frozen=True)
class Change:
    """One answer on both sides: `ratio` of B over A, with its 95 % interval, and the verdict.

    The ratio is NaN where nothing is known of it.
    """

    key: AnswerKey
    a: Rate
    b: Rate
    ratio: Ratio
    verdict: Verdict
    findings: tuple[Finding, ...] = ()

    @property
    def is_paired(self) -> bool:
        """Whether both sides were measured in the same rounds."""
        return self.ratio.rounds > 0

    def slower_than(self, fraction: float) -> bool | None:
        """Return whether B is slower by more than a fraction; None where it cannot be told."""
        least = 1 - fraction
        if self.ratio.high < least:
            return True
        return None if self.ratio.low < least else False


def compare_rates(
    key: AnswerKey, a: Rate, b: Rate, margin: float, *, same_sweep: bool, confidence: float = 0.95
) -> Change:
    """Return how a rate of B stands to that of A, round by round where they share a sweep's rounds.

    `margin`: the largest relative difference that does not matter.
    """
    if a.qps is None or b.qps is None:
        why = a.why if a.qps is None else b.why
        return Change(key, a, b, _NOTHING, "undecided", (Finding("no_capacity", {"why": why}),))
    if not a.qps or not b.qps:
        return _with_unmet(key, a, b)
    common = len(a.rounds.keys() & b.rounds.keys()) if same_sweep else 0
    if common >= _FEWEST_ROUNDS:
        ratio = paired_ratio(a.rounds, b.rounds, confidence)
        return Change(key, a, b, ratio, verdict_of(ratio, margin))
    ratio = unpaired_ratio(a, b)
    few = (Finding("few_common_rounds", {"rounds": common}),) if same_sweep else ()
    return Change(key, a, b, ratio, verdict_of(ratio, margin), few)


def verdict_of(ratio: Ratio, margin: float) -> Verdict:
    """Return what an interval says: first whether any difference in it is within the margin."""
    if 1 - margin <= ratio.low and ratio.high <= 1 + margin:
        return "no difference"
    if ratio.low > 1:
        return "faster"
    return "slower" if ratio.high < 1 else "undecided"


def unpaired_ratio(a: Rate, b: Rate) -> Ratio:
    """Return the ratio of two capacities that were measured each on its own.

    Both must be above 0. The distances of the ends from the middle, in logarithms, are added as
    independent errors are (the method of variance estimates recovery; Zou and Donner, Statistics in
    Medicine 27 (2008), 1693).
    """
    a_qps, b_qps = a.qps or math.nan, b.qps or math.nan
    ratio = b_qps / a_qps
    below = math.hypot(_log(b_qps, b.low), _log(a.high, a_qps))
    above = math.hypot(_log(b.high, b_qps), _log(a_qps, a.low))
    return Ratio(ratio, ratio * math.exp(-below), ratio * _exp(above), 0)


def _log(above: float, below: float) -> float:
    return math.inf if not below or math.isinf(above) else max(math.log(above / below), 0.0)


def _exp(value: float) -> float:
    return math.inf if value > _LARGEST else math.exp(value)


def _with_unmet(key: AnswerKey, a: Rate, b: Rate) -> Change:
    """Return the change where a side meets the limit at no rate; its capacity is 0."""
    if not (_is_sure(a) and _is_sure(b)):
        return Change(key, a, b, _NOTHING, "undecided", (Finding("limit_may_be_unmet"),))
    if b.qps:
        never = Ratio(math.inf, math.inf, math.inf, 0)
        return Change(key, a, b, never, "faster", (Finding("limit_unmet_by_a"),))
    if a.qps:
        return Change(key, a, b, Ratio(0.0, 0.0, 0.0, 0), "slower", (Finding("limit_unmet_by_b"),))
    return Change(
        key, a, b, Ratio(1.0, 1.0, 1.0, 0), "no difference", (Finding("limit_unmet_by_both"),)
    )


def _is_sure(rate: Rate) -> bool:
    """Whether it is certain that the limit is met at some rate, or that it is met at none."""
    return rate.low > 0 if rate.qps else rate.high == 0

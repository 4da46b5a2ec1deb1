"""How an answer of B stands to that of A: a ratio with its interval, and the verdict. Pure."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from mlbench.bench.rates import FEWEST_ROUNDS, Rate, ratio_of
from mlbench.contracts.findings import Finding
from mlbench.search.plan import AnswerKey
from mlbench.stats.paired import Ratio

Verdict = Literal["faster", "slower", "no difference", "undecided"]

DEFAULT_MARGIN = 0.03
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

    def is_decided(self, margin: float) -> bool:
        """Return whether more rounds would tell no more.

        A difference that is there for certain, but looks smaller than the margin, may still turn
        out not to matter.
        """
        if self.verdict in ("faster", "slower"):
            return not 1 - margin <= self.ratio.ratio <= 1 + margin
        return self.verdict == "no difference"

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
    if not same_sweep:  # rounds of the same number are not the same rounds
        a, b = replace(a, rounds={}), replace(b, rounds={})
    ratio, common = ratio_of(a, b, confidence), a.common_rounds(b)
    too_few = same_sweep and common < FEWEST_ROUNDS
    findings = (Finding("few_common_rounds", {"rounds": common}),) if too_few else ()
    return Change(key, a, b, ratio, verdict_of(ratio, margin), findings)


def verdict_of(ratio: Ratio, margin: float) -> Verdict:
    """Return what an interval says: first whether any difference in it is within the margin."""
    if 1 - margin <= ratio.low and ratio.high <= 1 + margin:
        return "no difference"
    if ratio.low > 1:
        return "faster"
    return "slower" if ratio.high < 1 else "undecided"


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

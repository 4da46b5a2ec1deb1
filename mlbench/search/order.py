"""Answers for several limits belong together: a wider limit cannot lower the rate."""

from collections.abc import Sequence
from dataclasses import replace

from mlbench.contracts.findings import Finding
from mlbench.estimation.estimate import Estimate
from mlbench.outcomes import UNMET, Answer


def in_order(estimates: Sequence[Estimate | None]) -> list[Estimate | None]:
    """Return the estimates of one arrival kind, given and returned by rising limit, in order.

    Where the rate of a wider limit is below a narrower one's, one of the two is off by chance: the
    less certain takes the rate and the interval of the other. Where only the ends of the intervals
    are out of order, they are cut to what both allow. None and unmet limits stay as they are.
    """
    ordered = list(estimates)
    for _ in ordered:
        for i in range(len(ordered) - 1):
            ordered[i : i + 2] = _pair(ordered[i], ordered[i + 1])
    return ordered


def _pair(
    narrow: Estimate | None, wide: Estimate | None
) -> tuple[Estimate | None, Estimate | None]:
    if narrow is None or wide is None or not narrow.qps or not wide.qps:
        return narrow, wide
    if narrow.qps <= wide.qps:
        # The same holds for the ends of the intervals.
        high, low = min(narrow.high, wide.high), max(narrow.low, wide.low)
        return replace(narrow, high=high), replace(wide, low=low)
    if narrow.half_width <= wide.half_width:
        return narrow, _taken(wide, narrow, Finding("from_narrower_limit", {"own_qps": wide.qps}))
    return _taken(narrow, wide, Finding("from_wider_limit", {"own_qps": narrow.qps})), wide


def _taken(loser: Estimate, winner: Estimate, found: Finding) -> Estimate:
    return replace(
        loser,
        qps=winner.qps,
        low=winner.low,
        high=winner.high,
        findings=(*loser.findings, found),
    )


def rising(answers: Sequence[Answer]) -> list[Answer]:
    """Return the answers of one arrival kind, given by rising limit, with rates that never fall.

    The trial that a narrower limit's rate rests on met the wider limit too.
    """
    ordered = list(answers)
    for i in range(1, len(ordered)):
        narrow, wide = ordered[i - 1 : i + 1]
        if narrow.qps > wide.qps:
            # The first finding of an unmet limit says why it is unmet.
            findings = wide.findings[1:] if wide.qps == UNMET else wide.findings
            ordered[i] = replace(
                wide, qps=narrow.qps, trial=narrow.trial, findings=findings, no_verdict=False
            )
    return ordered

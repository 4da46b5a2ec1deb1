"""Puts the answers of several limits in order: a wider limit cannot lower the rate."""

from collections.abc import Sequence
from dataclasses import replace

from mlbench.contracts.findings import Finding
from mlbench.estimation.estimate import Estimate
from mlbench.outcomes import Answer


def in_order(estimates: Sequence[Estimate | None]) -> list[Estimate | None]:
    """Return the estimates of one arrival kind in order; given and returned by rising limit.

    Where the rate of a wider limit is below that of a narrower one, one of the two is wrong by
    chance: the less certain takes the rate and the interval of the other. Where only the ends of
    the intervals are out of order, they are cut to what both allow. None, and estimates that no
    rate meets the limit, stay as they are.
    """
    ordered = list(estimates)
    for _ in ordered:
        for i in range(len(ordered) - 1):
            ordered[i : i + 2] = _pair(ordered[i], ordered[i + 1])
    return ordered


def _pair(
    narrow: Estimate | None, wide: Estimate | None
) -> tuple[Estimate | None, Estimate | None]:
    if narrow is None or wide is None or narrow.qps is None or wide.qps is None:
        return narrow, wide
    if narrow.qps <= wide.qps:
        high, low = min(narrow.high, wide.high), max(narrow.low, wide.low)
        return replace(narrow, high=high), replace(wide, low=low)
    if narrow.half_width <= wide.half_width:
        return narrow, _replaced(
            wide, narrow, Finding("from_narrower_limit", {"own_qps": wide.qps})
        )
    return _replaced(narrow, wide, Finding("from_wider_limit", {"own_qps": narrow.qps})), wide


def _replaced(uncertain: Estimate, certain: Estimate, found: Finding) -> Estimate:
    return replace(
        uncertain,
        qps=certain.qps,
        low=certain.low,
        high=certain.high,
        findings=(*uncertain.findings, found),
    )


def rising(answers: Sequence[Answer]) -> list[Answer]:
    """Return the answers of one arrival kind, given by rising limit, with rates that do not fall.

    A wider limit takes a higher rate from a narrower one: that trial met the wider limit too.
    """
    ordered = list(answers)
    for i in range(1, len(ordered)):
        narrow, wide = ordered[i - 1 : i + 1]
        if narrow.qps is not None and (wide.qps is None or narrow.qps > wide.qps):
            # The first finding of an unmet limit says why it is unmet.
            findings = wide.findings[1:] if wide.qps is None else wide.findings
            ordered[i] = replace(
                wide, qps=narrow.qps, trial=narrow.trial, findings=findings, no_verdict=False
            )
    return ordered

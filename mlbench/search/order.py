"""Puts the answers of several limits in order: a wider limit cannot lower the rate."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mlbench.contracts.findings import Finding
from mlbench.estimation.estimate import Estimate
from mlbench.outcomes import Answer

_LEAST_ERROR = 1e-6  # of ln(rate), so that the weight of an exact estimate is finite


def in_order(estimates: Sequence[Estimate | None]) -> list[Estimate | None]:
    """Return the estimates of one arrival kind in order; given and returned by rising limit.

    Where the rate of a wider limit is below that of a narrower one, both are moved to their
    weighted mean: isotonic regression, with the inverse variances as weights (Barlow et al.,
    Statistical Inference under Order Restrictions (1972)). Their intervals move along. Then ends of
    intervals that are out of order are cut to what all allow. None, and estimates that no rate
    meets the limit, stay as they are.
    """
    from scipy.optimize import isotonic_regression  # takes 0.2 s to import

    ordered = list(estimates)
    known = [(place, e, e.qps) for place, e in enumerate(estimates) if e and e.qps]
    if not known:
        return ordered
    weights = [(max(one.error, _LEAST_ERROR) * qps) ** -2.0 for _, one, qps in known]
    rates = isotonic_regression([qps for *_, qps in known], weights=weights).x
    moved = [_moved(one, qps, to) for (_, one, qps), to in zip(known, rates, strict=True)]
    lows = np.maximum.accumulate([one.low for one in moved])
    highs = np.minimum.accumulate([one.high for one in moved[::-1]])[::-1]
    for (place, *_), one, low, high in zip(known, moved, lows, highs, strict=True):
        ordered[place] = replace(one, low=float(low), high=float(high))
    return ordered


def _moved(known: Estimate, own_qps: float, qps: float) -> Estimate:
    """Return an estimate, with its own rate `own_qps`, moved to another rate."""
    factor = qps / own_qps
    if factor == 1:
        return known
    return replace(
        known,
        qps=float(qps),
        low=known.low * factor,
        high=known.high * factor,
        findings=(*known.findings, Finding("put_in_order", {"own_qps": own_qps})),
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

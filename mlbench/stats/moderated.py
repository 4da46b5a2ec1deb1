"""Variances of many small samples, each made steadier by the others."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_FEWEST = 4  # variances, of which fewer do not tell how much they differ
_MOST_DOF = 12.0  # lent by the others, so that an unlike one is found out by a dozen of its own
_LEAST = 1e-12  # so that the logarithm of a variance is finite


@dataclass(frozen=True)
class Moderated:
    """A variance, and with how many degrees of freedom it is known."""

    variance: float
    dof: float


def moderated(variances: Sequence[float], dofs: Sequence[float]) -> list[Moderated]:
    """Return each sample variance drawn towards what all have in common.

    Variances are taken to be drawn from a scaled inverse chi-squared distribution, whose scale and
    degrees of freedom are estimated from their logarithms (Smyth, Stat. Appl. Genet. Mol. Biol. 3
    (2004), 3): the more alike they are, the more they lend to each other, up to 12 degrees of
    freedom. `dofs`: those of each, above 0.
    """
    own = np.maximum(np.asarray(variances, np.float64), _LEAST)
    dof = np.asarray(dofs, np.float64)
    lent = _lent(own, dof) if len(own) >= _FEWEST else None
    if lent is None:
        return [Moderated(float(v), float(d)) for v, d in zip(own, dof, strict=True)]
    mixed = (dof * own + lent.dof * lent.variance) / (dof + lent.dof)
    return [Moderated(float(v), float(d + lent.dof)) for v, d in zip(mixed, dof, strict=True)]


def _lent(own: np.ndarray, dof: np.ndarray) -> Moderated | None:
    """Return the common variance and its degrees of freedom; None where variances differ widely."""
    from scipy.special import digamma, polygamma  # SciPy takes 0.1 s to import

    centred = np.log(own) - digamma(dof / 2) + np.log(dof / 2)
    spread = float(centred.var(ddof=1) - polygamma(1, dof / 2).mean())
    most_alike = float(polygamma(1, _MOST_DOF / 2))
    lent_dof = _MOST_DOF if spread <= most_alike else 2 * _inverse_trigamma(spread)
    if lent_dof < 1:
        return None
    scale = float(centred.mean()) + float(digamma(lent_dof / 2)) - math.log(lent_dof / 2)
    return Moderated(math.exp(scale), lent_dof)


def _inverse_trigamma(value: float) -> float:
    """Return the argument at which the trigamma function has a positive value, by Newton."""
    from scipy.special import polygamma

    x = 0.5 + 1 / value
    for _ in range(20):
        trigamma = float(polygamma(1, x))
        x += trigamma * (1 - trigamma / value) / float(polygamma(2, x))
    return x

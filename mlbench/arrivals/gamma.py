"""Bursty arrivals: independent gaps that vary more, or less, than a Poisson process's."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from mlbench.arrivals.kind import ArrivalSettings, Floats, FromGaps

DEFAULT_CV = 2.0
"""Clearly burstier than a Poisson process, whose gaps have a coefficient of variation of 1."""


@dataclass(frozen=True)
class Gamma(FromGaps):
    """Independent gaps of a gamma distribution with coefficient of variation `cv`.

    Its shape is 1 / cv^2: 1 is the exponential distribution, more makes bursts and long pauses,
    less comes closer to equal spacing.
    """

    cv: float = DEFAULT_CV
    name: ClassVar[str] = "gamma"

    def __post_init__(self) -> None:
        if not 0 < self.cv < np.inf:
            raise ValueError(f"a coefficient of variation is above 0, not {self.cv}")

    @classmethod
    def of(cls, settings: ArrivalSettings) -> Self:
        """Make it with the coefficient of variation that was asked for."""
        return cls(settings.arrival_cv)

    def gaps(self, rng: np.random.Generator, rows: int, n: int) -> Floats:
        """Draw gamma gaps."""
        return rng.gamma(self.cv**-2, self.cv**2, (rows, n))

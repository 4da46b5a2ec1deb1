"""A Poisson process."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlbench.arrivals.kind import Floats, FromGaps


@dataclass(frozen=True)
class Exponential(FromGaps):
    """A Poisson process; a schedule is one given its count.

    That is so many sorted uniform times (Ross, Stochastic Processes, theorem 2.3.1), which are
    made without sorting: cumulated exponential gaps over their sum (Devroye, V.2).
    """

    name: ClassVar[str] = "exponential"

    def gaps(self, rng: np.random.Generator, rows: int, n: int) -> Floats:
        """Draw exponential gaps."""
        return rng.standard_exponential((rows, n))

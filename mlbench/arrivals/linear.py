"""Equally spaced arrivals."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlbench.arrivals.kind import NS_PER_S, ArrivalKind, Floats, Seed


@dataclass(frozen=True)
class Linear(ArrivalKind):
    """Equal spacing, 1 / rate."""

    name: ClassVar[str] = "linear"

    def due_ns(self, _: Seed, target_qps: float, queries: int) -> Floats:
        """Return multiples of the spacing, whose rounding does not add up."""
        return np.arange(float(queries)) * (NS_PER_S / target_qps)

    def streams(self, _: Seed, rows: int, n: int) -> Floats:
        """Return 0, 1, 2, ... in each row."""
        return np.tile(np.arange(float(n)), (rows, 1))

"""What every kind of arrivals can do: schedules for trials, and streams for the queue model.

A kind is one file here, with an object like those beside this one, and one line in the registry.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Seed = int | np.random.Generator
"""A generator is drawn from as it is; a number seeds one, where the kind is random at all."""

NS_PER_S = 1_000_000_000


class ArrivalSettings(Protocol):
    """The settings that kinds are made from."""

    @property
    def arrival_cv(self) -> float:
        """The coefficient of variation of gamma's gaps."""

    @property
    def arrival_trace(self) -> Path | None:
        """The file of a trace."""


class ArrivalKind(ABC):
    """One process behind the schedules of trials and the streams of the queue model.

    `name`: what log lines and results call it.
    """

    name: ClassVar[str]

    @abstractmethod
    def due_ns(self, seed: Seed, target_qps: float, queries: int) -> Floats:
        """Return when each query of a trial is due, float64 (queries,), sorted, in nanoseconds.

        The first is due at 0 and the last (queries - 1) / target_qps later.
        """

    @abstractmethod
    def streams(self, seed: Seed, rows: int, n: int) -> Floats:
        """Draw independent streams of arrivals at the rate 1, float64 (rows, n), each sorted."""


class FromGaps(ArrivalKind):
    """A kind that is told by the gaps between its arrivals."""

    @abstractmethod
    def gaps(self, rng: np.random.Generator, rows: int, n: int) -> Floats:
        """Draw gaps, float64 (rows, n), each row for itself; their mean in the long run is 1."""

    def due_ns(self, seed: Seed, target_qps: float, queries: int) -> Floats:
        """Return the sums of drawn gaps, stretched to the rate."""
        times, span_ns = np.zeros(queries), (queries - 1) / target_qps * NS_PER_S
        np.cumsum(self.gaps(np.random.default_rng(seed), 1, queries - 1)[0], out=times[1:])
        if times[-1] > span_ns * np.finfo(float).tiny:
            times *= span_ns / times[-1]
        else:  # a single query, or gaps of about 0, too small to stretch: the last makes up for it
            times[-1] = span_ns
        return times

    def streams(self, seed: Seed, rows: int, n: int) -> Floats:
        """Return the sums of drawn gaps."""
        gaps = self.gaps(np.random.default_rng(seed), rows, n)
        return np.cumsum(gaps, axis=1, out=gaps)

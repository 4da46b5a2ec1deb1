"""Arrivals as they were recorded somewhere."""

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from mlbench.arrivals.kind import ArrivalSettings, Floats, FromGaps
from mlbench.contracts.errors import RequestError, one_line
from mlbench.contracts.text import shown


@dataclass(frozen=True, eq=False)  # an array has no single truth value
class Trace(FromGaps):
    """The gaps of a trace in order, again and again, from a random place on.

    `own_gaps`: float64 (m,), in units of their mean.
    """

    own_gaps: Floats
    name: ClassVar[str] = "trace"

    @classmethod
    def of(cls, settings: ArrivalSettings) -> Self:
        """Read the file that was asked for.

        Raises RequestError without one, or when it does not hold two ascending times, not equal.
        """
        path = settings.arrival_trace
        if path is None:
            raise RequestError("--arrival-trace is needed for the arrivals 'trace'")
        gaps = np.diff(_read_times_s(path))
        if not gaps.any():
            raise RequestError(f"--arrival-trace {path}: all times are equal; there is no gap")
        return cls(gaps / gaps.mean())

    def gaps(self, rng: np.random.Generator, rows: int, n: int) -> Floats:
        """Draw runs of the trace, each from a place of its own."""
        m = len(self.own_gaps)
        starts = rng.integers(0, m, (rows, 1))
        runs: Floats = self.own_gaps[(starts + np.arange(n)) % m]
        return runs


def _read_times_s(path: Path) -> Floats:
    """Read times in seconds, one a line; blank lines and those that begin with # are skipped."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        raise RequestError(f"--arrival-trace {path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"--arrival-trace {path}: cannot be read ({one_line(error)})") from None
    words = [(number, line.strip()) for number, line in enumerate(lines, start=1)]
    times = [
        (number, _seconds(path, number, word))
        for number, word in words
        if word and not word.startswith("#")
    ]
    if len(times) < 2:
        raise RequestError(
            f"--arrival-trace {path}: two times or more are needed, not {len(times)}"
        )
    for (_, before), (number, now) in pairwise(times):
        if now < before:
            raise RequestError(
                f"--arrival-trace {path}:{number}: {now:.17g} comes after {before:.17g}; "
                "times must be in ascending order"
            )
    return np.array([seconds for _, seconds in times])


def _seconds(path: Path, number: int, word: str) -> float:
    try:
        seconds = float(word)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise RequestError(
            f"--arrival-trace {path}:{number}: '{shown(word)}' is not a time in seconds"
        )
    return seconds

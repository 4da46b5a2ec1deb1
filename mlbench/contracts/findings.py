"""What was found out, as values: a code that scripts match, and the figures behind it.

    Finding("too_few_queries", {"completed": 60, "needed": 100, "percentile": 99.0})

The sentence that people read is made last, in `mlbench/report/sentences.py`, which has a line for
each code. Figures are named as everywhere: seconds end in `_s`, fractions in `_fraction`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Figure = float | int | str | None
Figures = Mapping[str, Figure]


@dataclass(frozen=True)
class Finding:
    """One thing that was found about a trial, an answer, a run or the host."""

    code: str
    figures: Figures = field(default_factory=dict)

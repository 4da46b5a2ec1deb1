"""Latency over the time of a trial, from the times of its queries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlbench.report.html import words
from mlbench.report.html.charts.drawing import (
    COLOURS,
    Size,
    drawn,
    few_rates,
    log_seconds,
    series_colour,
    span,
)
from mlbench.report.html.content import Chart, Column, Key, Table

_MOST_PARTS, _PART_QUERIES = 60, 20  # of a trial, so that each has a median and a 90th percentile
_LEAST_S = 1e-6
_NAMES = ("median", "90th percentile", "slowest query")


@dataclass(frozen=True)
class _Parts:
    """Equal parts of a trial: when each is, and three figures of its latencies in seconds."""

    at_s: Sequence[float]
    figures: Sequence[Sequence[float]]


def moments_chart(
    due_s: NDArray[np.float64], latency_s: NDArray[np.float64], title: str, name: str
) -> Chart | None:
    """Return latency by due time, both float64 (n,); None where there are too few queries."""
    parts = _parts(due_s, latency_s) if len(due_s) else None
    if parts is None or len(parts.at_s) < 2:
        return None
    says = "Latency by when a query was due, in parts of the trial."
    slowest = max(parts.figures[2])
    label = f"Chart: {says} The slowest took {words.seconds(slowest)}. A table follows."

    def draw(axes: Any, size: Size) -> None:
        _draw(axes, size, parts)

    wide, narrow = drawn(draw, name, label)
    keys = [
        Key(_NAMES[0], "line", series_colour(0)),
        Key(_NAMES[1], "dashes", series_colour(1)),
        Key(_NAMES[2], "triangle", series_colour(2)),
    ]
    rows = [
        (f"{at_s:.2f}", *map(words.seconds, row))
        for at_s, *row in zip(parts.at_s, *parts.figures, strict=True)
    ]
    columns = [Column("At, s", "number"), *(Column(one, "number") for one in _NAMES)]
    return Chart(title, says, wide, narrow, keys, Table("Each part of the trial", columns, rows))


def _parts(due_s: NDArray[np.float64], latency_s: NDArray[np.float64]) -> _Parts:
    count = int(np.clip(len(due_s) // _PART_QUERIES, 1, _MOST_PARTS))
    order = np.argsort(due_s, kind="stable")
    edges = np.linspace(due_s.min(), due_s.max(), count + 1)
    places = np.searchsorted(due_s[order], edges[1:-1])
    at_s, rows = [], []
    for number, own in enumerate(np.split(latency_s[order], places)):
        if len(own) == 0:
            continue
        at_s.append(float(edges[number] + edges[number + 1]) / 2)
        found = (*np.quantile(own, [0.5, 0.9], method="inverted_cdf"), own.max())
        rows.append([max(float(figure), _LEAST_S) for figure in found])
    return _Parts(at_s, list(zip(*rows, strict=True)))


def _draw(axes: Any, size: Size, parts: _Parts) -> None:
    median, high, slowest = parts.figures
    few_rates(axes.xaxis, size)
    axes.set_xlim(0, parts.at_s[-1] * 1.03)
    log_seconds(axes.yaxis, *span([*median, *slowest]))
    axes.set_xlabel("seconds of the trial")
    axes.set_ylabel("latency")
    axes.plot(parts.at_s, median, color=COLOURS[series_colour(0)], linewidth=2)
    axes.plot(parts.at_s, high, color=COLOURS[series_colour(1)], linewidth=1.6, ls=(0, (4, 2)))
    axes.plot(
        parts.at_s,
        slowest,
        "^",
        color=COLOURS[series_colour(2)],
        markersize=5,
        markeredgecolor=COLOURS["surface"],
    )

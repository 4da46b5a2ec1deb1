"""Percentile curves on the axis of HdrHistogram: 1 / (1 - p), logarithmic, so that tails show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlbench.report.html import words
from mlbench.report.html.charts.drawing import (
    COLOURS,
    MARKERS,
    Size,
    drawn,
    log_seconds,
    series_colour,
    span,
)
from mlbench.report.html.content import Chart, Column, Key, Table
from mlbench.report.html.facts import AnswerFacts, RunFacts, Spread

_TICKS = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999)
_MARKED = 6  # points of a curve, at least where it has them
_MOST_SERIES = 8  # in a chart; more lines cannot be told apart


@dataclass(frozen=True)
class Series:
    """A curve and its limits: (percentile, seconds), by rising percentile."""

    name: str
    points: Sequence[tuple[float, float]]
    limits: Sequence[tuple[float, float]] = ()


def series_of(name: str, spread: Spread, limits: Sequence[tuple[float, float]] = ()) -> Series:
    """Return the curve of a spread's percentiles."""
    known = [(float(key), value) for key, value in spread.items() if key not in ("mean", "max")]
    points = sorted((p, value) for p, value in known if value > 0)
    return Series(name, points, limits)


def answer_charts(runs: Sequence[RunFacts]) -> list[Chart]:
    """Return a chart for each kind of arrivals: the trial that each answer reports."""
    charts = []
    for number, kind in enumerate(dict.fromkeys(kind for run in runs for kind in run.kinds)):
        series = [one for run in runs for one in _reported(run, kind, named=len(runs) > 1)]
        title = words.arrivals_title(kind)
        says = "Latency by percentile of the trial that each answer reports."
        if chart := percentile_chart(series, title, says, f"p{number}"):
            charts.append(chart)
    return charts


def _reported(run: RunFacts, kind: str, *, named: bool) -> list[Series]:
    """Return the curves of the reported trials; one that serves several limits has them all."""
    serving: dict[tuple[float, ...], list[AnswerFacts]] = {}
    for one in run.answers:
        if one.kind == kind and one.qps:
            serving.setdefault((one.qps, *one.latency.values()), []).append(one)
    return [
        series_of(
            f"{run.name}: " * named
            + f"{words.rate(own[0].qps)} qps, limit "
            + words.listed([words.limit(one.limit_s) for one in own]),
            own[0].latency,
            [(run.percentile, one.limit_s) for one in own],
        )
        for own in serving.values()
    ]


def percentile_chart(series: Sequence[Series], title: str, says: str, name: str) -> Chart | None:
    """Return the chart of some curves; None where none has two points."""
    known = [one for one in series if len(one.points) > 1][:_MOST_SERIES]
    if not known:
        return None

    def draw(axes: Any, size: Size) -> None:
        _draw(axes, size, known)

    label = f"Chart: {title}. {says} {_tails(known)} The numbers follow in a table."
    wide, narrow = drawn(draw, name, label)
    keys = [Key(one.name, "marked", series_colour(n), n) for n, one in enumerate(known)]
    if any(one.limits for one in known):
        keys.append(Key("limit", "dashes", "limit"))
    return Chart(title, says, wide, narrow, keys, _numbers(known))


def _draw(axes: Any, size: Size, series: Sequence[Series]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    times = [value for one in series for _, value in one.points]
    limits = sorted({limit for one in series for limit in one.limits})
    furthest = max(p for one in series for p, _ in one.points)
    axes.set_xscale("log")
    axes.set_xlim(1, _place(furthest) * 1.15)
    log_seconds(axes.yaxis, *span([*times, *(at_s for _, at_s in limits)]))
    ticks = [p for p in _TICKS if p <= furthest]
    axes.xaxis.set_major_locator(FixedLocator([_place(p) for p in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_ticklabels([f"{p:g}%" for p in ticks])
    axes.set_xlabel("percentile" if size.is_narrow else "percentile, on a scale of 1 / (1 - p)")
    axes.set_ylabel("latency")
    for p, at_s in limits:
        axes.plot([1, _place(p)], [at_s, at_s], color=COLOURS["limit"], lw=1.2, ls=(0, (4, 3)))
        axes.plot(_place(p), at_s, "|", color=COLOURS["limit"], markersize=10, mew=1.5)
    for number, one in enumerate(series):
        every = max(len(one.points) // _MARKED, 1)
        axes.plot(
            [_place(p) for p, _ in one.points],
            [value for _, value in one.points],
            color=COLOURS[series_colour(number)],
            marker=MARKERS[number % len(MARKERS)],
            markevery=(number * every // len(series), every),
            markersize=6,
            markeredgecolor=COLOURS["surface"],
            linewidth=1.8,
        )


def _place(percentile: float) -> float:
    return 1 / (1 - percentile / 100)


def _tails(series: Sequence[Series]) -> str:
    ends = [f"{one.name}: {words.seconds(one.points[-1][1])}" for one in series]
    return f"At the highest percentile known: {'; '.join(ends)}."


def _numbers(series: Sequence[Series]) -> Table:
    at = [50.0, 80.0, 90.0, 95.0, 99.0, 99.9]
    columns = [Column("Curve"), *(Column(f"{p:g} %", "number") for p in at)]
    rows = [(one.name, *(words.seconds(_at_or_above(one.points, p)) for p in at)) for one in series]
    return Table("Percentiles of these curves", columns, rows)


def _at_or_above(points: Sequence[tuple[float, float]], percentile: float) -> float | None:
    return next((value for p, value in points if p >= percentile - 1e-9), None)

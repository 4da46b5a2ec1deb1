"""The grid of a sweep: capacity by batch size, a line for each combination of other options."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlbench.report.html import words
from mlbench.report.html.charts.drawing import COLOURS, MARKERS, Size, drawn, series_colour
from mlbench.report.html.content import Chart, Column, Key, Table
from mlbench.report.html.sweep_facts import (
    AnswerKey,
    CellFacts,
    ConfigurationFacts,
    SweepFacts,
)

_PREFERRED = ("batch_size", "workers_per_device", "threads")  # along the axis, if it is varied
_MOST_LINES = 12
_APART = 0.07  # of the distance of two values: by which lines keep apart, so that intervals show
_HEADROOM = 1.08


@dataclass(frozen=True)
class _Line:
    """A line of the chart: (place on the axis, configuration), by place."""

    name: str
    points: Sequence[tuple[int, ConfigurationFacts]]


def grid_chart(sweep: SweepFacts, key: AnswerKey, name: str) -> Chart | None:
    """Return the chart of one answer; None where no configuration has a capacity for it."""
    some = [one for one in sweep.configurations if _capacity(one, key) is not None]
    if not some:
        return None
    axis = _axis(sweep)
    values = sweep.values(axis) if axis else [one.name for one in some]
    lines = _lines(sweep, some, axis, values)
    kind, limit_s = key
    title = f"Within {words.limit(limit_s)}, {words.arrivals_words(kind)} arrivals"
    label = _label(axis)
    says = f"Estimated capacity by {label}, with 95 % intervals."
    best = max(some, key=lambda one: _capacity(one, key) or 0.0)
    highest = f"Highest: {best.name}, {words.estimate(_capacity(best, key))} qps."

    def draw(axes: Any, size: Size) -> None:
        _draw(axes, size, lines, key, values)
        axes.set_xlabel(label)

    wide, narrow = drawn(draw, name, f"Chart: {title}. {says} {highest} A table follows.")
    keys = [
        Key(line.name, "marked", series_colour(n), n) for n, line in enumerate(lines) if line.name
    ]
    return Chart(title, says, wide, narrow, keys, _numbers(some, key))


def _label(axis: str) -> str:
    return {"batch_size": "largest batch", "workers_per_device": "workers per device"}.get(
        axis, axis.replace("_", " ") or "configuration"
    )


def _axis(sweep: SweepFacts) -> str:
    """Return the option along the axis; empty where nothing is varied but names."""
    varied = sweep.varied
    numeric = [name for name in varied if any(name in one.numbers for one in sweep.configurations)]
    preferred = [name for name in _PREFERRED if name in varied]
    return next(iter([*preferred, *numeric, *varied]), "")


def _lines(
    sweep: SweepFacts, some: Sequence[ConfigurationFacts], axis: str, values: Sequence[str]
) -> list[_Line]:
    if not axis:
        return [_Line("", list(enumerate(some)))]
    others = [name for name in sweep.varied if name != axis]
    found: dict[str, list[tuple[int, ConfigurationFacts]]] = {}
    for one in some:
        name = ", ".join(f"{_label(other)} {one.options.get(other, '-')}" for other in others)
        found.setdefault(name, []).append((values.index(one.options.get(axis, "")), one))
    return [
        _Line(name, sorted(points, key=lambda point: point[0])) for name, points in found.items()
    ][:_MOST_LINES]


def _draw(
    axes: Any, size: Size, lines: Sequence[_Line], key: AnswerKey, values: Sequence[str]
) -> None:
    for number, line in enumerate(lines):
        offset = _APART * (number - (len(lines) - 1) / 2)
        at = [place + offset for place, _ in line.points]
        known = [one.answers[key] for _, one in line.points]
        middle = [one.capacity_qps or 0.0 for one in known]
        colour = COLOURS[series_colour(number)]
        below = [max(m - (one.low_qps or 0.0), 0.0) for m, one in zip(middle, known, strict=True)]
        above = [max(_high(one) - m, 0.0) for m, one in zip(middle, known, strict=True)]
        axes.errorbar(
            at,
            middle,
            yerr=[below, above],
            color=colour,
            ecolor=colour,
            elinewidth=1.6,
            capsize=3,
            linewidth=1.6,
            marker=MARKERS[number % len(MARKERS)],
            markersize=7,
            markeredgecolor=COLOURS["surface"],
        )
    axes.set_ylim(0, axes.get_ylim()[1] * _HEADROOM)
    axes.set_xlim(-0.5, len(values) - 0.5)
    axes.set_xticks(range(len(values)))
    shown = [value if len(value) <= _WORD else f"{value[: _WORD - 1]}…" for value in values]
    crowded = sum(map(len, shown)) > (_ROOM_NARROW if size.is_narrow else _ROOM_WIDE)
    axes.set_xticklabels(shown, rotation=35 if crowded else 0, ha="right" if crowded else "center")
    axes.set_ylabel("queries per second")


_WORD, _ROOM_NARROW, _ROOM_WIDE = 18, 26, 60  # letters: of a label, and of all beside each other


def _high(cell: CellFacts) -> float:
    return cell.high_qps if cell.high_qps is not None else cell.capacity_qps or 0.0


def _capacity(one: ConfigurationFacts, key: AnswerKey) -> float | None:
    return one.answers[key].capacity_qps if key in one.answers else None


def _numbers(some: Sequence[ConfigurationFacts], key: AnswerKey) -> Table:
    columns = [
        Column("Configuration"),
        Column("Capacity, qps", "number"),
        Column("95 % interval", "range"),
        Column("Rate met, qps", "number"),
    ]
    rows = [
        (
            one.name,
            words.estimate(cell.capacity_qps),
            words.interval(cell.low_qps, cell.high_qps),
            words.rate(cell.qps),
        )
        for one in some
        for cell in [one.answers[key]]
    ]
    return Table("Configurations of this chart", columns, rows)

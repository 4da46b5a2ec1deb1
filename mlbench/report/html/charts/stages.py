"""Where the time of a query goes, by rate: service, waiting, and what the generator adds."""

from collections.abc import Sequence
from statistics import median
from typing import Any

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
from mlbench.report.html.content import Chart, Column, Key, Shape, Table
from mlbench.report.html.facts import STAGES, RunFacts, TrialFacts

_LEAST_S = 1e-6  # what is shorter is drawn as long: clocks are no finer, and 0 has no logarithm
_ROOM = 1.12  # of the highest capacity, up to which trials are shown
_ALIKE = 1.05  # trials whose rates differ by less than this factor are one point: their median
_MARKS: dict[str, tuple[str, Shape]] = {
    "service": ("o", "circle"),
    "waiting": ("^", "triangle"),
    "generator": ("D", "jewel"),
}
_WORDS = {
    "service": "service (start to done)",
    "waiting": "waiting (due to start)",
    "generator": "of that, added by the load generator",
}
_PERCENTILES = ("50", "99")


def stage_charts(run: RunFacts, prefix: str, *, named: bool) -> list[Chart]:
    """Return a chart for each kind of arrivals with known parts at two rates or more.

    `prefix` begins the charts' names; `named`: whether their titles name the run.
    """
    charts = []
    for number, kind in enumerate(run.kinds):
        trials = _trials(run, kind)
        if len(_points(trials, "service", "50")[0]) > 1:
            title = f"{run.name}: " * named + words.arrivals_title(kind)
            charts.append(_stage_chart(title, trials, f"{prefix}{number}"))
    return charts


def _trials(run: RunFacts, kind: str) -> list[TrialFacts]:
    """Return the valid trials with known parts, up to a little above the highest capacity."""
    rates = [
        qps
        for one in run.answers
        for qps in (one.qps, one.capacity_qps)
        if one.kind == kind and qps
    ]
    most_qps = _ROOM * max(rates) if rates else float("inf")
    some = [
        one
        for one in run.trials
        if one.kind == kind
        and one.mark != "invalid"
        and not one.is_saturation
        and one.target_qps <= most_qps
        and one.stages["service"]
    ]
    return sorted(some, key=lambda one: one.target_qps)


def _stage_chart(title: str, trials: Sequence[TrialFacts], name: str) -> Chart:
    says = "99th percentile (marks, full lines) and median (dashes) of each part, by offered rate."
    label = f"Chart: where the time goes, {title}. {says} The numbers follow in a table."

    def draw(axes: Any, size: Size) -> None:
        _draw(axes, size, trials)

    wide, narrow = drawn(draw, name, label)
    keys = [Key(_WORDS[s], _MARKS[s][1], series_colour(n)) for n, s in enumerate(STAGES)]
    return Chart(title, says, wide, narrow, keys, _numbers(trials))


def _points(trials: Sequence[TrialFacts], stage: str, key: str) -> tuple[list[float], list[float]]:
    """Return rates and times, float each; trials at almost the same rate are one point."""
    groups: list[list[tuple[float, float]]] = []
    for one in trials:
        if key not in one.stages[stage]:
            continue
        if not groups or one.target_qps > _ALIKE * groups[-1][0][0]:
            groups.append([])
        groups[-1].append((one.target_qps, max(one.stages[stage][key], _LEAST_S)))
    rates = [median(qps for qps, _ in own) for own in groups]
    return rates, [median(time_s for _, time_s in own) for own in groups]


def _draw(axes: Any, size: Size, trials: Sequence[TrialFacts]) -> None:
    times = [at for s in STAGES for key in _PERCENTILES for at in _points(trials, s, key)[1]]
    axes.set_xlim(0, trials[-1].target_qps * 1.06)
    log_seconds(axes.yaxis, *span(times or [_LEAST_S]))
    few_rates(axes.xaxis, size)
    axes.set_xlabel("queries per second")
    axes.set_ylabel("time")
    for number, stage in enumerate(STAGES):
        colour = COLOURS[series_colour(number)]
        axes.plot(*_points(trials, stage, "50"), color=colour, linewidth=1.4, ls=(0, (3, 2)))
        axes.plot(
            *_points(trials, stage, "99"),
            color=colour,
            linewidth=1.8,
            marker=_MARKS[stage][0],
            markersize=6.5,
            markeredgecolor=COLOURS["surface"],
        )


def _numbers(trials: Sequence[TrialFacts]) -> Table:
    columns = [Column("Rate, qps", "number")]
    columns += [
        Column(f"{stage} {'median' if key == '50' else 'p99'}", "number")
        for stage in STAGES
        for key in _PERCENTILES
    ]
    rows = [
        (
            words.estimate(one.target_qps),
            *(words.seconds(one.stages[s].get(key)) for s in STAGES for key in _PERCENTILES),
        )
        for one in trials
    ]
    return Table("Parts of the latency in each trial", columns, rows)

"""Latency against rate: limits, trials, the model's curve and the estimated capacities."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mlbench.report.html import words
from mlbench.report.html.charts.drawing import (
    COLOURS,
    DASHES,
    Size,
    drawn,
    few_rates,
    log_seconds,
    series_colour,
    span,
)
from mlbench.report.html.content import Chart, Column, Key, Table
from mlbench.report.html.facts import VERDICTS, AnswerFacts, CurveFacts, RunFacts, TrialFacts

_ROOM = 1.12  # of the highest rate that matters, so that the rise beyond it can be seen
_OVER = 4.0  # of the widest limit; what is later is as late as can be
_VERDICT_MARKS = {"pass": "o", "fail": "X", "undecided": "D", "invalid": "s"}
_HOLLOW = ("undecided", "invalid")
_SHAPES = {"pass": "circle", "fail": "cross", "undecided": "diamond", "invalid": "square"}
_SAYS = {
    "pass": "met its limit",
    "fail": "missed it",
    "undecided": "undecided",
    "invalid": "invalid",
}


@dataclass(frozen=True)
class _Frame:
    """What fits on the axes: rates up to `most_qps`, latencies within the two times."""

    most_qps: float
    low_s: float
    high_s: float


def rate_charts(runs: Sequence[RunFacts]) -> list[Chart]:
    """Return a chart for each kind of arrivals that any of the runs has trials or curves for."""
    kinds = list(dict.fromkeys(kind for run in runs for kind in run.kinds))
    charts = [_rate_chart(runs, kind, f"r{n}") for n, kind in enumerate(kinds)]
    return [chart for chart in charts if chart]


def _rate_chart(runs: Sequence[RunFacts], kind: str, name: str) -> Chart | None:
    frame = _frame(runs, kind)
    if frame is None:
        return None
    what = words.percentile_words(runs[0].percentile)
    title = words.arrivals_title(kind)
    label = (
        f"Chart: {what} of the latency against the rate, {words.arrivals_words(kind)} arrivals. "
        f"{_capacities(runs, kind)} The numbers follow in a table."
    )

    def draw(axes: Any, size: Size) -> None:
        _draw(axes, size, runs, kind, frame)
        axes.set_ylabel(f"{what} latency")

    wide, narrow = drawn(draw, name, label)
    outside = sum(len(_own(run, kind)[1]) - len(_inside(run, kind, frame)) for run in runs)
    says = (
        f"{what.capitalize()} of the latency by offered rate. Marks say whether a trial kept the "
        "limit that it was run for, or the next wider one that it can tell."
    )
    if outside:
        says += f" {words.plural(outside, 'trial')} outside the axes, or too short to tell."
    return Chart(title, says, wide, narrow, _keys(runs, kind, frame), _numbers(runs, kind))


def _own(run: RunFacts, kind: str) -> tuple[list[AnswerFacts], list[TrialFacts]]:
    """Return the answers and the search trials of a run for a kind of arrivals."""
    answers = [one for one in run.answers if one.kind == kind]
    trials = [one for one in run.trials if one.kind == kind and not one.is_saturation]
    return answers, trials


def _frame(runs: Sequence[RunFacts], kind: str) -> _Frame | None:
    rates, tried, latencies, limits = [], [], [], []
    for run in runs:
        answers, trials = _own(run, kind)
        limits += [one.limit_s for one in answers]
        rates += [rate for one in answers for rate in (one.qps, one.capacity_qps) if rate]
        tried += [one.target_qps for one in trials]
        latencies += [at for one in trials if (at := one.latency.get(run.percentile_key))]
        latencies += [point.low_s for point in model_curve(answers)]
    if not (rates or tried) or not latencies:
        return None
    most_qps = _ROOM * max(rates or tried)
    high_s = _OVER * max(limits) if limits else max(latencies)
    low_s = min(latencies + limits)
    if low_s >= high_s:  # all trials were far over all limits
        high_s = max(latencies)
    low_s, high_s = span([low_s, max(min(max(latencies), high_s), *limits, low_s * 2)])
    return _Frame(most_qps, low_s, high_s)


def model_curve(answers: Sequence[AnswerFacts]) -> list[CurveFacts]:
    """Return one curve for answers with the same arrivals, by rising rate.

    Each answer corrects the model near its own capacity: a rate takes the nearest one's curve.
    """
    known = sorted(
        (one for one in answers if one.curve and one.capacity_qps),
        key=lambda one: one.capacity_qps or 0.0,
    )
    points: list[CurveFacts] = []
    low_qps = 0.0
    capacities = [one.capacity_qps or 0.0 for one in known]
    borders = [(own * wider) ** 0.5 for own, wider in pairwise(capacities)]
    for one, high_qps in zip(known, [*borders, float("inf")][: len(known)], strict=True):
        points += [point for point in one.curve if low_qps <= point.qps < high_qps]
        low_qps = high_qps
    return sorted(points, key=lambda point: point.qps)


def _draw(axes: Any, size: Size, runs: Sequence[RunFacts], kind: str, frame: _Frame) -> None:
    axes.set_xlim(0, frame.most_qps)
    log_seconds(axes.yaxis, frame.low_s, frame.high_s)
    few_rates(axes.xaxis, size)
    axes.set_xlabel("queries per second")
    for limit_s in sorted({one.limit_s for run in runs for one in _own(run, kind)[0]}):
        axes.axhline(limit_s, color=COLOURS["limit"], linewidth=1.2, linestyle=(0, (4, 3)))
        axes.annotate(
            f"limit {words.limit(limit_s)}",
            (0, limit_s),
            xytext=(4, 3),
            textcoords="offset points",
            color=COLOURS["limit"],
            fontsize=11,
        )
    for number, run in enumerate(runs):
        answers, trials = _own(run, kind)
        colour = COLOURS[series_colour(number)] if len(runs) > 1 else None
        dashes = DASHES[number % len(DASHES)]
        _draw_curve(axes, model_curve(answers), colour or COLOURS["ink"], dashes)
        _draw_capacities(axes, answers, colour or COLOURS["ink"])
        _draw_trials(axes, trials, run.percentile_key, colour)


def _draw_curve(axes: Any, curve: Sequence[CurveFacts], colour: str, dashes: Any) -> None:
    qps = [point.qps for point in curve]
    low, high = [point.low_s for point in curve], [point.high_s for point in curve]
    axes.fill_between(qps, low, high, color=colour, alpha=0.14, linewidth=0)
    axes.plot(qps, [point.latency_s for point in curve], color=colour, lw=1.8, ls=dashes)


def _draw_capacities(axes: Any, answers: Sequence[AnswerFacts], colour: str) -> None:
    """Mark each capacity on its limit, with its interval as a bar."""
    for one in answers:
        if not one.capacity_qps:
            continue
        low = one.low_qps or 0.0
        high = one.high_qps if one.high_qps is not None else 10 * one.capacity_qps
        for own, opacity in ((COLOURS["surface"], 1.0), (colour, 0.5)):
            axes.plot([low, high], [one.limit_s] * 2, color=own, linewidth=5, alpha=opacity)
        axes.plot(one.capacity_qps, one.limit_s, "|", color=colour, markersize=13, mew=2)


def _draw_trials(
    axes: Any, trials: Sequence[TrialFacts], percentile_key: str, colour: str | None
) -> None:
    for verdict in reversed(VERDICTS):
        some = [one for one in trials if one.mark == verdict]
        at = [(one.target_qps, one.latency.get(percentile_key)) for one in some]
        known = [(qps, latency_s) for qps, latency_s in at if latency_s]
        own = colour or COLOURS[verdict]
        axes.plot(
            [qps for qps, _ in known],
            [latency_s for _, latency_s in known],
            _VERDICT_MARKS[verdict],
            markersize=7,
            markeredgecolor=own if verdict in _HOLLOW else COLOURS["surface"],
            markerfacecolor=COLOURS["surface"] if verdict in _HOLLOW else own,
            markeredgewidth=1.5 if verdict in _HOLLOW else 0.8,
            clip_on=True,
        )


def _inside(run: RunFacts, kind: str, frame: _Frame) -> list[TrialFacts]:
    """Return the trials that are on the axes."""
    return [
        one
        for one in _own(run, kind)[1]
        if one.target_qps <= frame.most_qps
        and (at_s := one.latency.get(run.percentile_key)) is not None
        and frame.low_s <= at_s <= frame.high_s
    ]


def _keys(runs: Sequence[RunFacts], kind: str, frame: _Frame) -> list[Key]:
    keys: list[Key] = []
    if len(runs) > 1:
        keys += [Key(run.name, "line", series_colour(n), n) for n, run in enumerate(runs)]
    seen = {one.mark for run in runs for one in _inside(run, kind, frame)}
    for verdict in VERDICTS:
        if verdict in seen:
            colour = verdict if len(runs) == 1 else "muted"
            keys.append(Key(f"trial {_SAYS[verdict]}", _SHAPES[verdict], colour))  # type: ignore[arg-type]
    if any(model_curve(_own(run, kind)[0]) for run in runs):
        plain = "ink" if len(runs) == 1 else "muted"
        keys += [Key("model", "line", plain), Key("its 95 % band", "band", plain)]
        keys.append(Key("capacity and its 95 % interval", "capacity", plain))
    return [*keys, Key("limit", "dashes", "limit")]


def _capacities(runs: Sequence[RunFacts], kind: str) -> str:
    """Return the capacities in a sentence."""
    known = [
        f"{words.estimate(one.capacity_qps)} within {words.limit(one.limit_s)}"
        + (f" ({run.name})" if len(runs) > 1 else "")
        for run in runs
        for one in _own(run, kind)[0]
        if one.capacity_qps
    ]
    return f"Estimated capacity, qps: {', '.join(known)}." if known else ""


def _numbers(runs: Sequence[RunFacts], kind: str) -> Table:
    rows = [
        (
            *((run.name,) if len(runs) > 1 else ()),
            words.estimate(point.qps),
            words.seconds(point.latency_s),
            f"{words.seconds(point.low_s)} to {words.seconds(point.high_s)}",
        )
        for run in runs
        for point in model_curve(_own(run, kind)[0])
    ]
    columns = [
        Column("Rate, qps", "number"),
        Column("Model", "number"),
        Column("95 % band", "range"),
    ]
    if len(runs) > 1:
        columns.insert(0, Column("Run"))
    if rows:
        return Table("The model's curve; the trials stand in a table below", columns, rows)
    return _trial_points(runs, kind)


def _trial_points(runs: Sequence[RunFacts], kind: str) -> Table:
    """Return the points themselves where there is no curve."""
    rows = [
        (
            run.name,
            words.estimate(one.target_qps),
            words.seconds(one.latency.get(run.percentile_key)),
            one.verdict,
        )
        for run in runs
        for one in sorted(_own(run, kind)[1], key=lambda one: one.target_qps)
    ]
    columns = [
        Column("Run"),
        Column("Rate, qps", "number"),
        Column("Latency", "number"),
        Column("Verdict", "verdict"),
    ]
    return Table("The trials; these results have no model's curve", columns, rows)

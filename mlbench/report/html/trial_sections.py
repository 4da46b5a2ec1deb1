"""The page of one trial, from its JSON or from the times of its queries."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.report.html import words
from mlbench.report.html.charts.moments import moments_chart
from mlbench.report.html.charts.percentiles import Series, percentile_chart, series_of
from mlbench.report.html.content import Block, Column, Folded, Page, Section, Table, Text
from mlbench.report.html.facts import VERDICTS, Spread, spread
from mlbench.report.html.fields import items, number, positive, table, text, texts
from mlbench.report.html.origin import facts_table
from mlbench.report.html.sources import RawSource, TrialSource
from mlbench.report.notation import duration_text

_PARTS = {
    "latency_s": "latency (due to done)",
    "queue_s": "waiting (due to start)",
    "service_s": "service (start to done)",
    "return_s": "way back (not in the latency)",
    "send_lag_s": "added by the load generator (in the waiting)",
}
_CURVES = ("latency_s", "queue_s", "service_s")
_SHOWN = ("mean", "50", "90", "99", "99.9", "max")
_ENDS = {
    "pass": ": the limit was kept",
    "fail": ": the limit was not kept",
    "undecided": ": whether the limit was kept may be chance",
    "invalid": ", but the trial is invalid",
}
_NO_TIMES = "No query was completed, so that there are no times to show."
_ON_CURVE = 60  # points of a curve from all queries: about 12 in each decade of 1 / (1 - p)


def trial_page(source: TrialSource, name: str) -> Page:
    """Return the page of what `trial --json` printed."""
    document = source.document
    spreads = {key: spread(document.get(key)) for key in _PARTS}
    series = [series_of(_PARTS[key], spreads[key]) for key in _CURVES]
    chart = percentile_chart(series, "Latency and its parts", "By percentile.", f"{name}p")
    workers = _workers(items(document.get("workers")))
    host = table(document.get("host"))
    on_host = Folded("What else the host did", [facts_table(host)])
    return Page(
        title="One trial",
        sentence=_trial_sentence(document, spreads["latency_s"]),
        about=_about(source.name, document),
        cautions=(),
        sections=[
            Section("Verdict", _verdict(document)),
            Section("Percentiles", [chart] if chart else [Text([_NO_TIMES])]),
            Section("Where the time goes", [_parts_table(spreads)]),
            Section("Workers", [workers] if workers else []),
            Section("Host", [on_host] if host else []),
        ],
    )


def raw_page(source: RawSource, name: str) -> Page:
    """Return the page of the times that `trial --raw` saved."""
    columns = source.columns
    done = columns["status"] == wire.COMPLETED
    due_s = (columns["due_ns"] - columns["due_ns"].min())[done] * 1e-9
    latency_s = (columns["done_ns"] - columns["due_ns"])[done] * 1e-9
    waits_s = (columns["start_ns"] - columns["due_ns"])[done] * 1e-9
    service_s = (columns["done_ns"] - columns["start_ns"])[done] * 1e-9
    parts = dict(zip(_CURVES, (latency_s, waits_s, service_s), strict=True))
    spreads = {key: _spread_of(times_s) for key, times_s in parts.items()}
    series = [Series(_PARTS[key], _curve(times_s)) for key, times_s in parts.items()]
    over_time = moments_chart(due_s, latency_s, "Over the trial", f"{name}m")
    chart = percentile_chart(series, "Latency and its parts", "From all queries.", f"{name}p")
    total, completed = len(done), int(done.sum())
    return Page(
        title="Every query of a trial",
        sentence=_raw_sentence(spreads["latency_s"], total),
        about=f"{source.name} · {total:,} queries, {completed:,} completed",
        cautions=[f"{total - completed:,} of {total:,} queries failed or got no answer."]
        * (completed < total),
        sections=[
            Section("Latency over time", [over_time] if over_time else [Text([_NO_TIMES])]),
            Section("Percentiles", [chart] if chart else []),
            Section("Where the time goes", [_parts_table(spreads)] if completed else []),
        ],
    )


def _trial_sentence(document: Mapping[str, Any], latency: Spread) -> str:
    qps, kind = number(document.get("target_qps")), text(document.get("arrivals"), 30)
    asked = f"At {words.estimate(qps)} queries per second, {words.arrivals_words(kind)} arrivals"
    if "50" not in latency:
        return f"{asked}, too few queries were completed to tell a latency."
    half = f"half of the queries were answered within {duration_text(latency['50'])}"
    tail = f" and 99 % within {duration_text(latency['99'])}" if "99" in latency else ""
    return f"{asked}, {half}{tail}{_ENDS.get(text(document.get('verdict')), '')}."


def _raw_sentence(latency: Spread, total: int) -> str:
    if not latency:
        return f"None of {total:,} queries was completed."
    slowest = duration_text(latency["max"])
    return (
        f"Half of {total:,} queries were answered within {duration_text(latency['50'])}, and the "
        f"slowest took {slowest}."
    )


def _about(name: str, document: Mapping[str, Any]) -> str:
    parts = [
        name,
        f"{words.count(number(document.get('queries')))} queries",
        f"{words.count(number(document.get('completed')))} completed",
        f"{words.count(number(document.get('failed')))} failed",
        f"{words.count(number(document.get('lost')))} lost",
        f"seed {words.count(number(document.get('seed'))).replace(',', '')}",
    ]
    if energy_j := positive(document.get("energy_per_query_j")):
        parts.append(f"{words.energy(energy_j)} J per query")
    return " · ".join(parts)


def _verdict(document: Mapping[str, Any]) -> list[Block]:
    verdict = document.get("verdict")
    if verdict not in VERDICTS:
        return [Text(["There was no limit, and so there is no verdict."])]
    reasons = texts(document.get("reasons")) or (words.UNKNOWN,)
    columns = [Column("Verdict", "verdict"), Column("Reason")]
    return [Table("For the limit given", columns, [(verdict, reason) for reason in reasons])]


def _parts_table(spreads: Mapping[str, Spread]) -> Table:
    columns = [Column("Part"), *(Column(_head(key), "number") for key in _SHOWN)]
    rows = [
        (_PARTS[part], *(words.seconds(own.get(key)) for key in _SHOWN))
        for part, own in spreads.items()
        if own
    ]
    return Table("Parts of the latency", columns, rows)


def _head(key: str) -> str:
    return f"p{key}" if key[0].isdigit() else key


def _workers(workers: list[Any]) -> Table | None:
    rows = [
        (
            f"{index}",
            text(table(one).get("device"), 60),
            words.count(number(table(one).get("queries"))),
            f"{number(table(one).get('busy_fraction')) or 0.0:.1%}",
        )
        for index, one in enumerate(workers[:256])
    ]
    columns = [
        Column("Worker", "number"),
        Column("Device"),
        Column("Queries", "number"),
        Column("Busy", "number"),
    ]
    return Table("What each worker did", columns, rows) if rows else None


def _spread_of(times_s: NDArray[np.float64]) -> Spread:
    if len(times_s) == 0:
        return {}
    known = [key for key in _SHOWN if key[0].isdigit() and _is_known(len(times_s), float(key))]
    found = np.quantile(times_s, [float(key) / 100 for key in known], method="inverted_cdf")
    ends = {"mean": float(times_s.mean()), "max": float(times_s.max())}
    return {**dict(zip(known, map(float, found), strict=True)), **ends}


def _is_known(n: int, percentile: float) -> bool:
    return n * (1 - percentile / 100) >= 1


def _curve(times_s: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Return percentiles evenly spaced on the axis, up to the highest that can be told."""
    if len(times_s) < 2:
        return []
    p = 100 * (1 - np.geomspace(1, 1 / len(times_s), _ON_CURVE))
    found = np.quantile(times_s, p / 100, method="inverted_cdf")
    return [(float(at), max(float(value), 1e-6)) for at, value in zip(p, found, strict=True)]

"""What a page knows of a run, read from its results; whatever is missing there is unknown here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlbench.outcomes import PERCENTILES
from mlbench.report.html.fields import decimal, items, number, positive, table, text, texts

MOST_TRIALS = 2_000  # of a run; a search ends long before
_MOST_POINTS, _MOST_ANSWERS = 100, 100
VERDICTS = ("pass", "undecided", "fail", "invalid")
STAGES = ("service", "waiting", "generator")

Spread = Mapping[str, float]
"""Percentiles ("50", ...), "mean" and "max" that are known, in seconds."""


@dataclass(frozen=True)
class CurveFacts:
    """A point of the model's curve, in queries per second and seconds."""

    qps: float
    latency_s: float
    low_s: float
    high_s: float


@dataclass(frozen=True)
class AnswerFacts:
    """An answer; `qps` is None when no trial met the limit, whatever else when it is unknown."""

    kind: str
    limit_s: float
    qps: float | None
    capacity_qps: float | None
    low_qps: float | None
    high_qps: float | None
    meets_again: float | None
    trials: float | None
    measured_s: float | None
    latency: Spread
    notes: tuple[str, ...]
    curve: tuple[CurveFacts, ...]
    energy_per_query_j: float | None


@dataclass(frozen=True)
class TrialFacts:
    """A trial; `stages` has the spread of each of `STAGES` that is known.

    `verdict`: for the limit that it was run for, and `code` that of its first reason. `mark`: the
    same verdict, or where it is invalid that for the next wider limit that it can tell.
    """

    kind: str
    name: str
    limit_s: float | None
    target_qps: float
    queries: float | None
    verdict: str
    mark: str
    reasons: tuple[str, ...]
    latency: Spread
    stages: Mapping[str, Spread]
    is_saturation: bool
    code: str


@dataclass(frozen=True)
class AccuracyFacts:
    """The accuracy stage, in percent."""

    percent: float
    low: float | None
    high: float | None
    good_items: float | None
    total_items: float | None
    target: float | None
    target_met: bool | None


@dataclass(frozen=True)
class RunFacts:
    """A run; `name` tells it from the others on the page. `system`, `settings`: as in the file.

    `hosts`: how many hosts of a cluster it was measured on, 0 without one; `host_names`: which.
    """

    name: str
    percentile: float
    answers: tuple[AnswerFacts, ...]
    trials: tuple[TrialFacts, ...]
    accuracy: AccuracyFacts | None
    notes: tuple[str, ...]
    started: str
    version: str
    cmdline: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    system: Mapping[str, Any] = field(default_factory=dict)
    hosts: int = 0
    host_names: str = ""

    @property
    def kinds(self) -> list[str]:
        """The kinds of arrivals, in the order of the file."""
        answered, tried = (one.kind for one in self.answers), (one.kind for one in self.trials)
        return list(dict.fromkeys([*answered, *tried]))

    @property
    def percentile_key(self) -> str:
        """The key of the limited percentile in a spread."""
        return f"{self.percentile:.10g}"


def run_facts(name: str, document: Mapping[str, Any]) -> RunFacts:
    """Return what is known of a run from the content of its results.json."""
    settings = table(document.get("settings"))
    percentile = positive(settings.get("percentile")) or 99.0
    cluster = _figures_of(document, "cluster")
    return RunFacts(
        name=name,
        percentile=percentile if percentile < 100 else 99.0,
        answers=tuple(_answers(table(document.get("results")))),
        trials=tuple(_trials(table(document.get("scan")))),
        accuracy=_accuracy(table(document.get("check_accuracy"))),
        notes=texts(document.get("notes")),
        started=text(document.get("started"), 40),
        version=text(document.get("version"), 40),
        cmdline=text(document.get("cmdline"), 4_000),
        settings=settings,
        system=table(document.get("system")),
        hosts=int(number(cluster.get("hosts")) or 0),
        host_names=text(cluster.get("names"), 1_000),
    )


def _figures_of(document: Mapping[str, Any], code: str) -> dict[str, Any]:
    """Return the figures of a run's finding; nothing where it has none of this code."""
    findings = map(table, items(document.get("findings")))
    return next((table(one.get("figures")) for one in findings if one.get("code") == code), {})


def spread(value: Any) -> Spread:
    """Return the figures of a spread that are known."""
    known = ((key, number(table(value).get(key))) for key in ("mean", "max", *_keys(value)))
    return {key: figure for key, figure in known if figure is not None}


def _keys(value: Any) -> list[str]:
    own = [key for key in table(value) if (at := decimal(key)) and at < 100]
    return list(dict.fromkeys([*PERCENTILES, *own]))[:20]


def _answers(results: dict[str, Any]) -> list[AnswerFacts]:
    found = [
        _answer(text(kind, 30), limit_s, table(entry))
        for kind, entries in results.items()
        for key, entry in table(entries).items()
        if (limit_s := decimal(key)) is not None
    ]
    return found[:_MOST_ANSWERS]


def _answer(kind: str, limit_s: float, entry: dict[str, Any]) -> AnswerFacts:
    ends = [*items(entry.get("capacity_ci95"))[:2], None, None]
    return AnswerFacts(
        kind=kind,
        limit_s=limit_s,
        qps=positive(entry.get("qps")),
        capacity_qps=number(entry.get("capacity_qps")),
        low_qps=number(ends[0]),
        high_qps=number(ends[1]),
        meets_again=number(entry.get("meets_again")),
        trials=number(entry.get("trials")),
        measured_s=number(entry.get("measured_s")),
        latency=spread(entry.get("percentiles")),
        notes=texts(entry.get("notes")),
        curve=_curve(items(entry.get("curve"))),
        energy_per_query_j=positive(entry.get("energy_per_query_j")),
    )


def _curve(points: list[Any]) -> tuple[CurveFacts, ...]:
    rows = [
        [positive(table(point).get(key)) for key in ("qps", "latency_s", "low_s", "high_s")]
        for point in points[:_MOST_POINTS]
    ]
    known = [CurveFacts(*row) for row in rows if None not in row]  # type: ignore[arg-type]
    return tuple(sorted(known, key=lambda point: point.qps))


def _trials(scan: dict[str, Any]) -> list[TrialFacts]:
    found = [
        _trial(text(kind, 30), text(name, 60), target_qps, table(entry))
        for kind, entries in scan.items()
        for name, entry in table(entries).items()
        if (target_qps := positive(table(entry).get("target_qps"))) is not None
    ]
    return found[:MOST_TRIALS]


def _trial(kind: str, name: str, target_qps: float, entry: dict[str, Any]) -> TrialFacts:
    verdict, limit_s = _verdict(entry), positive(entry.get("target_latency"))
    stages = zip(STAGES, ("service_s", "queue_s", "send_lag_s"), strict=True)
    return TrialFacts(
        kind=kind,
        name=name,
        limit_s=limit_s,
        target_qps=target_qps,
        queries=number(entry.get("queries")),
        verdict=verdict,
        mark=_mark(verdict, limit_s or 0.0, table(entry.get("judgements"))),
        reasons=texts(entry.get("reasons")),
        latency=spread(entry.get("percentiles")),
        stages={stage: spread(entry.get(key)) for stage, key in stages},
        is_saturation=entry.get("purpose") == "saturation",
        code=text(table(next(iter(items(entry.get("findings"))), None)).get("code"), 40),
    )


def _verdict(entry: dict[str, Any]) -> str:
    verdict = entry.get("verdict")
    return verdict if verdict in VERDICTS else "undecided"


def _mark(verdict: str, limit_s: float, judgements: dict[str, Any]) -> str:
    if verdict != "invalid":
        return verdict
    wider = sorted(
        (at_s, _verdict(table(judged)))
        for key, judged in judgements.items()
        if (at_s := decimal(key)) is not None and at_s > limit_s
    )
    return next((other for _, other in wider if other != "invalid"), verdict)


def _accuracy(entry: dict[str, Any]) -> AccuracyFacts | None:
    percent = number(entry.get("accuracy", entry.get("accuacy")))
    if percent is None:
        return None
    ends = [*items(entry.get("accuracy_ci95"))[:2], None, None]
    met = entry.get("target_met")
    return AccuracyFacts(
        percent=percent,
        low=number(ends[0]),
        high=number(ends[1]),
        good_items=number(entry.get("good_items")),
        total_items=number(entry.get("total_items")),
        target=number(entry.get("target")),
        target_met=met if isinstance(met, bool) else None,
    )

"""What a page knows of a sweep, read from its sweep.json; whatever is missing there is unknown."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlbench.report.html.fields import decimal, items, number, positive, table, text

_MOST = 500  # configurations in a page
STATES = ("pending", "measuring", "measured", "dropped", "failed")

AnswerKey = tuple[str, float]
"""The kind of arrivals, and the limit in seconds."""


@dataclass(frozen=True)
class CellFacts:
    """What a configuration reaches for one answer; None where it is not known."""

    qps: float | None
    capacity_qps: float | None
    low_qps: float | None
    high_qps: float | None
    energy_per_query_j: float | None


@dataclass(frozen=True)
class ConfigurationFacts:
    """A configuration: its options as text, what became of it, and its answers."""

    name: str
    options: Mapping[str, str]
    numbers: Mapping[str, float]
    state: str
    reason: str
    rounds: float | None
    measured_s: float | None
    answers: Mapping[AnswerKey, CellFacts]


@dataclass(frozen=True)
class WinnerFacts:
    """Who wins an answer, and by how much over whom."""

    kind: str
    limit_s: float
    name: str
    runner_up: str
    ratio: float | None
    low: float | None
    high: float | None
    more_than_noise: bool


@dataclass(frozen=True)
class SweepFacts:
    """A sweep."""

    configurations: tuple[ConfigurationFacts, ...]
    winners: tuple[WinnerFacts, ...]
    started: str
    version: str
    measured_s: float | None
    budget_s: float | None
    percentile: float
    file: Mapping[str, Any]
    system: Mapping[str, Any]

    @property
    def keys(self) -> list[AnswerKey]:
        """All answers, by arrivals and rising limit."""
        found = {key for one in self.configurations for key in one.answers}
        return sorted(found | {(one.kind, one.limit_s) for one in self.winners})

    @property
    def varied(self) -> list[str]:
        """The options that are not the same in all configurations, in the order of the file."""
        names = dict.fromkeys(name for one in self.configurations for name in one.options)
        return [name for name in names if len(self.values(name)) > 1]

    def values(self, option: str) -> list[str]:
        """Return the values of an option, numbers in ascending order and before words."""
        order = {
            one.options.get(option, ""): one.numbers.get(option, float("inf"))
            for one in self.configurations
        }
        return sorted(order, key=lambda value: (order[value], value))


def sweep_facts(document: Mapping[str, Any]) -> SweepFacts:
    """Return what is known of a sweep from the content of its sweep.json."""
    file = table(document.get("file"))
    percentile = positive(table(file.get("base")).get("percentile")) or 99.0
    return SweepFacts(
        configurations=tuple(
            _configuration(table(one)) for one in items(document.get("configurations"))[:_MOST]
        ),
        winners=tuple(_winners(table(document.get("winners")))),
        started=text(document.get("started"), 40),
        version=text(document.get("version"), 40),
        measured_s=number(document.get("measured_s")),
        budget_s=number(document.get("budget_s")),
        percentile=percentile if percentile < 100 else 99.0,
        file=file,
        system=table(document.get("system")),
    )


def _configuration(entry: dict[str, Any]) -> ConfigurationFacts:
    options = dict(list(table(entry.get("options")).items())[:30])
    numbers = {text(key, 60): number(value) for key, value in options.items()}
    state = text(entry.get("state"), 20)
    return ConfigurationFacts(
        name=text(entry.get("name"), 120) or "unnamed",
        options={text(key, 60): _option(value) for key, value in options.items()},
        numbers={key: value for key, value in numbers.items() if value is not None},
        state=state if state in STATES else "unknown",
        reason=text(entry.get("reason")),
        rounds=number(entry.get("rounds")),
        measured_s=number(entry.get("measured_s")),
        answers={
            (text(kind, 30), limit_s): _cell(table(cell))
            for kind, cells in table(entry.get("answers")).items()
            for key, cell in table(cells).items()
            if (limit_s := decimal(key)) is not None
        },
    )


def _option(value: Any) -> str:
    return text(value if isinstance(value, str) else json.dumps(value), 80)


def _cell(entry: dict[str, Any]) -> CellFacts:
    ends = [*items(entry.get("capacity_ci95"))[:2], None, None]
    return CellFacts(
        qps=positive(entry.get("qps")),
        capacity_qps=number(entry.get("capacity_qps")),
        low_qps=number(ends[0]),
        high_qps=number(ends[1]),
        energy_per_query_j=positive(entry.get("energy_per_query_j")),
    )


def _winners(winners: dict[str, Any]) -> list[WinnerFacts]:
    return [
        _winner(text(kind, 30), limit_s, table(entry))
        for kind, entries in winners.items()
        for key, entry in table(entries).items()
        if (limit_s := decimal(key)) is not None and text(table(entry).get("name"))
    ]


def _winner(kind: str, limit_s: float, entry: dict[str, Any]) -> WinnerFacts:
    ends = [*items(entry.get("ratio_ci95"))[:2], None, None]
    return WinnerFacts(
        kind=kind,
        limit_s=limit_s,
        name=text(entry.get("name"), 120),
        runner_up=text(entry.get("runner_up"), 120),
        ratio=positive(entry.get("ratio")),
        low=positive(ends[0]),
        high=positive(ends[1]),
        more_than_noise=entry.get("more_than_noise") is True,
    )

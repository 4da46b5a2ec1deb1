"""One side of a comparison: what a result file says of its answers and of what was measured."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlbench.bench.rates import Rate
from mlbench.contracts.errors import RequestError
from mlbench.contracts.text import shown
from mlbench.search.plan import AnswerKey

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Side:
    """What is compared: its answers, and what they are answers for.

    `served`: the sums of the `model` and of the `data`, and the `runtime`, where they are known.
    `sweep`: the id of the sweep that it is from. `layout`: the workers that were chosen where
    nobody asked for any.
    """

    name: str
    answers: Mapping[AnswerKey, Rate]
    settings: Document
    system: Document
    version: str
    served: Mapping[str, str | None]
    started: datetime | None = None
    sweep: str | None = None
    layout: str | None = None


def read_side(name: str, document: Document) -> Side:
    """Return what a result file says; raises RequestError where it is damaged."""
    try:
        return Side(
            name=name,
            answers=dict(_answers(document["results"])),
            settings=_mapping(document["settings"]),
            system=_mapping(document["system"]),
            version=str(document["version"]),
            served={key: _text(one) for key, one in _mapping(document.get("served")).items()},
            started=_moment(document.get("started")),
            sweep=_text(_mapping(document.get("sweep")).get("id")),
            layout=_layout(document.get("findings", [])),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RequestError(f"{name}: damaged results: {shown(str(error))}") from None


def _answers(results: Document) -> Iterator[tuple[AnswerKey, Rate]]:
    for kind, answers in results.items():
        for answer in answers.values():
            yield (str(kind), _number(answer["target_latency"])), _rate(answer)


def _rate(answer: Document) -> Rate:
    qps, ends = answer.get("capacity_qps"), answer.get("capacity_ci95")
    if qps is None or ends is None:
        notes = answer.get("notes")
        return Rate(None, why=str(notes[0])) if notes else Rate(None)
    low, high = ends
    return Rate(
        qps=_number(qps),
        low=0.0 if low is None else _number(low),
        high=math.inf if high is None else _number(high),
        rounds={
            int(one["round"]): math.log(_number(one["capacity_qps"]))
            for one in answer.get("rounds", [])
        },
    )


def _number(value: Any) -> float:
    number = float(value)
    if isinstance(value, bool) or not (math.isfinite(number) and number >= 0):
        raise ValueError(f"{value} is no rate or time")
    return number


def _mapping(value: Any) -> Document:
    """Return an object; an empty one where there is none."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, not {value}")
    return value


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _moment(value: Any) -> datetime | None:
    """Return when a run began; None where the file does not say, or without its time zone."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    return moment if moment and moment.tzinfo else None


def _layout(findings: Any) -> str | None:
    for finding in findings:
        if finding["code"] == "layout":
            figures = finding["figures"]
            return f"{figures['workers']} x {figures['threads']} threads"
    return None

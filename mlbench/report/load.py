"""Reading what was saved: a run's results, one trial, the queries of one, a sweep."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlbench.contracts.errors import RequestError
from mlbench.host.files import why_unreadable
from mlbench.report.journal import read_whole
from mlbench.report.queries import Columns, read_npz
from mlbench.report.results import SCHEMA_VERSION
from mlbench.report.rows import Row, answer_row, sweep_rows, trial_row

Content = Literal["run", "trial", "queries", "sweep"]

_ZIP = b"PK\x03\x04"  # how an .npz file begins


@dataclass(frozen=True)
class Results:
    """What one file holds; what a file of its kind does not hold is empty.

    `holds` is `run` (a `results.json`), `trial` (what `trial --json` printed), `queries` (what
    `trial --raw` saved as .npz) or `sweep` (a `sweep.json`). `document` is the content as
    `docs/results.md` has it, {} for queries. `queries` has a column (n,) for each of their figures.
    """

    document: dict[str, Any]
    holds: Content = "run"
    queries: Columns = field(default_factory=dict)

    @property
    def answers(self) -> list[Row]:
        """The answers as flat rows that a table is made of; of a sweep, all configurations'.

        A configuration without an answer has a row of its own, with its state and the reason.
        """
        if self.holds == "run":
            return [
                answer_row(answer, {"arrivals": kind})
                for kind, answers in self.document["results"].items()
                for answer in answers.values()
            ]
        return sweep_rows(self.document) if self.holds == "sweep" else []

    @property
    def trials(self) -> list[Row]:
        """The trials as flat rows that a table is made of: all of a run, the one of a document."""
        if self.holds == "trial":
            return [trial_row(self.document)]
        return [
            trial_row(trial, {"trial": key, "arrivals": kind})
            for kind, trials in (self.document["scan"].items() if self.holds == "run" else ())
            for key, trial in trials.items()
        ]


def load(path: str | Path) -> Results:
    """Read a `results.json`, with what is in the journal of a run that has not ended.

    Or what `trial --json` printed, the .npz file of `trial --raw`, or a `sweep.json` or its folder.
    Raises RequestError when it cannot be read, is no such file, or is of a newer mlbench.
    """
    path = Path(path)
    if path.is_dir():
        path /= "sweep.json"
    if why := why_unreadable(path):
        raise RequestError(f"cannot read {path}: {why}")
    try:
        if _begins_with(path, _ZIP):
            return Results({}, "queries", read_npz(path))
        document = json.loads(read_whole(path), parse_constant=_refuse)
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise RequestError(f"cannot read {path}: it is not JSON") from None
    holds = _content(document)
    if holds is None:
        raise RequestError(f"{path}: not the results of a run of mlbench, nor a trial or a sweep")
    if holds != "trial" and document["schema_version"] > SCHEMA_VERSION:
        raise RequestError(
            f"{path}: written by a newer mlbench (schema {document['schema_version']}, this one "
            f"knows {SCHEMA_VERSION}); update mlbench"
        )
    if (holds == "run" and not _is_run(document)) or (holds == "sweep" and not _is_sweep(document)):
        raise RequestError(f"{path}: not the results of a run of mlbench, or damaged")
    return Results(document, holds)


def _begins_with(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _content(document: Any) -> Content | None:
    """Return what a document holds, by the keys that only one sort of them has."""
    if not isinstance(document, dict):
        return None
    if isinstance(document.get("schema_version"), int):
        return "sweep" if "configurations" in document else "run"
    return "trial" if {"arrivals", "latency_s", "workers"} <= document.keys() else None


def _is_run(document: dict[str, Any]) -> bool:
    return all(_is_table(document.get(key)) for key in ("results", "scan"))


def _is_sweep(document: dict[str, Any]) -> bool:
    configurations = document["configurations"]
    return (
        _is_table(document.get("winners"))
        and isinstance(configurations, list)
        and all(isinstance(one, dict) and _is_configuration(one) for one in configurations)
    )


def _is_configuration(entry: dict[str, Any]) -> bool:
    return (
        isinstance(entry.get("name"), str)
        and isinstance(entry.get("options"), dict)
        and _is_table(entry.get("answers"))
        and all(_is_number(limit) for limits in entry["answers"].values() for limit in limits)
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_table(value: Any) -> bool:
    """Whether a value is arrivals -> key -> entry."""
    kinds = value.values() if isinstance(value, dict) else [None]
    return all(
        isinstance(rows, dict) and all(isinstance(row, dict) for row in rows.values())
        for rows in kinds
    )


def configuration_path(word: str | Path) -> Path:
    """Return the path that FOLDER#NAME means, a configuration of a sweep; others as they are.

    A file may have # in its name. Raises RequestError where # stands without a name.
    """
    path, (folder, mark, name) = Path(word), str(word).rpartition("#")
    if not mark or path.exists():
        return path
    if not name or Path(name).name != name:
        raise RequestError(f"{word}: expected FOLDER#NAME, with the name of a configuration")
    return Path(folder, name)

"""Reading what a run has saved."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlbench.contracts.errors import RequestError
from mlbench.report.journal import read_whole
from mlbench.report.results import SCHEMA_VERSION

Row = dict[str, Any]


@dataclass(frozen=True)
class Results:
    """One run's results; `document` is the content of the file, as `docs/results.md` has it."""

    document: dict[str, Any]

    @property
    def answers(self) -> list[Row]:
        """The answers, each with its `arrivals`, as rows that a table is made of."""
        return _rows(self.document["results"])

    @property
    def trials(self) -> list[Row]:
        """All trials, each with its `arrivals`, as rows that a table is made of."""
        return _rows(self.document["scan"])


def load(path: str | Path) -> Results:
    """Read a `results.json`, and what is in the journal of a run that has not ended.

    Raises RequestError when it cannot be read, is no such file, or is of a newer mlbench.
    """
    try:
        document = json.loads(read_whole(Path(path)), parse_constant=_refuse)
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise RequestError(f"cannot read {path}: it is not JSON") from None
    version = document.get("schema_version") if isinstance(document, dict) else None
    if not isinstance(version, int):
        raise RequestError(f"{path}: not the results of a run of mlbench")
    if version > SCHEMA_VERSION:
        raise RequestError(
            f"{path}: written by a newer mlbench (schema {version}, this one knows "
            f"{SCHEMA_VERSION}); update mlbench"
        )
    if not all(_is_table(document.get(key)) for key in ("results", "scan")):
        raise RequestError(f"{path}: not the results of a run of mlbench")
    return Results(document)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _is_table(value: Any) -> bool:
    """Whether a value is arrivals -> key -> row, as `_rows` takes it."""
    kinds = value.values() if isinstance(value, dict) else [None]
    return all(
        isinstance(rows, dict) and all(isinstance(row, dict) for row in rows.values())
        for rows in kinds
    )


def _rows(table: dict[str, dict[str, Row]]) -> list[Row]:
    return [{"arrivals": kind, **row} for kind, rows in table.items() for row in rows.values()]

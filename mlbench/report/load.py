"""Reading what a run has saved."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlbench.contracts.errors import RequestError
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
    """Read a `results.json`.

    Raises RequestError when it cannot be read, is no such file, or is of a newer mlbench.
    """
    try:
        document = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise RequestError(f"cannot read {path}: {why}") from None
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version is None:
        raise RequestError(f"{path}: not the results of a run of mlbench")
    if version > SCHEMA_VERSION:
        raise RequestError(
            f"{path}: written by a newer mlbench (schema {version}, this one knows "
            f"{SCHEMA_VERSION}); update mlbench"
        )
    return Results(document)


def _rows(table: dict[str, dict[str, Row]]) -> list[Row]:
    return [{"arrivals": kind, **row} for kind, rows in table.items() for row in rows.values()]

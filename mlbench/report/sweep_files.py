"""The files of a sweep that people and scripts read.

    FOLDER/NAME/results.json   that of a run, for each configuration
    FOLDER/sweep.json          all configurations and the winners
    FOLDER/sweep.csv, .parquet the same as a table; the latter where pyarrow is installed

All are made anew from what the sweep has saved of its trials, so that none can lag behind for good.
"""

import csv
import io
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from mlbench.bench.events import Event, SweepProgress
from mlbench.bench.sweep.standing import Standing, SweepStanding
from mlbench.host.files import replacing
from mlbench.report.documents import Document
from mlbench.report.journal import encode
from mlbench.report.results import run_head
from mlbench.report.sweep_json import results_document, sweep_document, sweep_rows


class SweepFiles:
    """Writes the files of a sweep as it goes on; each raises RunError when the disk refuses."""

    def __init__(self) -> None:
        self._heads: dict[str, Document] = {}
        self._written: dict[str, object] = {}
        self._last: SweepStanding | None = None

    @property
    def document(self) -> Document:
        """What `sweep.json` holds."""
        if self._last is None:
            raise RuntimeError("no sweep has started")
        return sweep_document(self._last, self._system)

    @cached_property
    def _system(self) -> Document:
        from mlbench.host.system import describe_system

        return describe_system()

    def __call__(self, event: Event) -> None:
        """Write what has changed."""
        if not isinstance(event, SweepProgress):
            return
        sweep = self._last = event.sweep
        for standing in sweep.configurations:
            self._write_results(sweep, standing)
        _write(sweep.folder / "sweep.json", encode(self.document))
        rows = sweep_rows(sweep)
        _write(sweep.folder / "sweep.csv", _csv(rows))
        with suppress(ImportError):
            _write(sweep.folder / "sweep.parquet", _parquet(rows))

    def _write_results(self, sweep: SweepStanding, standing: Standing) -> None:
        """Write the results of a configuration that has some which are not written yet."""
        version = (standing.state, len(standing.trials), standing.answers, standing.rates)
        if not standing.trials or self._written.get(standing.name) == version:
            return
        settings = standing.configuration.settings
        if standing.name not in self._heads:
            self._heads[standing.name] = run_head(settings)
        document = results_document(sweep.id, standing, self._heads[standing.name])
        _write(settings.output, encode(document))
        self._written[standing.name] = version


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)


def _csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: _column([row[name] for row in rows]) for name in rows[0]}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue())


def _column(values: list[Any]) -> list[Any]:
    """Return values of one type: as text where they differ."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds - {int, float}) == 0 or len(kinds) == 1:
        return [float(v) if isinstance(v, int) and float in kinds else v for v in values]
    return [None if value is None else str(value) for value in values]

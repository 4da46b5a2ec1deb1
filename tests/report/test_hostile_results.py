"""A result file may be anybody's: whatever is in it becomes a table, or one line that says why."""

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import optional
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlbench
from mlbench.contracts.errors import RequestError
from mlbench.report.rows import columns
from mlbench.report.tables import write_csv, write_parquet

KEYS = st.sampled_from(
    ["qps", "capacity_ci95", "findings", "notes", "host", "percentiles", "target_latency", "0.05",
     "name", "answers", "options", "=x", "\ud800"]
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)
ENTRY = st.dictionaries(KEYS, VALUES, max_size=6)
TABLE = st.dictionaries(st.text(max_size=3), st.dictionaries(KEYS, ENTRY, max_size=2), max_size=2)
RUN = st.fixed_dictionaries({"schema_version": st.just(1), "results": TABLE, "scan": TABLE})
CONFIGURATION = st.fixed_dictionaries(
    {"name": st.text(), "options": ENTRY, "answers": TABLE}, optional={"reason": VALUES}
)
SWEEP = st.fixed_dictionaries(
    {
        "schema_version": st.just(1),
        "configurations": st.lists(CONFIGURATION, max_size=2),
        "winners": TABLE,
    }
)
TRIAL = ENTRY.map(lambda entry: {**entry, "arrivals": "", "latency_s": {}, "workers": []})


@given(RUN | SWEEP | TRIAL | VALUES)
def test_any_document_is_a_table_or_refused(document: Any) -> None:
    """Rows are flat, and their texts can be printed; a file is read or a RequestError."""
    pytest.importorskip("pyarrow", reason=optional.PYARROW)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "results.json")
        path.write_text(json.dumps(document).replace("Infinity", "1e999"))
        try:
            found = mlbench.load(path)
        except RequestError as error:
            assert "\n" not in str(error)  # noqa: PT017 - what is raised is not always
            return
    for rows in (found.trials, found.answers):
        for row in rows:
            assert not any(isinstance(value, dict | list) for value in row.values())
            assert all(text.isprintable() for text in (*row, *row.values()) if type(text) is str)
        table = columns(rows)
        write_csv(io.BytesIO(), table)
        try:
            write_parquet(io.BytesIO(), table)
        except RequestError as error:
            assert "the column" in str(error)  # noqa: PT017 - what is raised is not always

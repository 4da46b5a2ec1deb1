import csv
import io
from typing import Any

import numpy as np
import optional
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbench.contracts.errors import RequestError
from mlbench.report import tables
from mlbench.report.tables import write_csv, write_parquet


def _csv(table: tables.Table) -> list[list[str]]:
    file = io.BytesIO()
    write_csv(file, table)
    return list(csv.reader(io.StringIO(file.getvalue().decode(), newline="")))


def _parquet(table: tables.Table) -> dict[str, list[Any]]:
    pytest.importorskip("pyarrow", reason=optional.PYARROW)
    from pyarrow.parquet import read_table

    file = io.BytesIO()
    write_parquet(file, table)
    found: dict[str, list[Any]] = read_table(io.BytesIO(file.getvalue())).to_pydict()
    return found


@given(st.lists(st.floats(allow_nan=False), min_size=1), st.integers(-(2**63), 2**63 - 1))
def test_numbers_read_back_as_they_were(floats: list[float], whole: int) -> None:
    """Every float and every integer of 64 bits is the same after a file of either form."""
    table = {"x_s": floats, "n": [whole] * len(floats)}
    rows = _csv(table)
    assert rows[0] == ["x_s", "n"]
    assert [float(x) for x, _ in rows[1:]] == floats
    assert {int(n) for _, n in rows[1:]} == {whole}
    assert _parquet(table) == table


def test_columns_of_numpy_are_as_good_as_lists() -> None:
    """Arrays of a trial's queries keep their values, in more rows than are written at once."""
    count = 2 * tables._ROWS_AT_ONCE + 1
    table = {"due_ns": np.arange(count) + 2**60, "status": np.ones(count, np.uint8)}
    rows = _csv(table)
    assert len(rows) == count + 1
    assert rows[-1] == [str(2**60 + count - 1), "1"]
    assert _parquet(table)["due_ns"] == table["due_ns"].tolist()


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", " =1", "=cmd|' /C calc'!A0", "＝1"],  # noqa: RUF001
)
def test_no_text_is_a_formula(text: str) -> None:
    """A cell or a heading that a spreadsheet would run begins with an apostrophe."""
    assert _csv({text: [text]}) == [[f"'{text}"], [f"'{text}"]]


def test_cells_that_are_no_plain_text() -> None:
    """Negative numbers stay numbers, unknown is empty, and texts may hold commas and line ends."""
    table = {"a": [-1, -0.5, None], "b": [True, False, None], "c": ['x, "y"', "1\n2", "ä"]}
    assert _csv(table) == [
        ["a", "b", "c"],
        ["-1", "true", 'x, "y"'],
        ["-0.5", "false", "1\n2"],
        ["", "", "ä"],
    ]
    assert _parquet(table)["c"] == table["c"]


def test_a_column_of_several_kinds_is_refused() -> None:
    """Parquet columns have one type: a table that has none is told by the column's name."""
    for values in ([1, "x"], [2**70]):
        with pytest.raises(RequestError, match="cannot write Parquet: the column 'x'"):
            _parquet({"x": values})

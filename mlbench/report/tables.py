"""Tables as files that other programs read: CSV, and Parquet."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts.errors import RequestError

Table = Mapping[str, Sequence[Any] | NDArray[Any]]
"""Columns of one length by name; a value is a number, a text, a bool, or None for unknown."""

_FORMULA = tuple("=+-@＝＋－＠")  # noqa: RUF001 - the wide forms begin a formula, too
"""What a spreadsheet takes for the beginning of a formula, which it runs (OWASP, CSV injection)."""

_ROWS_AT_ONCE = 100_000  # as Python objects: some tens of megabytes, however long a table is


def write_csv(file: BinaryIO, table: Table) -> None:
    """Write a table as CSV in UTF-8: a line of names, then the rows.

    Numbers read back as they were, unknown ones are empty, and bools are `true` and `false`. A text
    that a spreadsheet would take for a formula begins with an apostrophe.
    """
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_csv_cell, table))
    for begin in range(0, _length(table), _ROWS_AT_ONCE):
        writer.writerows(zip(*(_slice(c, begin) for c in table.values()), strict=True))
    text.flush()
    text.detach()  # the file stays open: it is its owner's to close


def write_parquet(file: BinaryIO, table: Table) -> None:
    """Write a table as Parquet. Raises RequestError for a column of more than one kind of value."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    arrays = {}
    for name, values in table.items():
        try:
            arrays[name] = pa.array(values)
        except (pa.ArrowException, OverflowError):
            raise RequestError(
                f"cannot write Parquet: the column '{name}' holds values of several kinds, or one "
                "that is too large"
            ) from None
    write_table(pa.table(arrays), file)


def _length(table: Table) -> int:
    return max(map(len, table.values()), default=0)


def _slice(column: Sequence[Any] | NDArray[Any], begin: int) -> Sequence[Any]:
    part = column[begin : begin + _ROWS_AT_ONCE]
    if isinstance(part, np.ndarray):
        numbers: list[Any] = part.tolist()
        return numbers
    return [_csv_cell(value) for value in part]


def _csv_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.lstrip().startswith(_FORMULA):
        return f"'{value}"
    return value

"""Trials and answers as flat rows, each a line of a table. Pure.

In JSON they are nested, and `mean`, `runtime` and `target_latency` tell no unit. Here each name is
that of a column, with its unit at its end. What has no place in a line of a table is left out:
objects in objects, lists of objects. The document has them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from mlbench.contracts.text import printable

Row = dict[str, Any]

_COLUMNS = {
    "count": "completed",
    "mean": "latency_mean_s",
    "percentiles": "latency_s",
    "runtime": "duration_s",
    "target_latency": "max_latency_s",
}
"""What `docs/results.md` has under names of 2019, by the words of one trial's document."""

_FIRST = ("arrivals", "target_latency", "target_qps", "verdict")
_TEXTS = ("notes", "reasons")  # columns in any case, though their lists are often empty
_OBJECTS = ("energy", "host")  # their figures are columns: where they are null there is none
_NOTHING: Mapping[str, Any] = {}


def trial_row(entry: Mapping[str, Any], head: Mapping[str, Any] = _NOTHING) -> Row:
    """Return a trial of `scan`, or a trial's document, as a row that begins with `head`."""
    row = _flat(_ordered(head, entry))
    return {("achieved_qps" if name == "qps" else name): value for name, value in row.items()}


def answer_row(entry: Mapping[str, Any], head: Mapping[str, Any] = _NOTHING) -> Row:
    """Return an answer as a row that begins with `head`; the interval's ends are two columns."""
    row = _flat(_ordered(head, entry))
    ends = entry.get("capacity_ci95")
    low, high = ends if isinstance(ends, list) and len(ends) == 2 else (None, None)
    row.pop("capacity_ci95", None)
    interval = _flat({"capacity_low_qps": low, "capacity_high_qps": high})
    return _inserted(row, "capacity_qps", interval)


def sweep_rows(sweep: Mapping[str, Any]) -> list[Row]:
    """Return a row for each configuration and answer of a sweep's document.

    Options are columns by their own names. A configuration without an answer has one row, with its
    state and the reason.
    """
    return [row for one in sweep["configurations"] for row in _configuration_rows(one, sweep)]


def _configuration_rows(configuration: Mapping[str, Any], sweep: Mapping[str, Any]) -> list[Row]:
    own = {key: v for key, v in configuration.items() if key not in ("answers", "options")}
    own = {"name": configuration["name"], **configuration["options"], **own}
    rows = []
    for kind, limits in configuration["answers"].items():
        for limit, answer in limits.items():
            row = answer_row(answer, {**own, "arrivals": kind, "max_latency_s": float(limit)})
            winner = sweep["winners"].get(kind, {}).get(limit, {})
            rows.append({**row, "is_winner": winner.get("name") == configuration["name"]})
    return rows or [_flat(own)]


def columns(rows: Iterable[Row]) -> dict[str, list[Any]]:
    """Return rows as columns of one length, in order of appearance; None where a row has none."""
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _ordered(head: Mapping[str, Any], entry: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**head, **{key: entry[key] for key in _FIRST if key in entry}, **entry}


def _flat(entry: Mapping[str, Any]) -> Row:
    row: Row = {}
    for key, value in entry.items():
        name = printable(_COLUMNS.get(key, key))
        if key == "findings" and isinstance(value, list):
            row[name] = " ".join(_codes(value))
        elif value is None and key in _OBJECTS:
            continue
        elif isinstance(value, dict):
            row |= {_joined(name, inner): _cell(v) for inner, v in value.items() if _fits(v)}
        elif key in _TEXTS or _fits(value):
            row[name] = _cell(value)
    return row


def _fits(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(item, str | int | float) for item in value)
    return not isinstance(value, dict)


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return "; ".join(printable(str(item)) for item in value)
    return printable(value) if isinstance(value, str) else value


def _codes(findings: Iterable[Any]) -> Iterable[str]:
    return (printable(str(f.get("code"))) for f in findings if isinstance(f, dict))


def _joined(name: str, key: str) -> str:
    """Return the column of `key` in `name`, with the unit last: latency_s, 99.9 is latency_p99_9_s.

    A point in a column's name would be an operator to query languages.
    """
    stem, unit = (name[:-2], "_s") if name.endswith("_s") else (name, "")
    inner = f"p{key.replace('.', '_')}" if key[:1].isdigit() else key
    return printable(f"{stem}_{inner}{unit}")


def _inserted(row: Row, after: str, more: Row) -> Row:
    """Return a row with `more` behind the column `after`, or at its end."""
    placed: Row = {}
    for name, value in row.items():
        placed[name] = value
        if name == after:
            placed |= more
    return placed | more

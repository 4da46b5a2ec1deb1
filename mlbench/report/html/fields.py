"""Reading documents that anybody may have written: what is not as expected counts as unknown."""

from typing import Any

from mlbench.contracts.text import printable

_SMALLEST, _LARGEST = 1e-12, 1e15  # of seconds, rates and bytes; beyond, a chart has no ticks
_LONGEST, _MOST = 500, 50  # characters of a text, and texts of a list, that a page shows


def number(value: Any) -> float | None:
    """Return a number that can be a figure of a machine; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= _LARGEST else None


def positive(value: Any) -> float | None:
    """Return a number above 0; None for anything else."""
    known = number(value)
    return known if known is not None and known >= _SMALLEST else None


def decimal(value: Any) -> float | None:
    """Return the number above 0 that a key such as 0.05 spells; None for anything else."""
    try:
        return positive(float(value)) if isinstance(value, str) else None
    except ValueError:
        return None


def text(value: Any, longest: int = _LONGEST) -> str:
    """Return a text without control characters, cut where it is long; empty for anything else."""
    if not isinstance(value, str):
        return ""
    return printable(value if len(value) <= longest else f"{value[:longest]}...")


def texts(value: Any) -> tuple[str, ...]:
    """Return the texts of a list, the first ones where there are many."""
    return tuple(filter(None, map(text, items(value)[:_MOST])))


def items(value: Any) -> list[Any]:
    """Return a list; an empty one for anything else."""
    return value if isinstance(value, list) else []


def table(value: Any) -> dict[str, Any]:
    """Return an object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}

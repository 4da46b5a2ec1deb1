"""A comparison in words, as a table for the terminal and as Markdown. Pure."""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from mlbench.bench.compare.change import Change
from mlbench.bench.compare.comparison import Comparison, Pair
from mlbench.bench.rates import Rate
from mlbench.contracts.text import shown
from mlbench.report.sentences import sentences

_HEAD = ("arrivals", "limit", "A qps", "B qps", "change", "95 % interval", "verdict")
_NUMBERS = (1, 2, 3, 4, 5)  # columns that stand to the right
_LARGEST_PERCENT = 1e4  # of a change that is told in digits


def table_lines(comparison: Comparison) -> Iterator[str]:
    """Yield the lines that a terminal shows."""
    for number, pair in enumerate(comparison.pairs):
        if number:
            yield ""
        yield f"A  {pair.a.name}"
        yield f"B  {pair.b.name}"
        rows = [_HEAD, *(_cells(change) for change in pair.changes)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            yield "  ".join(_aligned(row, widths)).rstrip()
        yield from (f"differs: {text}" for text in _differences(pair))
        yield from (f"note: {text}" for text in _notes(pair))


def _aligned(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
        yield cell.rjust(width) if column in _NUMBERS else cell.ljust(width)


def markdown_lines(comparison: Comparison) -> Iterator[str]:
    """Yield Markdown, as a pull request shows it; what comes from files cannot become markup."""
    for number, pair in enumerate(comparison.pairs):
        if number:
            yield ""
        yield f"**{_escaped(pair.b.name)}** against **{_escaped(pair.a.name)}**"
        yield ""
        yield f"| {' | '.join(_HEAD)} |"
        yield "|" + "|".join("---:" if n in _NUMBERS else "---" for n in range(len(_HEAD))) + "|"
        for change in pair.changes:
            *cells, verdict = map(_escaped, _cells(change))
            strong = change.verdict in ("faster", "slower")
            yield f"| {' | '.join(cells)} | {f'**{verdict}**' if strong else verdict} |"
        texts = [f"differs: {text}" for text in _differences(pair)] + list(_notes(pair))
        if texts:
            yield ""
        yield from (f"- {_escaped(text)}" for text in texts)


def answer_sentence(change: Change, a: str = "A", b: str = "B") -> str:
    """Return in one sentence how an answer of B stands to that of A."""
    where = f"{change.key[0]}, {_limit(change)}"
    if math.isnan(change.ratio.ratio) or not 0 < change.ratio.ratio < math.inf:
        return f"{where}: {change.verdict} ({'; '.join(sentences(change.findings))})"
    difference = change.ratio.ratio - 1
    by = f"{abs(difference):.1%}".replace("%", " %")
    size = f"{by} {'more' if difference >= 0 else 'less'}"
    words = {
        "faster": f"{b} is faster: it serves {size} than {a}",
        "slower": f"{b} is slower: it serves {size} than {a}",
        "no difference": f"there is no difference that matters: {b} serves {size} than {a}",
        "undecided": f"it cannot be told which is faster: {b} serves {size} than {a}",
    }
    return f"{where}: {words[change.verdict]} (95 % interval {_interval(change)})"


def _cells(change: Change) -> tuple[str, ...]:
    kind, _ = change.key
    return (
        kind,
        _limit(change),
        _rate(change.a),
        _rate(change.b),
        _percent(change.ratio.ratio),
        _interval(change),
        change.verdict,
    )


def _limit(change: Change) -> str:
    return f"{change.key[1] * 1e3:g} ms"


def _rate(rate: Rate) -> str:
    return "?" if rate.qps is None else f"{rate.qps:,.4g}" if rate.qps < 1e4 else f"{rate.qps:,.0f}"


def _percent(ratio: float) -> str:
    if not math.isfinite(ratio) or 100 * ratio > _LARGEST_PERCENT:
        return "?" if math.isnan(ratio) else "any"
    return f"{round(100 * (ratio - 1), 1) + 0.0:+.1f} %"  # never -0.0


def _interval(change: Change) -> str:
    low, high = change.ratio.low, change.ratio.high
    if math.isnan(change.ratio.ratio):
        return "?"
    return f"{_percent(low).removesuffix(' %')} to {_percent(high)}"


def _differences(pair: Pair) -> Iterator[str]:
    for one in pair.differences:
        yield f"{one.about}, {one.name}: {_value(one.a)} -> {_value(one.b)}"


def _value(value: Any) -> str:
    return shown(value if isinstance(value, str) else json.dumps(value))


def _notes(pair: Pair) -> Iterator[str]:
    for change in pair.changes:
        for text in sentences(change.findings):
            yield f"{change.key[0]}, {_limit(change)}: {text}"
    yield from sentences(pair.findings)


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is, in one line."""
    flat = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#~&" else c for c in flat)

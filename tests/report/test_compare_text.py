"""How a comparison is told: as a table, as Markdown, as JSON, and in a sentence."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest

from mlbench.bench.compare.comparison import Comparison, compare_sides
from mlbench.bench.compare.side import Side
from mlbench.bench.rates import Rate
from mlbench.report.compare_json import comparison_document
from mlbench.report.compare_text import answer_sentence, markdown_lines, table_lines

EXPONENTIAL = ("exponential", 0.05)


def _side(name: str, *rates: Rate, **settings: Any) -> Side:
    keys = [EXPONENTIAL, ("linear", 0.1)]
    return Side(
        name=name,
        answers=dict(zip(keys, rates, strict=False)),
        settings={"percentile": 99.0, "model": "m.onnx", **settings},
        system={},
        version="1",
        served={},
        started=datetime(2026, 1, 1, tzinfo=UTC),
    )


def _found(b_name: str = "after.json", **settings: Any) -> Comparison:
    a = _side("before.json", Rate(104.0, 103.0, 105.0), Rate(0.0, 0.0, 0.0), threads=1)
    b = _side(b_name, Rate(98.0, 97.0, 99.0), Rate(88.0, 0.0, math.inf), threads=2, **settings)
    return compare_sides([a, b], 0.03)


def test_the_table_has_a_line_for_each_answer() -> None:
    """Capacities, the change with its interval, the verdict, what differs, and notes."""
    lines = list(table_lines(_found()))
    assert lines[:2] == ["A  before.json", "B  after.json"]
    assert lines[3].split() == [
        *("exponential", "50", "ms", "104", "98", "-5.8", "%", "-7.1", "to", "-4.4", "%", "slower")
    ]
    assert lines[4].split()[:4] == ["linear", "100", "ms", "0"]
    assert lines[4].split()[-3:] == ["?", "?", "undecided"]
    assert "differs: settings, threads: 1 -> 2" in lines
    assert any(line.startswith("note: linear, 100 ms: it is not certain") for line in lines)
    assert any("not measured in turns, begun 0 minutes apart" in line for line in lines)


def test_markdown_is_a_table_that_no_file_can_break() -> None:
    """Pipes, tags, links and line ends in a name or a setting stay text."""
    hostile = "x|<img src=x>[a](b)\n# y"
    lines = list(markdown_lines(_found(hostile, backend_options={"k": "|<b>\n|"})))
    head = lines.index("| arrivals | limit | A qps | B qps | change | 95 % interval | verdict |")
    assert lines[head + 2].endswith("| **slower** |")
    assert lines[head + 2].count("|") == 8
    text = "\n".join(lines)
    assert "\\<img" in text
    assert "<img" not in text.replace("\\<img", "")
    assert not any(line.startswith("#") for line in lines)


def test_json_holds_everything_and_no_infinity() -> None:
    """Open ends are null, and every verdict has its figures."""
    document = json.loads(json.dumps(comparison_document(_found()), allow_nan=False))
    (pair,) = document["comparisons"]
    change = pair["answers"]["exponential"]["0.05"]
    assert change["verdict"] == "slower"
    assert change["ratio"] == pytest.approx(98 / 104)
    assert change["a"] == {"capacity_qps": 104.0, "capacity_ci95": [103.0, 105.0]}
    assert pair["answers"]["linear"]["0.1"]["ratio_ci95"] == [0.0, None]
    assert pair["differences"] == [{"about": "settings", "name": "threads", "a": 1, "b": 2}]
    assert [one["code"] for one in pair["findings"]] == ["measured_apart"]


@pytest.mark.parametrize(
    ("b", "says"),
    [
        (Rate(98.0, 97.0, 99.0), "B is slower: it serves 5.8 % less than A"),
        (Rate(110.0, 109.0, 111.0), "B is faster: it serves 5.8 % more than A"),
        (Rate(104.5, 104.4, 104.6), "there is no difference that matters: B serves 0.5 % more"),
        (Rate(102.0, 90.0, 112.0), "it cannot be told which is faster: B serves 1.9 % less"),
        (Rate(0.0, 0.0, 0.0), "slower (B meets the limit at no rate, A does)"),
    ],
)
def test_the_answer_is_one_sentence(b: Rate, says: str) -> None:
    """Who is faster, by how much, and how sure that is."""
    found = compare_sides([_side("a", Rate(104.0, 103.0, 105.0)), _side("b", b)], 0.03)
    sentence = answer_sentence(found.pairs[0].changes[0])
    assert sentence.startswith("exponential, 50 ms: ")
    assert says in sentence

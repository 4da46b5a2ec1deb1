import ast
import re
from pathlib import Path

import pytest

from mlbench.contracts.findings import Finding
from mlbench.report.sentences import SENTENCES, sentence

ROOT = Path(__file__).parents[2]
COMPARED = {
    "percentile": 99.0,
    "latency_s": 0.0123,
    "max_latency_s": 0.010,
    "late": 31,
    "queries": 900,
}


def _codes_in_source() -> set[str]:
    """Return the literal codes of all findings that the source makes."""
    codes = set()
    for path in set((ROOT / "mlbench").rglob("*.py")) - {ROOT / "mlbench/report/sentences.py"}:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Finding", "_resting_on"):
                texts = [n.value for n in ast.walk(node.args[0]) if isinstance(n, ast.Constant)]
                codes.update(text for text in texts if isinstance(text, str))
    return codes


def test_every_finding_has_a_sentence() -> None:
    """The codes that the source makes are those that have a sentence."""
    assert _codes_in_source() == set(SENTENCES)


def test_every_code_is_documented() -> None:
    """The page on results lists the codes that scripts match, and no others."""
    page = (ROOT / "docs/results.md").read_text()
    table = page[page.index("## Findings") :]
    assert set(re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE)) == set(SENTENCES)


@pytest.mark.parametrize(
    ("code", "figures", "text"),
    [
        ("over_limit", COMPARED, "p99 12.3 ms is over 10 ms: 31 of 900 were later"),
        ("over_limit", {**COMPARED, "latency_s": None},
         "p99 (not served by the end) is over 10 ms: 31 of 900 were later"),
        ("within_limit", {**COMPARED, "latency_s": 0.010},
         "p99 10 ms is within 10 ms: 31 of 900 were later"),
        ("generator_late",
         {**COMPARED, "lag_s": 0.004, "latency_less_lag_s": 0.0084, "late_less_lag": 2},
         "the load generator's own lateness decides (its p99 is 4 ms): p99 12.3 ms is over 10 ms: "
         "31 of 900 were later; without it p99 8.4 ms is within 10 ms: 2 of 900 were later"),
        ("generator_off_rate", {"error_fraction": -0.034, "target_qps": 1200.0},
         "the load generator sent 3.4% less than the 1,200 qps asked for"),
        ("all_trials_invalid", {"because": "queries_lost", "lost": 3, "queries": 900},
         "every trial was invalid: 3 of 900 queries got no answer"),
        ("model_misfit", {"difference_fraction": 0.4},
         "the queue model does not fit: measured latencies differ from it by +40%; the interval "
         "counts that"),
        ("trials_differ", {"scatter_fraction": 0.031},
         "the machine changes: service times of the next trial are uncertain by 3.1%, more than "
         "their number explains"),
        ("layout", {"workers": 2, "threads": 1, "query_s": 0.0055, "batch_size": 1},
         "workers: 2 of 1 thread, as a query takes 5.5 ms on one; --workers-per-device and "
         "--threads decide otherwise"),
    ],
)  # fmt: skip
def test_figures_become_a_sentence(code: str, figures: dict[str, float], text: str) -> None:
    """A finding's figures are told with their units."""
    assert sentence(Finding(code, figures)) == text


def test_a_sentence_cannot_steer_a_terminal() -> None:
    """What a model says of itself is shown with its escapes spelled out."""
    found = Finding("synthetic_model", {"description": "\x1b]0;gone\x07\nred\u202e"})
    text = sentence(found)
    assert text.isprintable()
    assert "\\x1b]0;gone" in text

import re
from pathlib import Path

import numpy as np
import pytest

import mlbench
from mlbench.records import Completions
from mlbench.report.queries import DTYPES
from mlbench.report.rows import columns, trial_row
from mlbench.report.trial_json import trial_document

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "results.md").read_text()
SPREADS = re.compile(
    r"(queue|service|return)_\w+_s|energy_\w+_[js]|latency_(p[0-9_]+|max)_s|host_\w+"
)


@pytest.mark.parametrize("name", ["recorded_run", "recorded_sweep"])
def test_every_column_is_documented(name: str) -> None:
    """Each column of a table stands in docs/results.md, under its own name or with its like."""
    found = mlbench.load(HERE / f"{name}.json")
    options = {key for c in found.document.get("configurations", []) for key in c["options"]}
    _look_up(columns([*found.trials, *found.answers]).keys() - options)


def test_every_column_of_a_trial_is_documented(completions: Completions) -> None:
    """So do those of one trial's document and those of its queries."""
    _look_up(set(trial_row(trial_document(completions, np.zeros(6, np.int64)))))
    _look_up(set(DTYPES))


def _look_up(names: set[str]) -> None:
    missing = {name for name in names if not SPREADS.fullmatch(name) and f"`{name}`" not in PAGE}
    assert missing == set()

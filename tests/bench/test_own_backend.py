"""The backend of docs/backends.md as somebody else's package: a file and a line of entry points."""

import importlib
import os
import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from mlbench.bench.job import prepare
from mlbench.bench.pool import open_pool
from mlbench.bench.settings import TrialSettings, make_settings
from mlbench.contracts.registry import GROUP
from mlbench.trial.schedule import make_schedule

PAGE = (Path(__file__).parents[2] / "docs/backends.md").read_text()
WEIGHTS = np.random.default_rng(3).random((5, 4), np.float32)


def _block(language: str, word: str) -> str:
    """Return the page's only block of code in a language that has this word in it."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    (block,) = [block for block in blocks if word in block]
    return block


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install the package for this process and its workers; return the file of a model."""
    entries = tomllib.loads(_block("toml", "linear"))["project"]["entry-points"][GROUP]
    (line,) = [f"{name} = {value}" for name, value in entries.items()]
    about = tmp_path / "mlbench_linear-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mlbench-linear\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{GROUP}]\n{line}\n")
    (tmp_path / "mlbench_linear.py").write_text(_block("python", "class LinearBackend"))
    np.save(tmp_path / "weights.npy", WEIGHTS)
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    monkeypatch.delitem(sys.modules, "mlbench_linear", raising=False)
    return tmp_path / "weights.npy"


def test_a_backend_of_ones_own_serves_queries(installed: Path) -> None:
    """Its worker process answers each query with the class that the model gives its sample."""
    given = {"backend": "linear", "model": installed, "dataset": "synthetic", "count": 20}
    settings = make_settings(TrialSettings, {"qps": 200.0, "threads": 1, **given}, {})
    job = prepare(settings, lambda *_: None)
    with open_pool(job, settings, lambda *_: None) as pool:
        completions = pool.run(make_schedule("linear", 200.0, 40, seed=1))
    assert completions.completed == 40
    assert pool.backends[0]["name"] == "linear"
    classes = (np.load(job.samples.feeds["x"]) @ WEIGHTS).argmax(axis=1)
    assert completions.sample is not None
    assert completions.prediction is not None
    assert completions.prediction.tolist() == classes[completions.sample].tolist()

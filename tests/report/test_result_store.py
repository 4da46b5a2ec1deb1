import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mlbench.contracts.errors import RequestError, RunError
from mlbench.contracts.findings import Finding
from mlbench.outcomes import Accuracy, Answer, Summary, Trial
from mlbench.report.results import ResultStore

HEAD = {
    "started": "2024-05-01T12:00:00+00:00",
    "cmdline": "mlbench run",
    "version": "1.0",
    "settings": {"count": 500},
    "system": {"cpus": 2},
}
SKIPPED = Finding("accuracy_skipped", {"why": "synthetic data has no true answers"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the results go."""
    return tmp_path / "results.json"


def validated(path: Path) -> dict[str, Any]:
    """Read a result file that must fit the schema."""
    schema = json.loads((files("mlbench.report") / "results.schema.json").read_text())
    document: dict[str, Any] = json.loads(path.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    return document


def test_a_whole_run_fits_the_schema(
    path: Path, summary: Summary, trial: Trial, answers: list[Answer]
) -> None:
    """After each step of a run the file is there, whole, and fits the schema."""
    store = ResultStore(path, HEAD)
    store.add_accuracy(summary, Accuracy(363, 501, 75.69, skipped_images=("a.jpg",)))
    assert validated(path)["check_accuracy"]["accuacy"] == pytest.approx(72.455, abs=1e-3)
    store.add_trial(trial)
    assert validated(path)["scan"]["linear"]["linear/0.01/100"]["seed"] == 7
    store.set_answers(answers)
    document = validated(path)
    assert document["final_results"] == {
        "linear": {"0.01": 127, "0.1": 9.37},
        "exponential": {"0.01": -1},
    }
    assert document["results"]["linear"]["0.01"]["qps"] == 127.9
    assert document["settings"] == {"count": 500}


def test_the_schema_refuses_an_unknown_key(path: Path) -> None:
    """A key that the interface does not name does not pass."""
    ResultStore(path, HEAD).add_finding(SKIPPED)
    document = validated(path)
    path.write_text(json.dumps({**document, "surprise": 1}))
    with pytest.raises(jsonschema.ValidationError, match="surprise"):
        validated(path)


def test_a_repeated_trial_gets_a_number(path: Path, trial: Trial) -> None:
    """Trials at the same rate for the same target stand side by side."""
    store = ResultStore(path, HEAD)
    for _ in range(3):
        store.add_trial(trial)
    assert list(validated(path)["scan"]["linear"]) == [
        "linear/0.01/100",
        "linear/0.01/100#2",
        "linear/0.01/100#3",
    ]


def test_a_trial_shows_its_verdict_for_every_target(path: Path, trial: Trial) -> None:
    """A trial that serves several targets stands once, with each target's verdict."""
    ResultStore(path, HEAD).add_trial(trial)
    entry = validated(path)["scan"]["linear"]["linear/0.01/100"]
    assert (entry["verdict"], entry["reasons"]) == ("pass", [])
    judged = entry["judgements"]["0.2"]
    assert judged["verdict"] == "fail"
    assert judged["reasons"] == ["p99 300 ms is over 200 ms: 50 of 501 were later"]
    assert judged["findings"][0]["code"] == "over_limit"
    assert judged["findings"][0]["figures"]["late"] == 50


def test_unknown_figures_are_null(path: Path, answers: list[Answer]) -> None:
    """An unmet target has no figures, and an infinite end of an interval is null."""
    ResultStore(path, HEAD).set_answers(answers)
    results = validated(path)["results"]
    assert results["linear"]["0.1"]["capacity_ci95"] == [9.0, None]
    unmet = results["exponential"]["0.01"]
    assert (unmet["qps"], unmet["mean"], unmet["capacity_ci95"]) == (-1, None, None)


def test_the_earlier_file_is_kept(path: Path, trial: Trial) -> None:
    """The first write moves an earlier file to .1, and not before; later writes do not."""
    path.write_text("old")
    store = ResultStore(path, HEAD)
    assert path.read_text() == "old"
    store.add_trial(trial)
    store.add_trial(trial)
    assert (path.parent / "results.json.1").read_text() == "old"
    assert sorted(p.name for p in path.parent.iterdir()) == ["results.json", "results.json.1"]


@pytest.mark.parametrize("name", ["missing/results.json", "file/results.json", "folder", "x" * 250])
def test_a_path_that_cannot_be_written_is_found_first(tmp_path: Path, name: str) -> None:
    """A missing folder, a file for a folder, a folder for a file, a long name: refused at once."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match="cannot write") as error:
        ResultStore(tmp_path / name, HEAD)
    assert "\n" not in str(error.value)


def test_a_folder_that_takes_no_files_is_found_first() -> None:
    """A folder in which nobody can create files is refused at once."""
    with pytest.raises(RequestError, match=r"cannot write /proc/results\.json"):
        ResultStore("/proc/results.json", HEAD)


def test_a_failed_write_leaves_the_file_whole(
    path: Path, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk is full, the last whole file stays and no draft is left."""
    store = ResultStore(path, HEAD)
    store.add_trial(trial)
    before = path.read_text()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left"):
        store.add_trial(trial)
    assert path.read_text() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_head_that_is_not_json_is_a_fault(path: Path) -> None:
    """NaN among the settings is found when the store is made."""
    head = {**HEAD, "settings": {"x": float("nan")}}
    with pytest.raises(ValueError, match="not JSON compliant"):
        ResultStore(path, head)

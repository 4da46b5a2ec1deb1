import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import mlbench
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
    """Read results, with the journal of a run that goes on; they must fit the schema."""
    schema = json.loads((files("mlbench.report") / "results.schema.json").read_text())
    document = mlbench.load(path).document
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
    assert validated(path)["scan"]["linear"]["linear/0.01/100"]["energy_j"] == 750.5
    store.set_answers(answers)
    document = validated(path)
    assert document["final_results"] == {
        "linear": {"0.01": 127, "0.1": 9.37},
        "exponential": {"0.01": -1},
    }
    assert document["results"]["linear"]["0.01"]["qps"] == 127.9
    assert document["results"]["linear"]["0.01"]["energy_per_query_j"] == 750.5 / 501
    assert document["results"]["exponential"]["0.01"]["energy_per_query_j"] is None
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
    """The first save keeps an earlier file as .1, and not before; later saves keep nothing."""
    path.write_text("old")
    store = ResultStore(path, HEAD)
    assert path.read_text() == "old"
    store.add_trial(trial)
    store.add_trial(trial)
    store.close()
    assert (path.parent / "results.json.1").read_text() == "old"
    assert sorted(p.name for p in path.parent.iterdir()) == ["results.json", "results.json.1"]


def test_no_earlier_file_is_lost(path: Path, trial: Trial) -> None:
    """Each run's file is kept, under the first number that is free."""
    path.write_text("first")
    (path.parent / "results.json.2").mkdir()
    for _ in range(3):
        store = ResultStore(path, HEAD)
        store.add_trial(trial)
        store.close()
    assert (path.parent / "results.json.1").read_text() == "first"
    kept = [path.with_name(f"results.json.{number}") for number in (3, 4)]
    assert all(len(mlbench.load(file).trials) == 1 for file in kept)


def test_a_run_that_saves_nothing_leaves_nothing(path: Path) -> None:
    """A run that is refused after it began leaves the earlier file alone, and no other."""
    path.write_text("old")
    ResultStore(path, HEAD).close()
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_the_file_is_whole_when_the_run_has_ended(path: Path, trial: Trial) -> None:
    """After the end it holds all by itself, and nothing lies beside it."""
    store = ResultStore(path, HEAD)
    store.add_finding(SKIPPED)
    store.add_trial(trial)
    before = mlbench.load(path).document
    store.close()
    whole = json.loads(path.read_text())
    assert {**whole, "runtime": 0} == {**before, "runtime": 0}
    assert list(path.parent.iterdir()) == [path]


def test_a_killed_run_loses_nothing(path: Path, trial: Trial) -> None:
    """What it saved is read from file and journal, and kept whole when another run begins."""
    store = ResultStore(path, HEAD)
    store.add_finding(SKIPPED)
    for _ in range(3):
        store.add_trial(trial)
    saved = mlbench.load(path).document
    assert len(saved["scan"]["linear"]) == 3
    os.close(store._journal._descriptor)  # as the kernel does
    next_run = ResultStore(path, HEAD)
    assert mlbench.load(path).document == saved
    next_run.add_trial(trial)
    assert mlbench.load(path.with_name("results.json.1")).document == saved
    assert len(mlbench.load(path).trials) == 1


def test_a_killed_run_survives_a_run_that_is_refused(path: Path, trial: Trial) -> None:
    """A run that saves nothing leaves the killed one's journal where it is."""
    store = ResultStore(path, HEAD)
    store.add_trial(trial)
    store.add_trial(trial)
    os.close(store._journal._descriptor)
    ResultStore(path, HEAD).close()
    assert len(mlbench.load(path).trials) == 2


def test_a_line_that_a_crash_cut_short_is_left_out(path: Path, trial: Trial) -> None:
    """Whatever was saved before the last line is read."""
    store = ResultStore(path, HEAD)
    for _ in range(3):
        store.add_trial(trial)
    journal = path.with_name("results.json.journal")
    os.truncate(journal, journal.stat().st_size - 7)
    assert len(mlbench.load(path).trials) == 2


def test_another_file_s_journal_is_not_read(path: Path, trial: Trial) -> None:
    """Changes belong to the results that they were made to, and to no other file of that name."""
    store = ResultStore(path, HEAD)
    store.add_trial(trial)
    store.add_trial(trial)
    path.write_bytes(path.read_bytes().replace(b'"1.0"', b'"1.1"'))
    assert len(mlbench.load(path).trials) == 1


def test_an_output_in_use_is_refused(path: Path, trial: Trial) -> None:
    """Two runs never write to one file, by whatever name; when one has ended the other may."""
    link = path.with_name("latest.json")
    link.symlink_to(path.name)
    store = ResultStore(path, HEAD)
    for name in (path, link):
        with pytest.raises(RequestError, match=r"being written by another run.*--output"):
            ResultStore(name, HEAD)
    store.add_trial(trial)
    store.close()
    ResultStore(link, HEAD).close()


def test_a_link_is_followed(tmp_path: Path, trial: Trial) -> None:
    """What a link points to is written, and the link stays, also where nothing is there yet."""
    (tmp_path / "folder").mkdir()
    link, target = tmp_path / "results.json", tmp_path / "folder" / "run.json"
    link.symlink_to("folder/run.json")
    for _ in range(2):
        store = ResultStore(link, HEAD)
        store.add_trial(trial)
        assert len(mlbench.load(link).trials) == 1
        store.close()
    assert link.is_symlink()
    assert sorted(p.name for p in target.parent.iterdir()) == ["run.json", "run.json.1"]


def test_saving_costs_the_same_for_every_trial(path: Path, trial: Trial) -> None:
    """The hundredth trial adds as many bytes to the disk as the second, and none are rewritten."""
    store = ResultStore(path, HEAD)
    store.add_trial(trial)
    written, whole = [], path.stat()
    journal = path.with_name("results.json.journal")
    for _ in range(100):
        before = journal.stat().st_size
        store.add_trial(trial)
        written.append(journal.stat().st_size - before)
    assert max(written) - min(written) < 20
    assert path.stat().st_mtime_ns == whole.st_mtime_ns


@pytest.mark.parametrize(
    "name", ["missing/results.json", "file/results.json", "folder", "fifo", "loop", "x" * 250]
)
def test_a_path_that_cannot_be_written_is_found_first(tmp_path: Path, name: str) -> None:
    """What is missing, or no plain file, and a name that is too long are refused at once."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match="cannot write") as error:
        ResultStore(tmp_path / name, HEAD)
    assert "\n" not in str(error.value)


def test_a_folder_that_takes_no_files_is_found_first() -> None:
    """A folder in which nobody can create files is refused at once."""
    with pytest.raises(RequestError, match=r"cannot write /proc/results\.json"):
        ResultStore("/proc/results.json", HEAD)


def test_a_full_disk_is_found_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room for results, the run does not begin."""
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(RequestError, match=r"cannot write .*results\.json: No space left"):
        ResultStore(path, HEAD)
    assert list(path.parent.iterdir()) == []


def test_a_failed_save_loses_nothing(
    path: Path, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk is full, what was saved can be read, and the run's end can save the rest."""
    store = ResultStore(path, HEAD)
    store.add_trial(trial)
    store.add_trial(trial)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RunError, match="No space left"):
            store.add_trial(trial)
    assert len(mlbench.load(path).trials) == 2
    store.close()
    assert len(mlbench.load(path).trials) == 3
    assert list(path.parent.iterdir()) == [path]


def test_an_end_that_cannot_be_written_leaves_the_journal(
    path: Path, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the whole file does not fit any more, it and the journal still hold everything."""
    store = ResultStore(path, HEAD)
    store.add_trial(trial)
    store.add_trial(trial)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left"):
        store.close()
    assert len(mlbench.load(path).trials) == 2
    ResultStore(path, HEAD)


def full(*_: int) -> None:
    """Stand in for a call that finds the disk full."""
    raise OSError(28, "No space left on device")


def test_a_head_that_is_not_json_is_a_fault(path: Path) -> None:
    """NaN among the settings is found when the store is made."""
    head = {**HEAD, "settings": {"x": float("nan")}}
    with pytest.raises(ValueError, match="not JSON compliant"):
        ResultStore(path, head)

import json
import os
from importlib.resources import files
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import mlbench
from mlbench.contracts.errors import RequestError
from mlbench.records import Completions
from mlbench.report.raw import save_raw
from mlbench.report.trial_json import trial_document

RECORDED = Path(__file__).with_name("recorded_run.json")


def test_a_recorded_run_loads() -> None:
    """A file of an earlier version, without findings, is read as rows and fits the schema."""
    found = mlbench.load(RECORDED)
    assert found.holds == "run"
    assert len(found.answers) == 4
    assert {row["arrivals"] for row in found.trials} == {"linear", "exponential"}
    best = found.document["final_results"]["exponential"]["0.01"]
    (answer,) = [
        row
        for row in found.answers
        if (row["arrivals"], row["max_latency_s"]) == ("exponential", 0.01)
    ]
    assert int(answer["qps"]) == best
    schema = json.loads((files("mlbench.report") / "results.schema.json").read_text())
    jsonschema.validate(found.document, schema)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "it is not JSON"),
        ('{"schema_version": NaN}', "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ('{"schema_version": "1"}', "not the results of a run"),
        ('{"schema_version": 1, "results": {}, "scan": {"linear": [1]}}', "not the results of"),
        ("[1]", "not the results of a run"),
        ('{"a": 1}', "not the results of a run"),
        ('{"schema_version": 1, "configurations": [1]}', "not the results of a run"),
        ('{"schema_version": 1, "configurations": [], "winners": [1]}', "not the results of a run"),
        (
            '{"schema_version": 1, "winners": {}, "configurations": [{"name": "a", "options": {},'
            ' "answers": {"linear": {"x": {}}}}]}',
            "not the results of a run",
        ),
        ('{"schema_version": 99, "configurations": []}', "written by a newer mlbench"),
        ('{"schema_version": 99}', "written by a newer mlbench"),
    ],
)
def test_what_is_no_result_file_is_refused(tmp_path: Path, content: str, why: str) -> None:
    """The file is named, with what is wrong with it."""
    path = tmp_path / "r.json"
    path.write_text(content)
    with pytest.raises(RequestError, match=f"{path}.*{why}"):
        mlbench.load(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A path with nothing at it is told as such."""
    with pytest.raises(RequestError, match="no such file"):
        mlbench.load(tmp_path / "nothing.json")


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    """A pipe that nobody writes to, or a folder without a sweep, does not hold anybody up."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(RequestError, match="it is a FIFO, not a plain file"):
        mlbench.load(tmp_path / "fifo")
    with pytest.raises(RequestError, match=r"sweep\.json: no such file"):
        mlbench.load(tmp_path)


def test_a_trial_s_document_is_one_row(completions: Completions, tmp_path: Path) -> None:
    """What `trial --json` printed is read as one trial, named as those of a run are."""
    document = trial_document(completions, np.zeros(6, np.int64))
    (tmp_path / "t.json").write_text(json.dumps(document))
    found = mlbench.load(tmp_path / "t.json")
    assert (found.holds, found.document, found.answers) == ("trial", document, [])
    (row,) = found.trials
    assert (row["arrivals"], row["completed"], row["latency_max_s"]) == ("linear", 4, 0.006)
    assert row["queue_p50_s"] == document["queue_s"]["50"]
    in_run = mlbench.load(RECORDED).trials[0]
    assert {"target_qps", "achieved_qps", "duration_s", "latency_p99_s"} <= row.keys() & in_run


def test_the_queries_of_a_trial_are_columns(completions: Completions, tmp_path: Path) -> None:
    """What `trial --raw` saved is read as the columns that it was."""
    save_raw(tmp_path / "q.npz", completions)
    found = mlbench.load(tmp_path / "q.npz")
    assert (found.holds, found.trials, found.answers) == ("queries", [], [])
    assert found.queries["due_ns"].tolist() == completions.due_ns.tolist()
    assert found.queries["status"].dtype == np.uint8


def test_a_sweep_is_read_by_its_file_or_folder(tmp_path: Path) -> None:
    """Each configuration's answers are rows with its options; one that failed has its reason."""
    content = RECORDED.with_name("recorded_sweep.json").read_text()
    (tmp_path / "sweep.json").write_text(content)
    found = mlbench.load(tmp_path)
    assert found == mlbench.load(tmp_path / "sweep.json")
    assert (found.holds, found.trials) == ("sweep", [])
    assert [row["batch_size"] for row in found.answers] == [1, 4, 8]
    assert [row.get("capacity_high_qps") for row in found.answers] == [420.9, None, None]
    assert [row["max_latency_s"] for row in found.answers[:2]] == [0.05, 0.05]
    assert [row.get("is_winner") for row in found.answers] == [False, True, None]
    assert found.answers[2]["reason"] == "worker 0 (cpu) ended"

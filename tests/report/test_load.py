import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

import mlbench
from mlbench.contracts.errors import RequestError

RECORDED = Path(__file__).with_name("recorded_run.json")


def test_a_recorded_run_loads() -> None:
    """A file of an earlier version, without findings, is read as rows and fits the schema."""
    found = mlbench.load(RECORDED)
    assert len(found.answers) == 4
    assert {row["arrivals"] for row in found.trials} == {"linear", "exponential"}
    best = found.document["final_results"]["exponential"]["0.01"]
    (answer,) = [
        row
        for row in found.answers
        if (row["arrivals"], row["target_latency"]) == ("exponential", 0.01)
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
    with pytest.raises(RequestError, match="No such file"):
        mlbench.load(tmp_path / "nothing.json")

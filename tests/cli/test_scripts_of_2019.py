import json
from importlib.resources import files

import jsonschema
import numpy as np
import pytest
from forms_of_2019 import read_log, read_results
from PIL import Image

SCHEMA = json.loads(files("mlbench").joinpath("report/results.schema.json").read_text())
BRIEF = ("--budget", 2, "--time", 0.4, "--quiet", "--seed", 1)
SIMULATED = ("--backend", "simulated", "--skip-accuracy")
FAULTY = ("--backend", "faulty", "--skip-accuracy")


@pytest.fixture
def told(command, tmp_path):
    """Return a function that makes a run, and what its lines and its file say to such a script."""

    def run(*words):
        output = tmp_path / "results.json"
        result = command("run", *words, *BRIEF, "--output", output)
        document = json.loads(output.read_text())
        read_results(document)
        jsonschema.validate(document, SCHEMA)
        log = read_log(result.out.splitlines())
        assert log.final == document["final_results"], result.err
        assert sorted(log.trials) == sorted(
            key.partition("#")[0] for trials in document["scan"].values() for key in trials
        )
        return log, document

    return run


def test_a_run_with_met_and_unmet_targets(told):
    """Saturation trials, trials of few queries and FAIL lines parse, and tiles are numbers."""
    log, document = told(
        *SIMULATED, "--backend-option", "service_ms=2", "--max-latency", "0.001,0.5"
    )
    assert log.final["linear"]["0.001"] == log.final["exponential"]["0.001"] == -1
    assert log.final["linear"]["0.5"] > 100
    assert not log.has_accuracy
    scan = [trial for trials in document["scan"].values() for trial in trials.values()]
    assert any(trial["percentiles"]["99.9"] is None for trial in scan)
    assert all(tile > 0 for tiles in log.tiles for tile in tiles.values())


@pytest.mark.parametrize("fail_p", [0.05, 1])
def test_a_run_with_failed_queries(told, fail_p):
    """Trials in which some or all queries failed parse, and have 0 where nothing was measured."""
    log, document = told(
        *FAULTY, "--backend-option", "service_ms=5", "--backend-option", f"fail_p={fail_p}",
        "--max-latency", 0.1, "--arrivals", "linear",
    )  # fmt: skip
    assert log.final == {"linear": {"0.1": -1}}
    counts = [trial["count"] for trial in document["scan"]["linear"].values()]
    assert any(counts) is (fail_p < 1)
    assert any(tile > 0 for tiles in log.tiles for tile in tiles.values()) is (fail_p < 1)


def test_a_run_with_accuracy(told, models, tmp_path):
    """The accuracy stage over two images has its two lines, with numbers for tiles."""
    for name, level in (("a", 20), ("b", 200)):
        Image.fromarray(np.full((240, 240, 3), level, np.uint8)).save(tmp_path / f"{name}.jpg")
    (tmp_path / "val_map.txt").write_text("a.jpg 0\nb.jpg 1\n")
    words = ("--model", models["images"], "--dataset", "imagenet", "--dataset-path", tmp_path)
    log, document = told(*words, "--max-latency", 0.2, "--arrivals", "linear")
    assert log.has_accuracy
    assert document["check_accuracy"]["percentiles"]["99"] is None

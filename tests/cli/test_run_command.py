import json
import re
from importlib.resources import files

import jsonschema
import numpy as np
import pytest
from PIL import Image

SIMULATED = ("--backend", "simulated", "--backend-option", "service_ms=2", "--skip-accuracy")
SMALL = ("--budget", 8, "--time", 2)
_TRIES = 4
BRIEF = ("--max-latency", 0.2, "--arrivals", "linear", "--budget", 1, "--time", 0.5)


def _valid(path):
    """Return a result file that follows the schema."""
    document = json.loads(path.read_text())
    schema = json.loads(files("mlbench").joinpath("report/results.schema.json").read_text())
    jsonschema.validate(document, schema)
    return document


@pytest.fixture(scope="module")
def told(process, tmp_path_factory):
    """A whole run on a simulated device: what it said, and its result file."""
    folder = tmp_path_factory.mktemp("run")
    words = ("--max-latency", 0.010, "--seed", 3, "--quiet")
    result = process("run", *SIMULATED, *SMALL, *words, cwd=folder)
    return result, _valid(folder / "results.json")


def test_a_run_prints_an_answer_for_each_question(told):
    """Linear and exponential answers come as ===RESULT lines, then one ===FINAL_RESULT."""
    result, document = told
    lines = result.out.splitlines()
    answers = [line for line in lines if line.startswith("===RESULT: ")]
    assert [line.split()[1] for line in answers] == ["linear", "exponential"]
    for line in answers:
        assert re.fullmatch(
            r"===RESULT: \w+ target_latency=0\.01 (measured_latency=\S+ qps=[\d.]+|qps=FAIL)", line
        )
    assert lines[-1] == f"===FINAL_RESULT: {document['final_results']}"


def test_every_trial_is_a_line_and_an_entry(told):
    """Each trial is printed with its key and saved under it, with its seed and verdict."""
    result, document = told
    keys = [key for kind in document["scan"].values() for key in kind]
    trials = re.findall(r"^((?:linear|exponential)/\S+) qps=", result.out, re.MULTILINE)
    assert sorted(trials) == sorted(re.sub("#.*", "", key) for key in keys)
    entries = [entry for kind in document["scan"].values() for entry in kind.values()]
    assert len({entry["seed"] for entry in entries}) > 1
    assert all(entry["verdict"] for entry in entries)


@pytest.mark.parametrize(("kind", "truth"), [("linear", 500.0), ("exponential", 280.4)])
def test_the_answer_is_that_of_the_device(told, kind, truth, process, tmp_path):
    """Of a 2 ms device the true rate is found, though a busy host may take a second try."""
    result, document = told
    for attempt in range(_TRIES):
        assert result.status in (0, 1), result.err
        answer = document["results"][kind]["0.01"]
        # Chance lets a short Poisson trial pass somewhat above the long-run rate.
        assert answer["qps"] <= (1.01 if kind == "linear" else 1.15) * truth
        if answer["capacity_qps"] == pytest.approx(truth, rel=0.1):
            return
        words = (*SIMULATED, *SMALL, "--max-latency", 0.010, "--arrivals", kind, "--quiet")
        result = process("run", *words, "--seed", attempt, cwd=tmp_path)
        document = _valid(tmp_path / "results.json")
    pytest.fail(f"{kind}: {answer} after {_TRIES} runs")


def test_a_reported_rate_was_met_by_a_trial(told):
    """The rate of an answer is the target rate of a trial that passed, or -1."""
    _, document = told
    for kind, answers in document["results"].items():
        met = [t["target_qps"] for t in document["scan"][kind].values() if t["verdict"] == "pass"]
        assert answers["0.01"]["qps"] in [*met, -1]


def test_a_run_records_what_it_was(told):
    """Command line, settings, seed and the skipped accuracy are in the result file."""
    _, document = told
    assert document["settings"]["seed"] == 3
    assert document["settings"]["max_latency"] == [0.01]
    assert "service_ms=2" in document["cmdline"]
    assert document["check_accuracy"] is None
    assert "accuracy skipped: --skip-accuracy" in document["notes"]


def test_quiet_means_a_silent_stderr(told):
    """With --quiet nothing but errors goes to stderr."""
    result, _ = told
    assert result.err == ""


def test_an_earlier_result_is_kept(command, tmp_path):
    """A second run keeps the first one's file as results.json.1."""
    output = tmp_path / "results.json"
    for seed in (1, 2):
        command("run", *SIMULATED, *BRIEF, "--quiet", "--output", output, "--seed", seed)
    assert _valid(output)["settings"]["seed"] == 2
    assert _valid(tmp_path / "results.json.1")["settings"]["seed"] == 1


def test_round_robin_is_told_from_what_the_model_plays(command, tmp_path):
    """Two workers that take turns are no queue that the model knows, and each answer says so."""
    output = tmp_path / "results.json"
    turns = ("--dispatch", "round-robin", "--workers-per-device", 2)
    command("run", *SIMULATED, *BRIEF, *turns, "--quiet", "--output", output)
    (answer,) = _valid(output)["results"]["linear"].values()
    assert "round-robin" in answer["notes"][0]


def test_json_is_the_result_file_on_stdout(command, tmp_path):
    """With --json stdout is one JSON document and nothing else."""
    output = tmp_path / "results.json"
    result = command("run", *SIMULATED, *BRIEF, "--quiet", "--json", "--output", output)
    assert json.loads(result.out) == _valid(output)


def test_the_embedded_default_knows_its_photos(command, tmp_path):
    """The published weights name 18 of the 20 sample photos right, from a fresh cache."""
    output = tmp_path / "results.json"
    result = command("run", *BRIEF, "--output", output, "--quiet")
    document = _valid(output)
    assert document["check_accuracy"]["good_items"] == 18
    assert document["check_accuracy"]["total_items"] == 20
    assert "check_accuracy accuacy=90.00, good_items=18, total_items=20" in result.out
    assert result.out.splitlines()[-1].startswith("===FINAL_RESULT: {'linear': {'0.2': ")


def test_synthetic_data_has_no_accuracy(command, models, tmp_path):
    """Accuracy is skipped for synthetic data; the output, headed by a calibration, says so."""
    output = tmp_path / "results.json"
    words = ("--model", models["pair"], "--dataset", "synthetic", "--count", 10)
    result = command("run", *words, *BRIEF, "--output", output)
    document = _valid(output)
    assert "accuracy skipped: synthetic data has no true answers" in result.err
    assert "generator: adds " in result.err
    assert "accuracy skipped: synthetic data has no true answers" in document["notes"]
    assert document["check_accuracy"] is None
    assert "===FINAL_RESULT" in result.out


@pytest.fixture
def colours(tmp_path):
    """Four photos, red, green, blue and broken, with their labels."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, name in enumerate(("red", "green", "blue")):
        pixels = np.full((240, 240, 3), 20, np.uint8)
        pixels[..., i] = 230
        Image.fromarray(pixels).save(folder / f"{name}.jpg", "JPEG")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 not a photo")
    (folder / "val_map.txt").write_text("red.jpg 0\ngreen.jpg 1\nbroken.jpg 1\nblue.jpg 0\n")
    return folder


def test_skipped_images_are_counted_and_listed(command, models, colours, tmp_path):
    """Accuracy is told over the images that are left; those left out are named."""
    output = tmp_path / "results.json"
    words = ("--model", models["images"], "--dataset", "imagenet", "--dataset-path", colours)
    words += ("--skip-bad-images", "--quiet", *BRIEF)
    result = command("run", *words, "--output", output)
    accuracy = _valid(output)["check_accuracy"]
    assert (accuracy["good_items"], accuracy["total_items"]) == (2, 3)
    (skipped,) = accuracy["skipped_images"]
    assert "broken.jpg" in skipped
    assert "left out: " in result.err

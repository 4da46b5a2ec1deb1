"""The command `sweep`: its files, its status, and that it goes on whatever ended it."""

import json
import signal
import subprocess
import sys
import time
from importlib import resources

import jsonschema
import psutil
import pytest

SIMULATED = {
    "backend": "simulated",
    "backend_option": {"service_ms": 3, "cv": 0.2, "per_item_ms": 1},
    "arrivals": ["exponential"],
    "max_latency": [0.1],
    "budget": 2,
    "skip_accuracy": True,
    "seed": 1,
}


@pytest.fixture
def written(tmp_path):
    """Return a function that writes a sweep's file and returns its path and the folder."""

    def write(**content):
        path = tmp_path / "sweep.yaml"
        path.write_text(json.dumps({"base": SIMULATED, **content}))  # JSON is YAML
        return path, tmp_path / "out"

    return write


def _measure(command, file, folder, *words):
    """Run a sweep; on a busy host all trials of an answer may be invalid, and the status is 1."""
    ended = command("sweep", file, "-o", folder, "--quiet", *words)
    assert ended.status in (0, 1), ended.err
    return ended


def _trials(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.glob("*/trials/*.npz")
    }


def _document(path):
    return json.loads(path.read_text())


def test_a_sweep_writes_its_table_and_results(command, written):
    """Every configuration has its results, and the folder its table with the winner."""
    file, folder = written(grid={"batch_size": [1, 4]})
    ended = command("sweep", file, "-o", folder)
    assert ended.status in (0, 1), ended.err
    assert ended.err.startswith("2 configurations: up to 4 s of trials in all\n")
    assert ended.out.splitlines()[0] == "exponential, 0.1 s"
    assert ended.out.splitlines()[1].startswith("  batch_size=4 ")
    table = _document(folder / "sweep.json")
    _validate(table, "sweep")
    assert [one["state"] for one in table["configurations"]] == ["measured", "measured"]
    winner = table["winners"]["exponential"]["0.1"]
    assert (winner["name"], winner["runner_up"]) == ("batch_size=4", "batch_size=1")
    assert winner["ratio"] > 1
    assert winner["text"].startswith("batch_size=4: +")
    for one in table["configurations"]:
        _check_results(_document(folder / one["results"]), table, one)
    rows = (folder / "sweep.csv").read_text().splitlines()
    assert len(rows) == 3
    assert rows[0].startswith("name,backend,backend_option,")


def _validate(document, name):
    schema = resources.files("mlbench.report") / f"{name}.schema.json"
    jsonschema.validate(document, json.loads(schema.read_text()))


def _check_results(results, table, one):
    _validate(results, "results")
    assert results["sweep"] == {"id": table["id"], "name": one["name"]}
    trials = [t for trials in results["scan"].values() for t in trials.values()]
    assert len({trial["round"] for trial in trials}) == one["rounds"]
    rounds = results["results"]["exponential"]["0.1"]["rounds"]
    assert {entry["round"] for entry in rounds} <= {trial["round"] for trial in trials}
    assert rounds


def test_a_sweep_that_is_done_measures_nothing_and_a_changed_file_what_changed(command, written):
    """Started again, a sweep keeps every trial; a configuration that was added is measured."""
    file, folder = written(grid={"batch_size": [1]})
    _measure(command, file, folder)
    before = _trials(folder)
    file, folder = written(grid={"batch_size": [1, 2]})
    ended = _measure(command, file, folder, "--json")
    assert ended.err == ""
    after = _trials(folder)
    assert before.items() <= after.items()
    assert {name.split("/")[0] for name in after.keys() - before.keys()} == {"batch_size=2"}
    assert json.loads(ended.out) == _document(folder / "sweep.json")


def test_other_options_put_a_configurations_trials_aside(command, written):
    """Trials of a name whose options have changed are kept in another folder, and not used."""
    file, folder = written(grid={"batch_size": [1]})
    _measure(command, file, folder)
    before = _trials(folder)
    base = {**SIMULATED, "backend_option": {"service_ms": 1}}
    file, folder = written(base=base, grid={"batch_size": [1]})
    _measure(command, file, folder)
    aside = {name.replace("=1/", "=1.1/"): content for name, content in before.items()}
    after = _trials(folder)
    assert aside.items() <= after.items()
    assert not set(before.values()) & {after[name] for name in after.keys() - aside.keys()}


def test_a_configuration_that_fails_does_not_end_the_sweep(command, written):
    """It is recorded with its reason, the others are measured, and the status is 1."""
    file, folder = written(include=[{"batch_size": 1}, {"device": "cpu:4095"}])
    ended = command("sweep", file, "-o", folder, "--quiet")
    assert ended.status == 1
    one, other = _document(folder / "sweep.json")["configurations"]
    assert (one["state"], one["reason"]) == ("measured", None)
    assert other["state"] == "failed"
    assert "cpu:4095" in other["reason"]
    assert f"failed: device=cpu:4095: {other['reason']}" in ended.out


def test_a_race_drops_what_loses(command, written):
    """With `keep: best` the slow are dropped early, and the winner gets their time."""
    base = {**SIMULATED, "budget": 4, "precision": 0.001}
    file, folder = written(base=base, grid={"batch_size": [1, 2, 8]}, keep="best")
    _measure(command, file, folder)
    found = {one["name"]: one for one in _document(folder / "sweep.json")["configurations"]}
    assert found["batch_size=1"]["state"] == "dropped"
    assert found["batch_size=1"]["reason"].startswith("loses for certain to batch_size=")
    assert found["batch_size=8"]["state"] == "measured"
    assert found["batch_size=8"]["measured_s"] > 4 > found["batch_size=1"]["measured_s"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"grid": {"batchsize": [1]}}, "no option 'batchsize' of run (did you mean 'batch_size'?)"),
        ({"grid": {"threads": [0]}}, "threads=0: --threads 0"),
    ],
)
def test_a_bad_file_is_refused_before_anything_is_made(refused, written, content, complaint):
    """One line says what is wrong, and there is no folder."""
    file, folder = written(**content)
    assert complaint in refused("sweep", file, "-o", folder)
    assert not folder.exists()


def test_a_folder_that_is_being_written_is_refused(refused, written):
    """Two sweeps do not write to one folder."""
    from mlbench.bench.sweep.state import SweepFolder

    file, folder = written()
    with SweepFolder(folder, None):
        assert "is being written by another sweep" in refused("sweep", file, "-o", folder)


def _start(file, folder):
    argv = [sys.executable, "-m", "mlbench", "sweep", str(file), "-o", str(folder), "--quiet"]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _await_trials(process, folder, count):
    while len(list(folder.glob("*/trials/*.npz"))) < count:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


def test_a_sweep_that_is_killed_repeats_and_loses_nothing(written):
    """Killed again and again and started anew, it keeps each trial, and ends with all measured."""
    file, folder = written(grid={"batch_size": [1, 2, 4]})
    seen = {}
    for more in (2, 3, 4):
        process = _start(file, folder)
        try:
            _await_trials(process, folder, len(seen) + more)
        finally:
            process.kill()
            process.communicate()
        now = _trials(folder)
        assert seen.items() <= now.items()
        seen = now
    process = _start(file, folder)
    assert process.communicate(timeout=200)[1] == ""
    assert process.returncode in (0, 1)
    assert seen.items() <= _trials(folder).items()
    for one in _document(folder / "sweep.json")["configurations"]:
        assert one["state"] == "measured"
        scan = _document(folder / one["results"])["scan"]
        trials = [trial for trials in scan.values() for trial in trials.values()]
        files = [name for name in _trials(folder) if name.startswith(f"{one['name']}/")]
        assert len(trials) == len(files)
        assert len({trial["seed"] for trial in trials}) == len(trials)
        # A budget that was counted anew after each kill would have allowed several times as much.
        assert one["measured_s"] < 2 * SIMULATED["budget"]


def test_a_sweep_that_is_asked_to_end_is_saved(written):
    """A signal ends the workers and then the sweep, with its status and its files."""
    file, folder = written(base={**SIMULATED, "budget": 60, "precision": 1e-6})
    process = _start(file, folder)
    try:
        _await_trials(process, folder, 2)
        workers = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143
    assert err == "error: ended by SIGTERM\n"
    assert workers
    assert not psutil.wait_procs(workers, timeout=10)[1]
    (one,) = _document(folder / "sweep.json")["configurations"]
    assert one["state"] == "measuring"
    assert len(_document(folder / one["results"])["scan"]) == 2


def test_some_of_a_grid_are_drawn_and_raced(command, written):
    """With --tune only so many are measured; it is told how much of the grid that is."""
    pytest.importorskip("optuna", reason="Optuna is not installed: pip install optuna")
    file, folder = written(grid={"batch_size": [1, 2, 3, 4, 5, 6, 7, 8], "threads": [1, 2]})
    ended = command("sweep", file, "-o", folder, "--tune", 3)
    assert ended.status in (0, 1), ended.err
    assert ended.err.startswith("3 of 16 configurations: up to 6 s of trials in all\n")
    assert "tried 3 of the 16 configurations of the grid" in ended.out
    table = _document(folder / "sweep.json")
    _validate(table, "sweep")
    assert table["tune"] == {"tried": 3, "of": 16}
    names = [one["name"] for one in table["configurations"]]
    assert len(names) == 3
    _measure(command, file, folder, "--tune", 3)
    assert [one["name"] for one in _document(folder / "sweep.json")["configurations"]] == names


def test_a_run_is_tuned_to_the_machine(command, tmp_path):
    """With `run --tune` shapes are raced, and each answer has the settings of its winner."""
    output = tmp_path / "best.json"
    words = ["run", "--tune", "--backend", "simulated", "--backend-option", "service_ms=3"]
    words += ["--max-latency", "0.1", "--arrivals", "exponential", "--budget", "8", "--quiet"]
    ended = command(*words, "--output", output)
    assert ended.status in (0, 1), ended.err
    assert ended.err == ""
    document = _document(output)
    _validate(document, "results")
    answer = document["results"]["exponential"]["0.1"]
    name = document["tune"]["winners"]["exponential/0.1"]["name"]
    assert f"batch_size={answer['settings']['batch_size']}" in name
    assert answer["settings"]["batch_size"] > 1
    assert f"===FINAL_RESULT: {document['final_results']}" in ended.out
    assert (tmp_path / "best.json.tune" / "sweep.json").exists()

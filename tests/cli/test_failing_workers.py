"""Commands whose workers fail: what is repeated, what is said, and the status in the end."""

import json
from importlib.resources import files

import jsonschema
import pytest

FAULTY = ("--backend", "faulty", "--backend-option", "service_ms=2", "--skip-accuracy")
RUN = ("--arrivals", "linear", "--max-latency", 0.050, "--budget", 1.5, "--time", 0.5, "--seed", 1)


def _faults(**options):
    return [word for key in options for word in ("--backend-option", f"{key}={options[key]}")]


@pytest.fixture
def run(command, tmp_path):
    """Return a function that runs the benchmark on a faulty device: its result, its document."""

    def run(*words, **faults):
        path = tmp_path / "results.json"
        result = command("run", *FAULTY, *_faults(**faults), *RUN, *words, "--output", path)
        document = json.loads(path.read_text())
        schema = json.loads(files("mlbench").joinpath("report/results.schema.json").read_text())
        jsonschema.validate(document, schema)
        return result, document

    return run


def test_a_run_repeats_the_trial_that_a_worker_spoiled(run, tmp_path):
    """The spoiled trial is told and saved, the same is played again, and the run ends well."""
    result, document = run(die_after=300, once=tmp_path / "broken")
    assert result.status in (0, 1)  # a host that is too busy to tell is not at issue here
    trials = list(document["scan"]["linear"].items())
    (spoiled,) = [at for at, (_, one) in enumerate(trials) if _codes(one) == ["worker_lost"]]
    (key, first), (again, second) = trials[spoiled : spoiled + 2]
    assert again.partition("#")[0] == key.partition("#")[0]
    assert (second["seed"], second["queries"]) == (first["seed"], first["queries"])
    assert first["verdict"] == "invalid"
    assert _codes(document).count("worker_restarted") == 1
    assert "is started again (1 of 3): was ended by SIGKILL" in result.err


def _codes(document):
    return [found["code"] for found in document["findings"]]


def test_a_run_whose_worker_keeps_failing_ends_with_status_3(run):
    """What was measured until then is saved, and the last line names the worker and the causes."""
    result, document = run("--quiet", die_after=150)
    assert result.status == 3
    last = result.err.splitlines()[-1]
    assert last.startswith("error: worker 0 (cpu, pid ")
    assert last.endswith("keeps failing: was ended by SIGKILL (4 times)")
    assert document["scan"]["linear"]
    assert set(document["results"]) == {"linear"}
    assert "===FINAL_RESULT: " in result.out


def test_a_run_may_go_on_with_the_workers_left(run):
    """With --on-failure continue the others answer, each answer says so, and the status is 3."""
    words = ("--workers-per-device", 2, "--on-failure", "continue")
    result, document = run(*words, die_after=150, only_worker=1)
    assert result.status == 3
    (answer,) = document["results"]["linear"].values()
    assert "measured on 1 of 2 workers, as some keep failing" in answer["notes"]
    assert answer["capacity_qps"] is not None
    assert "worker_left_out" in _codes(document)
    assert result.out.count("===FINAL_RESULT: ") == 1
    assert "keeps failing" in result.err.splitlines()[-1]


@pytest.mark.parametrize(("faults", "status"), [({"once": "broken"}, 0), ({}, 3)])
def test_a_trial_is_repeated_too(command, monkeypatch, tmp_path, faults, status):
    """One fault is mended; where a worker keeps failing the last play is told, with status 3."""
    monkeypatch.chdir(tmp_path)
    words = ("--qps", 100, "--duration", 1, "--json", *_faults(die_after=30, **faults))
    result = command("trial", *FAULTY, *words)
    assert result.status == status
    document = json.loads(result.out)
    assert document["completed"] + document["failed"] + document["lost"] == document["queries"]
    assert (document["lost"] == 0) == (status == 0)
    assert ("error: worker 0" in result.err) == (status == 3)
    assert "warning: fault: worker 0 (cpu, pid" in result.err


def test_an_unknown_way_to_go_on_is_refused(refused):
    """What may follow a failure is one of two words."""
    assert "--on-failure" in refused("run", *FAULTY, "--on-failure", "retry")


def test_a_start_takes_some_time(refused):
    """No time at all is no time to start."""
    assert "--start-timeout" in refused("run", *FAULTY, "--start-timeout", 0)

import json

from mlbench.contracts.registry import backend_names


def test_doctor_tells_what_this_machine_can_run(command):
    """Every backend is ready or comes with the command that mends it; the generator is told."""
    result = command("doctor", "--json")
    findings = json.loads(result.out)
    assert result.status == 0
    assert list(findings["backends"]) == backend_names()
    for state in findings["backends"].values():
        assert state["state"] == "ready" or "pip install" in state["mend"]
    assert findings["generator"]["lag_p50_s"] > 0
    assert findings["gpus"] >= 0


def test_doctor_has_one_verdict(command):
    """The page begins with it, and the JSON has it too, with what was looked at."""
    page = command("doctor")
    assert page.status == 0
    assert "fit to measure" in page.out.split("\n\n")[0]
    document = json.loads(command("doctor", "--json").out)
    assert document["fit"] == (not document["verdict"].startswith("not fit"))
    titles = ["cores", "other load", "throttling", "load generator", "backends", "GPUs"]
    assert [check["title"] for check in document["checks"]] == titles


def test_the_version_is_told(command):
    """--version prints the version and ends."""
    result = command("--version")
    assert result.status == 0
    assert "mlbench-coordinator" in result.out

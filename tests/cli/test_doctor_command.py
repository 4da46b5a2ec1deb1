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


def test_every_command_has_help_with_an_example(command):
    """--help shows how the command is used."""
    for name in ("run", "trial", "doctor"):
        result = command(name, "--help")
        assert result.status == 0
        assert f"mlbench-coordinator {name}" in result.out.split("Examples:")[1]


def test_the_version_is_told(command):
    """--version prints the version and ends."""
    result = command("--version")
    assert result.status == 0
    assert "mlbench-coordinator" in result.out

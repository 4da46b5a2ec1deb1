import os
import subprocess
import sys

import pytest

from mlbench.contracts.backend import WorkerSpec
from mlbench.contracts.device import Device
from mlbench.contracts.errors import RequestError
from mlbench.host.clock import now_ns
from mlbench.pool import local

TELL = "import os; print('sees', os.environ.get('CUDA_VISIBLE_DEVICES'))"


@pytest.mark.parametrize(
    ("device", "sees"), [(Device("cuda:0", 0), "2"), (Device("cuda:1", 1), "GPU-8f1c")]
)
def test_a_worker_sees_only_its_own_gpu(monkeypatch, capfd, device, sees):
    """The worker of the second GPU that is shown gets that one alone, by the name CUDA knows."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-8f1c")
    monkeypatch.setattr(local, "_COMMAND", [sys.executable, "-c", TELL])
    # A stand-in that pytest's capture cannot redirect would have no file number.
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    handle = local.LocalLauncher().start(WorkerSpec(0, "", "null", device=device))
    handle.stop(now_ns() + 30_000_000_000)
    assert f"sees {sees}\n" in capfd.readouterr().err


def test_runtimes_are_told_not_to_report_usage(monkeypatch, capfd):
    """Workers and inspections start with the variables set that keep runtimes from reporting."""
    tell = "import os; print({k: os.environ[k] for k in ('ORT_DISABLE_TELEMETRY', 'DO_NOT_TRACK')})"
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    monkeypatch.setattr(local, "_COMMAND", [sys.executable, "-c", tell])
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    handle = local.LocalLauncher().start(WorkerSpec(0, "", "null"))
    handle.stop(now_ns() + 30_000_000_000)
    told = "{'ORT_DISABLE_TELEMETRY': '1', 'DO_NOT_TRACK': '1'}"
    assert told in capfd.readouterr().err
    monkeypatch.setattr(local, "_COMMAND", [sys.executable, "-c", f"{tell}; raise SystemExit(1)"])
    environments = []
    run = subprocess.run
    monkeypatch.setattr(
        subprocess, "run", lambda *a, **k: environments.append(k["env"]) or run(*a, **k)
    )
    with pytest.raises(RequestError):
        local.inspect_model("null", "m.onnx")
    assert environments[0]["ORT_DISABLE_TELEMETRY"] == "1"


@pytest.mark.parametrize("task", ["serve", "inspect"])
def test_a_worker_leaves_when_its_lifeline_ends(task):
    """A process that still waits for its orders ends as the pipe does, though its parent lives."""
    reading, writing = os.pipe()
    command = [*local._COMMAND, task, str(reading)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(reading,)) as process:
        os.close(writing)
        assert process.wait(timeout=30) == 1
    os.close(reading)


def test_a_worker_that_does_not_leave_is_killed_at_the_deadline():
    """A process that goes on after its deadline gets SIGKILL, and is gone when `stop` returns."""
    handle = local.LocalLauncher().start(WorkerSpec(0, "ipc://@nobody", "null"))
    handle.stop(now_ns())
    assert handle.ended() == "was ended by SIGKILL"

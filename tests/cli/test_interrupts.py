"""A run that is interrupted: its status, and what is saved."""

import json
import signal
import subprocess
import sys

import psutil
import pytest

RUN = [
    *(sys.executable, "-m", "mlbench", "run", "--backend", "simulated", "--skip-accuracy"),
    *("--backend-option", "service_ms=2", "--arrivals", "exponential", "--max-latency", "0.01"),
    *("--quiet", "--time", "5", "--budget", "100", "--precision", "0.0001"),
]


@pytest.fixture
def running(tmp_path):
    """A run whose first trial has ended: the process and the lines it printed."""
    pipe = subprocess.PIPE
    # In a shell's background Ctrl-C is ignored, and what we start would inherit that.
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(RUN, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True)
    signal.signal(signal.SIGINT, ours)
    workers = []
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("linear/0.01/")
        workers = psutil.Process(process.pid).children()
        yield process, workers
    finally:
        process.kill()
        process.wait()
        psutil.wait_procs(workers, timeout=20)


def _end(process, tmp_path):
    out, err = process.communicate(timeout=60)
    return out, err, json.loads((tmp_path / "results.json").read_text())


def test_an_interrupted_run_is_saved(running, tmp_path):
    """Ctrl-C ends the workers and then the run, with status 130 and what it had in the file."""
    process, workers = running
    process.send_signal(signal.SIGINT)
    out, err, document = _end(process, tmp_path)
    assert process.returncode == 130
    assert err.strip() == "error: interrupted"
    assert document["scan"]["linear"]
    assert set(document["results"]) == {"exponential"}
    assert "===FINAL_RESULT: " in out
    assert len(workers) == 1
    assert not workers[0].is_running()

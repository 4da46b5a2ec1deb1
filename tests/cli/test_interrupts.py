"""A run that is interrupted: its status, and what is saved."""

import json
import signal
import subprocess
import sys

import psutil
import pytest
from sleeping_backend import environment_with_sleeping

RUN = [
    *(sys.executable, "-m", "mlbench", "run", "--backend", "simulated", "--skip-accuracy"),
    *("--backend-option", "service_ms=2", "--arrivals", "exponential", "--max-latency", "0.01"),
    *("--quiet", "--time", "5", "--budget", "100", "--precision", "0.0001"),
]


def _started(argv, **options):
    """Start a process that Ctrl-C can end: in a shell's background it would be ignored."""
    pipe, ours = subprocess.PIPE, signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(argv, stdout=pipe, stderr=pipe, text=True, **options)
    signal.signal(signal.SIGINT, ours)
    return process


@pytest.fixture
def running(tmp_path):
    """A run whose first trial has ended: the process and the lines it printed."""
    process = _started(RUN, cwd=tmp_path)
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


@pytest.mark.parametrize(
    ("number", "status", "line"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "ended by SIGTERM")],
)
def test_a_run_that_is_asked_to_end_is_saved(running, tmp_path, number, status, line):
    """A signal ends the workers and then the run, with its status and what it had in the file."""
    process, workers = running
    process.send_signal(number)
    out, err, document = _end(process, tmp_path)
    assert process.returncode == status
    assert err == f"error: {line}\n"
    assert document["scan"]["linear"]
    assert set(document["results"]) == {"exponential"}
    assert "===FINAL_RESULT: " in out
    assert len(workers) == 1
    assert not workers[0].is_running()


@pytest.fixture
def hanging(tmp_path):
    """A trial whose worker hangs as it loads: the process and the worker."""
    words = ["trial", "--backend", "sleeping", "--backend-option", "load_s=600", "--qps", "10"]
    environment = environment_with_sleeping(tmp_path)
    with _started([sys.executable, "-m", "mlbench", *words], env=environment) as process:
        try:
            yield process, _first_worker(process.pid)
        finally:
            process.kill()


def test_a_coordinator_that_is_killed_takes_a_hanging_worker_along(hanging):
    """A worker ends with its coordinator, although it hangs and holds the interpreter's lock."""
    process, worker = hanging
    process.kill()
    assert psutil.wait_procs([worker], timeout=30)[1] == []


def test_two_signals_end_a_hanging_worker(hanging):
    """The first Ctrl-C, or the second at the latest, ends the command and its worker."""
    process, worker = hanging
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert psutil.wait_procs([worker], timeout=30)[1] == []


def _first_worker(pid):
    """Wait for the first child of a process."""
    coordinator = psutil.Process(pid)
    while not (children := coordinator.children()):
        psutil.wait_procs([coordinator], timeout=0.05)
        assert coordinator.is_running()
    return children[0]

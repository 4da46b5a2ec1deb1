"""How runs on a GPU end: nothing stays, neither a process nor the GPU's memory."""

import os
import signal
import subprocess
import time
from pathlib import Path

import mlbench
from gpu_check.bench import Bench, Check, FailedError, gpu_memory

_RUN = (
    *("run", "--backend", "torch", "--model", "net.pt", "--dataset", "synthetic"),
    *("--count", "64", "--device", "cuda:0", "--workers-per-device", "2", "--skip-accuracy"),
    *("--arrivals", "exponential", "--max-latency", "0.05", "--time", "2", "--budget", "200"),
    *("--precision", "0.0001", "--quiet"),
)
_STARTED_S = 90.0
_LEAVE_S = 10.0
_SLACK_BYTES = 64 << 20  # what the driver itself may hold more or less


def killed_worker(bench: Bench) -> str:
    """A worker that is killed is started again on its GPU, and the run goes on."""
    output = "killed-worker.json"
    process = bench.start(*_RUN, "--output", output)
    try:
        _wait_for_trials(bench, process, output, 1)
        workers = [pid for pid in bench.left_behind(0.0) if _is_worker(pid)]
        if len(workers) != 2:
            raise FailedError(f"{len(workers)} workers in place of 2")
        os.kill(workers[0], signal.SIGKILL)
        began_s = time.monotonic()
        known = len(mlbench.load(bench.folder / output).trials)
        _wait_for_trials(bench, process, output, known + 2)
        took_s = time.monotonic() - began_s
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    found = mlbench.load(bench.folder / output).document["findings"]
    told = [one["text"] for one in found if one["code"] == "worker_restarted"]
    if len(told) != 1:
        raise FailedError(f"restarts: {told}")
    return f"{told[0]}; two more trials {took_s:.1f} s later"


def _is_worker(pid: int) -> bool:
    return b"\0serve\0" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _ended(number: signal.Signals, status: int) -> Check:
    def check(bench: Bench) -> str:
        before, output = gpu_memory(), f"ended-{number.name}.json"
        process = bench.start(*_RUN, "--output", output)
        try:
            _wait_for_trials(bench, process, output, 1)
            during, began_s = gpu_memory(), time.monotonic()
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
            took_s = time.monotonic() - began_s
        finally:
            process.kill()
            process.wait()
        if pids := bench.left_behind(_LEAVE_S):
            raise FailedError(f"processes {pids} are left {_LEAVE_S:.0f} s after it")
        if process.returncode != status:
            raise FailedError(f"status {process.returncode} in place of {status}: {err.strip()}")
        if (more := _memory_left(before)) > _SLACK_BYTES:
            raise FailedError(f"{more >> 20} MiB of the GPU's memory are not given back")
        return (
            f"status {status} after {took_s:.2f} s, no process left, "
            f"{(during - before) / 2**30:.1f} GiB of the GPU given back"
        )

    return check


def _wait_for_trials(
    bench: Bench, process: "subprocess.Popen[str]", output: str, count: int
) -> None:
    """Return when the run has saved so many; FailedError when it ends before, or never does."""
    end_s, path = time.monotonic() + _STARTED_S, bench.folder / output
    while time.monotonic() < end_s and process.poll() is None:
        if path.exists() and len(mlbench.load(path).trials) >= count:
            return
        time.sleep(0.1)
    raise FailedError(f"not {count} trials within {_STARTED_S:.0f} s; status {process.poll()}")


def _memory_left(before: int) -> int:
    """Return the bytes in use beyond `before`; the driver frees them a moment after the end."""
    end_s = time.monotonic() + _LEAVE_S
    while (more := gpu_memory() - before) > _SLACK_BYTES and time.monotonic() < end_s:
        time.sleep(0.1)
    return more


CHECKS: list[tuple[str, Check]] = [
    ("Ctrl-C", _ended(signal.SIGINT, 130)),
    ("a coordinator that is killed", _ended(signal.SIGKILL, -9)),
    ("a worker that is killed", killed_worker),
]

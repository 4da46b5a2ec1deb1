"""Workers as processes of this host."""

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys

from mlbench.contracts.backend import Signature, WorkerSpec
from mlbench.contracts.errors import RequestError, RunError
from mlbench.host.clock import now_ns
from mlbench.host.gpus import only_gpu
from mlbench.pool.last_words import Stderr

# -P keeps the current folder off the import path: a user's own workers/ must not shadow ours.
_COMMAND = [sys.executable, "-P", "-m", "workers"]
_KILLED_S = 1.0  # until a killed process is gone; one in a call of a driver goes when that returns
_INSPECT_S = 120.0
# ONNX Runtime from 1.29 on sends usage from Linux unless this is set before it is imported. The
# second is the convention of many other packages, some of which a backend may import.
_NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


class LocalHandle:
    """A worker process of this host."""

    def __init__(self, process: "subprocess.Popen[bytes]", stderr: Stderr) -> None:
        self._process = process
        self._stderr = stderr
        self.pid = process.pid

    def ended(self) -> str | None:
        """Return how the process ended, in words, or None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        if code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with status {code}"

    def was_stopped(self) -> bool:
        """Whether the process was stopped by a signal, or went on after that, since last asked."""
        changes, was_stopped = os.WSTOPPED | os.WCONTINUED | os.WNOHANG, False
        with contextlib.suppress(ChildProcessError):
            while os.waitid(os.P_PID, self.pid, changes) is not None:
                was_stopped = True
        return was_stopped

    def last_words(self) -> str:
        """Return the end of what the process told on stderr, as a line; empty for nothing."""
        return self._stderr.last_words()

    def kill(self) -> None:
        """End the process, and what it started, at once, whatever it does."""
        if self._process.poll() is None:  # it leads a group, and nobody has collected it yet
            os.killpg(self.pid, signal.SIGKILL)

    def stop(self, deadline_ns: int) -> None:
        """Wait until then for the process to leave, and end it when it has not."""
        try:
            self._process.wait(max(0, deadline_ns - now_ns()) * 1e-9)
        except subprocess.TimeoutExpired:
            self.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_KILLED_S)
        self._stderr.hear_out()


class LocalLauncher:
    """Starts `python -P -m workers` with its orders on stdin.

    Workers end with the thread that starts them: it has to live for as long as the pool.
    """

    def start(self, spec: WorkerSpec) -> LocalHandle:
        """Start one worker; its stdout and stderr go to our stderr.

        Raises RunError when it cannot be started.
        """
        try:
            process = subprocess.Popen(
                [*_COMMAND, "serve", str(_lifeline())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=_environment(spec),
                # Ctrl-C is the coordinator's to handle: it ends the workers in order.
                start_new_session=True,
                pass_fds=(*spec.inherited, _lifeline()),
            )
        except OSError as error:
            raise RunError(f"cannot start worker {spec.index}: {error.strerror}") from None
        assert process.stdin is not None  # noqa: S101 - asked for above
        assert process.stdout is not None  # noqa: S101 - likewise
        with contextlib.suppress(BrokenPipeError):  # it died already; who looks after it will see
            process.stdin.write(json.dumps(spec.to_dict()).encode())
            process.stdin.close()
        return LocalHandle(process, Stderr(process.stdout))


@functools.cache
def _lifeline() -> int:
    """Return the reading end of a pipe that ends when this process does, in whatever way.

    Nobody writes. The writing end is inherited by no program that is started.
    """
    reading, _ = os.pipe()
    return reading


def _environment(spec: WorkerSpec) -> dict[str, str]:
    """The worker's own GPU is the only one it sees; OpenMP keeps to the worker's threads."""
    environment = {**os.environ, **_NO_TELEMETRY, "OMP_NUM_THREADS": str(spec.threads)}
    if spec.device.index is not None:
        environment |= only_gpu(spec.device.index)
    return environment


def inspect_model(backend: str, model: str) -> Signature:
    """Read a model's signature in a process of its own, so that no runtime is loaded here.

    Raises RequestError when the backend cannot read the model.
    """
    try:
        result = subprocess.run(
            [*_COMMAND, "inspect", str(_lifeline())],
            pass_fds=(_lifeline(),),
            input=json.dumps({"backend": backend, "model": model}),
            capture_output=True,
            text=True,
            env={**os.environ, **_NO_TELEMETRY},
            timeout=_INSPECT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RequestError(f"{model}: not read by {backend} within {_INSPECT_S:.0f} s") from None
    lines = result.stdout.strip().splitlines()
    if result.returncode != 0 or not lines:
        why = (result.stderr.strip().splitlines() or [f"status {result.returncode}"])[-1]
        raise RequestError(f"{model}: reading it with {backend} failed: {why}")
    answer = json.loads(lines[-1])
    if "error" in answer:
        raise RequestError(answer["error"])
    return Signature.from_dict(answer["signature"])

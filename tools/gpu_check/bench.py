"""What checks share: the command, what it left, and the machine's GPU."""

import itertools
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlbench.host.nvml import read_gpu

_MARK = "MLBENCH_GPU_CHECK"  # in the environment of all that a check starts
_TIMEOUT_S = 180.0


class FailedError(Exception):
    """A check failed; the message says what was expected and what came."""


class NotHereError(Exception):
    """What a check needs is not on this machine."""


class Bench:
    """Runs commands in `folder`, and finds the processes that they leave behind.

    `query_s`: what a query takes alone, for the models (words of the command) where that is known.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.query_s: dict[tuple[str, ...], float] = {}
        self._word = secrets.token_hex(8)
        self._numbers = itertools.count(1)

    def run(self, *words: object, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run `mlbench-coordinator` with these words to its end; what it prints is kept."""
        process = self.start(*words, **variables)
        try:
            out, err = process.communicate(timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            err += f"\nnot over after {_TIMEOUT_S:.0f} s: killed"
        self._keep(words, out, err, process.returncode)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def start(self, *words: object, **variables: str) -> "subprocess.Popen[str]":
        """Start the command, which Ctrl-C can end even from a shell's background."""
        ours = signal.signal(signal.SIGINT, signal.default_int_handler)
        process = subprocess.Popen(
            [sys.executable, "-m", "mlbench", *map(str, words)],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, _MARK: self._word, **variables},
        )
        signal.signal(signal.SIGINT, ours)
        return process

    def python(self, *words: object) -> str:
        """Run a module of Python's to its end and return what it printed; FailedError else."""
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            env={**os.environ, _MARK: self._word},
            check=False,
        )
        self._keep(words, done.stdout, done.stderr, done.returncode)
        if done.returncode:
            raise FailedError(f"{words[1]} ended with status {done.returncode}: {last_line(done)}")
        return done.stdout

    def _keep(self, words: tuple[object, ...], out: str, err: str, status: int) -> None:
        told = f"$ {' '.join(map(str, words))}\n{out}\n--- stderr ---\n{err}\n--- status {status}\n"
        (self.folder / f"command-{next(self._numbers):02d}.log").write_text(told)

    def left_behind(self, within_s: float) -> list[int]:
        """Return the processes of earlier commands that are still there after so many seconds."""
        end_s = time.monotonic() + within_s
        while (pids := self._ours()) and time.monotonic() < end_s:
            time.sleep(0.05)
        return pids

    def _ours(self) -> list[int]:
        mark = f"{_MARK}={self._word}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append(int(process.name))
            except OSError:  # it has just ended, or is another user's
                continue
        return found


Check = Callable[[Bench], str]
"""Tries one thing and says what it showed; raises FailedError or NotHereError."""


def last_line(done: "subprocess.CompletedProcess[str]") -> str:
    """Return the last thing that a command said on stderr."""
    return (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1]


def document(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    """Return the JSON that a command printed; FailedError when there is none."""
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise FailedError(f"status {done.returncode}, no JSON: {last_line(done)}") from None
    return found


def gpu_memory() -> int:
    """Return the bytes in use on the first GPU; NotHereError where NVML does not tell."""
    state = read_gpu(0)
    if state is None:
        raise NotHereError("NVML does not tell")
    return state.memory_used_bytes

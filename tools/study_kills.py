"""End the command at random moments, many times, and see what is left of it.

    python tools/study_kills.py --kills 100 --terms 100 --interrupts 50

Each run is a real one, in folders of its own, that gets SIGKILL, SIGTERM, or SIGINT twice. Two
seconds after the signal nothing may be left: no process, no file but results, no lock. A run that
was asked to end says so in its status and in one line, and has saved its answers. What SIGKILL
leaves may wait for the next start. Only processes that the study started get a signal.
"""

import fcntl
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil
from sleeping_backend import environment_with_sleeping

_MARK = "MLBENCH_STUDY"  # in the environment of all that a run starts
_LEFT_AFTER_S = 2.0
_PATIENCE_S = 60.0  # for a run to come to the phase, and then to end
_POLL_S = 0.005
_STATUS = {"TERM": 143, "INT": 130, "KILL": -signal.SIGKILL}
_NO_LEFTOVERS = {"results.json", "results.json.1", "results.json.journal", "out", "err", ".ses"}
"""The journal has results, which the next reader takes in; the last is ONNX Runtime's own."""
_SHORT = {"trial": ("--duration", "0.5"), "run": ("--budget", "1")}

_TRIAL = ("trial", "--qps", "20", "--duration", "20")
_RUN = (
    *("run", "--skip-accuracy", "--arrivals", "exponential"),
    *("--max-latency", "0.5", "--time", "2", "--budget", "60"),
)
_SLOW = ("--backend", "sleeping", "--backend-option")
_COMMANDS = {
    "starting": [(*_TRIAL, "--backend", "null"), (*_TRIAL, "--backend", "onnxruntime"), _RUN],
    "loading": [
        (*_TRIAL, *_SLOW, "load_s=3"),
        (*_TRIAL, "--backend", "onnxruntime"),
        (*_TRIAL, "--backend", "null"),
    ],
    "warm-up": [(*_TRIAL, *_SLOW, "predict_s=0.6"), (*_TRIAL, "--backend", "onnxruntime")],
    "predict": [
        (*_RUN, *_SLOW, "predict_s=0.2"),
        (*_RUN, "--backend", "onnxruntime"),
        (*_RUN, "--backend", "simulated"),
    ],
    "between": [(*_RUN, "--backend", "simulated"), (*_RUN, "--backend", "onnxruntime")],
}
_DELAY_S = {"starting": 0.8, "loading": 0.6, "warm-up": 1.5, "predict": 1.5, "between": 0.1}
"""The signal comes at a random moment of so many seconds after the phase has begun."""
_MUST_SAVE = ("predict", "between")


@dataclass(frozen=True)
class Outcome:
    """What became of a run: its status, how long it took to end, and all that was wrong."""

    status: int | None
    end_s: float
    wrong: tuple[str, ...]


@click.command(help=__doc__)
@click.option("--kills", default=100, show_default=True, help="Runs that get SIGKILL.")
@click.option("--terms", default=100, show_default=True, help="Runs that get SIGTERM.")
@click.option("--interrupts", default=50, show_default=True, help="Runs that get SIGINT twice.")
@click.option("--seed", default=0, show_default=True)
def main(kills: int, terms: int, interrupts: int, seed: int) -> None:
    """Print a row for each signal and phase."""
    # In a shell's background Ctrl-C is ignored, and what we start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    print("| signal | phase | runs | status | slowest end, s | wrong |")
    print("|---|---|---:|---|---:|---|")
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as cache:
        environment = {**environment_with_sleeping(Path(name)), "MLBENCH_CACHE": cache}
        for word, runs in (("KILL", kills), ("TERM", terms), ("INT", interrupts)):
            for number, phase in enumerate(_COMMANDS):
                share = range(number, runs, len(_COMMANDS))
                rng = np.random.default_rng([seed, number, runs])
                found = [_end_one(word, phase, i, rng, environment) for i in share]
                _print_row(word, phase, found)


def _print_row(word: str, phase: str, found: list[Outcome]) -> None:
    statuses = dict(Counter(str(outcome.status) for outcome in found))
    wrong = dict(Counter(why for outcome in found for why in outcome.wrong))
    slowest_s = max((outcome.end_s for outcome in found), default=0.0)
    print(
        f"| {word} | {phase} | {len(found)} | {statuses} | {slowest_s:.2f} | {wrong or 0} |",
        flush=True,
    )


def _end_one(
    word: str, phase: str, number: int, rng: np.random.Generator, environment: dict[str, str]
) -> Outcome:
    """Start a run, end it within the phase, and look at what is left."""
    commands = _COMMANDS[phase]
    workers = (1, 2, 4)[number % 3]
    words = (*commands[int(rng.integers(len(commands)))], "--workers-per-device", str(workers))
    with tempfile.TemporaryDirectory() as name, Run(Path(name), words, environment) as run:
        run.wait_for(phase)
        time.sleep(rng.uniform(0, _DELAY_S[phase]))
        signalled_s = time.monotonic()
        run.process.send_signal(signal.Signals[f"SIG{word}"])
        if word == "INT":
            time.sleep(rng.uniform(0, 0.3))
            run.process.send_signal(signal.SIGINT)
        end_s = run.end_s(signalled_s)
        time.sleep(max(0.0, signalled_s + _LEFT_AFTER_S - time.monotonic()))
        wrong = [*run.left(again=word == "KILL"), *run.faults(word, phase)]
        if wrong:
            print(word, *words, wrong, run.said(), file=sys.stderr)
        return Outcome(run.process.poll(), end_s, tuple(wrong))


class Run:
    """A run of the command in folders of its own; at the end of the block nothing of it lives."""

    def __init__(self, folder: Path, words: tuple[str, ...], environment: dict[str, str]) -> None:
        self._folder = folder
        self._cache = Path(environment["MLBENCH_CACHE"])
        self._words = words
        for part in ("work", "tmp"):
            (folder / part).mkdir()
        self._environment = {**environment, _MARK: folder.name, "TMPDIR": str(folder / "tmp")}
        self.process = self._start(words)

    def _start(self, words: tuple[str, ...]) -> "subprocess.Popen[bytes]":
        work = self._folder / "work"
        with (work / "out").open("wb") as out, (work / "err").open("wb") as err:
            argv = [sys.executable, "-m", "mlbench", *words, "--quiet"]
            return subprocess.Popen(argv, cwd=work, stdout=out, stderr=err, env=self._environment)

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *exc_info: object) -> None:
        for process in self._processes():
            process.kill()
        self.process.wait()

    def wait_for(self, phase: str) -> None:
        """Return as the phase begins; raises TimeoutError when it does not."""
        if phase in ("loading", "warm-up"):
            self._wait(lambda: any("serve" in p.cmdline() for p in self._processes()))
        elif phase != "starting":
            self._wait(lambda: b"\n" in (self._folder / "work" / "out").read_bytes())

    def _wait(self, has_begun: Callable[[], bool]) -> None:
        end_s = time.monotonic() + _PATIENCE_S
        while not has_begun():
            if time.monotonic() > end_s or self.process.poll() is not None:
                raise TimeoutError((self._folder / "work" / "err").read_text())
            time.sleep(_POLL_S)

    def end_s(self, signalled_s: float) -> float:
        """Wait for the coordinator's end; return how long it took from the signal on."""
        self.process.wait(_PATIENCE_S)
        return time.monotonic() - signalled_s

    def _processes(self) -> Iterator[psutil.Process]:
        """Yield every process that this run has started and that lives."""
        for process in psutil.process_iter():
            try:
                marked = process.environ().get(_MARK) == self._folder.name
                if marked and process.status() != psutil.STATUS_ZOMBIE:
                    yield process
            except psutil.Error:
                continue

    def left(self, *, again: bool) -> list[str]:
        """Say what is left; with `again`, files count that are there after the next start."""
        wrong = ["process"] * sum(1 for _ in self._processes())
        if again and list(self._files_left()):
            self._start((*self._words, *_SHORT[self._words[0]])).wait(_PATIENCE_S)
        return [*wrong, *self._files_left(), *self._locks_left()]

    def _files_left(self) -> Iterator[str]:
        for folder in ("tmp", "work"):
            for file in (self._folder / folder).iterdir():
                if file.name not in _NO_LEFTOVERS:
                    yield f"{folder}/{file.name}"
        for draft in self._cache.glob(".*"):
            yield f"cache/{draft.name}"

    def _locks_left(self) -> Iterator[str]:
        for file in (*(self._folder / "work").iterdir(), *self._cache.iterdir()):
            if file.is_file():
                with file.open() as opened:
                    try:
                        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        yield f"lock on {file.name}"

    def said(self) -> str:
        """Return what the run told on stderr."""
        return (self._folder / "work" / "err").read_text()

    def faults(self, word: str, phase: str) -> Iterator[str]:
        """Say what is wrong with the end of a run that was asked to end."""
        work = self._folder / "work"
        err, out = self.said(), (work / "out").read_text()
        # As the interpreter starts and ends, the kernel ends the process: with the signal's status.
        if self.process.poll() not in (_STATUS[word], -signal.Signals[f"SIG{word}"]):
            yield "status"
        if "Traceback" in err or "Exception ignored" in err:
            yield "traceback"
        document: dict[str, Any] = {}
        try:
            document = json.loads((work / "results.json").read_text())
        except FileNotFoundError:
            pass
        except ValueError:
            yield "torn results"
        if word == "TERM" and phase in _MUST_SAVE:
            if "===FINAL_RESULT" not in out or not document.get("final_results"):
                yield "answers not saved"
            if err.count("error: ") != 1:
                yield "not one line"


if __name__ == "__main__":
    main()

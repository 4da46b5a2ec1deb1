"""Fuzz what mlbench reads: settings, labels, traces, images, tensors, results, queries, frames.

    python tools/fuzz.py --minutes 6 --seed 1
    python tools/fuzz.py --target images --seed 1 --case 4711     # that case again, in the open

Each target has its share of the time, in a process of its own. Reported are crashes (an exception
that is no refusal, a signal, 2 GiB of memory), hangs (30 s for a case) and memory that
grows. Exit status 1 if there are any.
"""

import ctypes
import mmap
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import psutil
from fuzzing.targets import TARGETS, play

_PATIENCE_S = 30.0
_MEMORY_BYTES = 2 << 30
_GROWTH = 1.5, 20 << 20
"""Times and bytes, both, from the half of a target's time to its end: decoders keep buffers, of 30
MB once in 100,000 cases. A leak of 2 kB a case exceeds it within 20,000 cases."""
_MOST_TROUBLES = 5
_CASE, _BEGAN_NS, _BYTES = range(3)  # places in what both sides map
_LOOK_EVERY = 100  # cases, at the memory that is left between two of them


@dataclass
class Slice:
    """One process with a target: what it tells, in memory that both sides map."""

    target: str
    seed: int
    first: int
    shared: memoryview
    folder: Path

    def run(self) -> None:
        """Play case after case until the parent is gone; ends the process at the first crash."""
        parent = os.getppid()
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libjpeg writes about every damaged file
        cases, own, libc = self.folder / "case", psutil.Process(), ctypes.CDLL("libc.so.6")
        cases.mkdir()
        for case in range(self.first, sys.maxsize):
            if os.getppid() != parent:
                os._exit(0)
            if case % _LOOK_EVERY == 0:
                libc.malloc_trim(0)  # what was freed and is held for later is no growth
                self.shared[_BYTES] = own.memory_info().rss
            self.shared[_BEGAN_NS], self.shared[_CASE] = time.monotonic_ns(), case
            try:
                play(self.target, self.seed, case, cases)
            except BaseException:
                (self.folder / "traceback").write_text(traceback.format_exc())
                os._exit(1)

    @property
    def case(self) -> int:
        """The number of the case that is played."""
        return int(self.shared[_CASE])

    @property
    def running_s(self) -> float:
        """For how many seconds it is played."""
        return (time.monotonic_ns() - self.shared[_BEGAN_NS]) * 1e-9


@contextmanager
def _started(target: str, seed: int, first: int) -> Iterator[tuple[Slice, int]]:
    """Run a slice in a child process, which is ended with the block."""
    shared = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")
    shared[_BEGAN_NS], shared[_CASE] = time.monotonic_ns(), first
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    part = Slice(target, seed, first, shared, folder)
    pid = os.fork()
    if pid == 0:
        part.run()
    try:
        yield part, pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        shutil.rmtree(folder)


def _watch(part: Slice, pid: int, end_s: float) -> str | None:
    """Return what went wrong, None when the time was over before."""
    half_s, half_bytes = (time.monotonic() + end_s) / 2, 0
    while time.monotonic() < end_s:
        time.sleep(0.05)
        if time.monotonic() > half_s:
            half_bytes = half_bytes or part.shared[_BYTES]
        if part.running_s > _PATIENCE_S:
            return f"case {part.case} hangs"
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None:
            words = part.folder / "traceback"
            why = words.read_text() if words.exists() else f"signal or status {ended.si_status}"
            return f"case {part.case} crashes: {why.strip()}"
    return _growth(half_bytes, part.shared[_BYTES])


def _growth(half_bytes: int, now_bytes: int) -> str | None:
    times, more_bytes = _GROWTH
    if not half_bytes or now_bytes < max(times * half_bytes, half_bytes + more_bytes):
        return None
    return f"memory grows from {half_bytes >> 20} to {now_bytes >> 20} MiB"


def fuzz(target: str, seed: int, seconds: float) -> tuple[int, list[str]]:
    """Play cases of a target for so long; return how many, and what went wrong."""
    end_s, first, troubles = time.monotonic() + seconds, 0, list[str]()
    while time.monotonic() < end_s and len(troubles) < _MOST_TROUBLES:
        with _started(target, seed, first) as (part, pid):
            if trouble := _watch(part, pid, end_s):
                troubles.append(trouble)
            first = part.case + 1
    return first, troubles


@click.command(help=__doc__)
@click.option("--minutes", default=1.0, show_default=True, help="For all targets together.")
@click.option("--seed", default=0, show_default=True)
@click.option("--target", type=click.Choice(list(TARGETS)), help="Only this one.")
@click.option("--case", type=int, help="Only this case, with its traceback.")
def main(minutes: float, seed: int, target: str | None, case: int | None) -> None:
    """Print a line for each target, and its troubles."""
    if target and case is not None:
        play(target, seed, case, Path(tempfile.mkdtemp(prefix="fuzz-")))
        return
    names = [target] if target else list(TARGETS)
    found = []
    for name in names:
        cases, troubles = fuzz(name, seed, minutes * 60 / len(names))
        found += troubles
        click.echo(f"{name:10} {cases:9,} cases, {len(troubles)} troubles")
        for trouble in troubles:
            click.echo(f"  {trouble}")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()

"""CPU time by process: our own, and who else is busy."""

import os
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlbench.records import BusyProcess

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

_LOOK_S = 0.2  # a process that keeps a core busy gains 20 ticks in it
_LEAST_FRACTION = 0.05  # of a core: a single tick of 10 ms says nothing yet
_MOST_NAMED = 3  # what takes most is among them; more would not fit in a sentence


@dataclass(frozen=True)
class ProcessReading:
    """CPU seconds and major page faults of a process since it started, all threads together."""

    name: str
    cpu_s: float
    major_faults: int


def read_process(pid: int, proc: Path = _PROC) -> ProcessReading | None:
    """Read /proc/PID/stat (proc(5)); None when there is no such process.

    A process gives itself its name, so what could not be printed is replaced in it.
    """
    try:
        stat = (proc / f"{pid}/stat").read_bytes()
    except OSError:
        return None
    head, _, tail = stat.rpartition(b")")  # the name may hold blanks and brackets
    name = head.partition(b"(")[2].decode(errors="replace")
    fields = tail.split()  # from field 3 on
    return ProcessReading(
        "".join(char if char.isprintable() else "?" for char in name),
        (int(fields[11]) + int(fields[12])) / _TICKS_PER_S,
        int(fields[9]),
    )


def read_processes(pids: Iterable[int], proc: Path = _PROC) -> dict[int, ProcessReading]:
    """Return the readings of those processes that there are."""
    readings = {pid: read_process(pid, proc) for pid in pids}
    return {pid: reading for pid, reading in readings.items() if reading}


def name_busy(cores: Collection[int], workers: Collection[int]) -> tuple[BusyProcess, ...]:
    """Look for a moment which other processes are busy and may run on one of these cores.

    Takes 0.2 s, and a reading of all processes (15 us each) at both ends: too much beside a trial.
    `workers` are the process ids of ours. Processes of other containers are not seen.
    """
    ours = {os.getpid(), *workers}
    pids = [int(path.name) for path in _PROC.iterdir() if path.name.isdigit()]
    begin, before = time.monotonic(), read_processes(set(pids) - ours)
    time.sleep(_LOOK_S)
    span_s, after = time.monotonic() - begin, read_processes(before)
    busy = [found for found in busiest(before, after, span_s) if _may_run(found.pid, cores)]
    return tuple(busy[:_MOST_NAMED])


def _may_run(pid: int, cores: Collection[int]) -> bool:
    try:
        return not os.sched_getaffinity(pid).isdisjoint(cores)
    except OSError:  # it ended
        return True


def busiest(
    before: Mapping[int, ProcessReading], after: Mapping[int, ProcessReading], span_s: float
) -> list[BusyProcess]:
    """Return the processes that were busy for `span_s` seconds, those that took most CPU first.

    Those in `after` are among those in `before`.
    """
    found = [
        BusyProcess(pid, now.name, (now.cpu_s - before[pid].cpu_s) / span_s)
        for pid, now in after.items()
    ]
    busy = (process for process in found if process.cpu_fraction > _LEAST_FRACTION)
    return sorted(busy, key=lambda process: -process.cpu_fraction)

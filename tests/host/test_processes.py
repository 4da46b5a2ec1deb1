import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlbench.host.processes import (
    ProcessReading,
    busiest,
    name_busy,
    read_process,
    read_processes,
)
from mlbench.records import BusyProcess

STAT = b" S 1 1 1 0 -1 4194560 900 0 7 0 250 50 0 0 20 0 3 0 100 9 9"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"python3", "python3"),
        (b"a b) (c", "a b) (c"),
        (b"\x1b[2Jred\n", "?[2Jred?"),
        ("\u202eevil".encode(), "?evil"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"", ""),
    ],
)
def test_a_name_may_hold_anything_and_is_safe_to_print(tmp_path, name, shown):
    """Brackets are part of it, and control characters are replaced."""
    (tmp_path / "42").mkdir()
    (tmp_path / "42/stat").write_bytes(b"42 (" + name + b")" + STAT)
    assert read_process(42, tmp_path) == ProcessReading(shown, 3.0, 7)


def test_only_processes_that_there_are_have_a_reading():
    """This process has used the CPU; one that does not exist is left out."""
    readings = read_processes([os.getpid(), 2**22 + 1])
    assert set(readings) == {os.getpid()}
    assert readings[os.getpid()].cpu_s > 0


def test_the_busiest_come_first():
    """Shares are of one core; what hardly ran is left out."""
    before = {pid: ProcessReading("p", 10.0, 0) for pid in (1, 2, 3, 4)}
    after = {
        1: ProcessReading("a", 10.1, 0),
        2: ProcessReading("b", 10.5, 0),
        3: ProcessReading("c", 10.01, 0),
    }
    assert busiest(before, after, 0.25) == [
        BusyProcess(2, "b", 2.0),
        BusyProcess(1, "a", pytest.approx(0.4)),
    ]


@pytest.fixture
def busy_pid():
    """A process that keeps the highest of our cores busy."""
    core = max(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, [{core}]); print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_a_busy_program_is_named_on_its_own_core_only(busy_pid):
    """It is found with its name, and left out where it cannot run, and where it is ours."""
    core = max(os.sched_getaffinity(0))
    name = Path(f"/proc/{busy_pid}/comm").read_text().strip()
    looks = (name_busy([core], []) for _ in range(40))  # others may be busier for a while
    assert any((busy_pid, name) in {(one.pid, one.name) for one in look} for look in looks)
    assert busy_pid not in {process.pid for process in name_busy([core + 1], [])}
    assert busy_pid not in {process.pid for process in name_busy([core], [busy_pid])}

"""How the command ends when something is wrong with it or with what it writes to."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

ADVICE = "make room, or give it another file"
VERSION = (sys.executable, "-m", "mlbench", "--version")


def _in_shell(prefix, redirection, *argv):
    script = f'{prefix} exec "$0" "$@" {redirection}'
    done = subprocess.run(["sh", "-c", script, *argv], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("redirection", "status", "line"),
    [
        (">&-", 2, "error: stdout is closed, and results go there; give it a file or /dev/null\n"),
        (
            ">/dev/full",
            3,
            f"error: cannot write to stdout ({os.strerror(errno.ENOSPC)}): {ADVICE}\n",
        ),
        (">&- 2>&-", 2, ""),
        ("<&- 2>&-", 0, ""),
        ("2>/dev/full", 0, ""),
    ],
)
def test_a_stream_that_cannot_be_written_ends_in_order(redirection, status, line):
    """A closed or full stdout is one line and a status; nobody misses a closed stderr."""
    assert _in_shell("", redirection, *VERSION) == (status, line)


def test_a_reader_that_has_left_ends_the_command_in_silence():
    """Output that nobody reads any more ends the command with status 130 and no word."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(VERSION, stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (130, b"")


def test_ctrl_c_while_packages_are_imported_is_one_line(process, tmp_path):
    """An interrupt before the command has even begun has its status and no traceback."""
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    (tmp_path / "sitecustomize.py").write_text(
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    )
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    result = process("--version", env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
    assert (result.status, result.err) == (130, "error: interrupted\n")


def test_a_low_limit_of_open_files_is_one_line():
    """With few open files the command says what to do, before anything else."""
    status, err = _in_shell("ulimit -n 20;", "", *VERSION)
    assert status == 2
    assert err.startswith("error: only 20 files may be open at once")
    assert err.count("\n") == 1


@pytest.fixture
def broken(monkeypatch):
    """Let `doctor` fail in a way that nobody foresaw."""

    def examine() -> None:
        raise TypeError("a \x1b[31mcolour")

    monkeypatch.setattr("mlbench.bench.doctor.examine", examine)


@pytest.mark.usefixtures("broken")
def test_the_unforeseen_is_one_line_and_a_file(command, monkeypatch, tmp_path):
    """An error that nobody foresaw has status 3 and a line that names the file of its traceback."""
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path))
    result = command("doctor")
    assert result.status == 3
    assert result.err.startswith(r"error: unforeseen: TypeError: a \x1b[31mcolour; ")
    assert result.err.count("\n") == 1
    path = Path(result.err.split()[-1])
    assert path.parent == tmp_path
    story = path.read_text()
    assert "Traceback" in story
    assert "mlbench-coordinator doctor" in story


@pytest.mark.usefixtures("broken")
def test_a_traceback_that_cannot_be_kept_is_told(command, monkeypatch, tmp_path):
    """Where the file cannot be written the line says so; the status is the same."""
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path / "file" / "folder"))
    (tmp_path / "file").touch()
    result = command("doctor")
    assert result.status == 3
    assert "its traceback is not kept" in result.err
    assert result.err.count("\n") == 1


def test_what_a_request_brings_cannot_write_to_the_terminal(refused):
    """Escapes of a terminal in the words of a request are spelt out."""
    assert r"'\x1b[31mfast'" in refused("run", "--backend", "\x1b[31mfast")
    assert r"\x1b]0;name" in refused("run", "--\x1b]0;name\x07")

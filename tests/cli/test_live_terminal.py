"""The command on a real terminal: a pseudo-terminal as wide as people have."""

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

pytestmark = pytest.mark.slow
_STOP, _GO_ON = b"\x13", b"\x11"  # Ctrl-S and Ctrl-Q
_LONGER_THAN_A_PAUSE_S = 1.5  # of the coordinator, that spoils a trial
RUN = [
    *(sys.executable, "-m", "mlbench", "run", "--backend", "simulated", "--skip-accuracy"),
    *("--backend-option", "service_ms=2", "--arrivals", "linear", "--max-latency", "0.2"),
    *("--time", "1", "--precision", "0.0001", "--seed", "1"),
]


@pytest.fixture
def shown(tmp_path):
    """Return a function that runs on a terminal and returns the status and what was sent to it.

    `look` is called each time there is more, with the process, the terminal's other end, and all
    that was sent so far.
    """

    def run(*words, look=lambda _process, _terminal, _sent: None, width=80, **environment):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, width, 0, 0))
        settings = {**os.environ, "TERM": "xterm-256color", **environment}
        argv = [*RUN, *words]
        options = {"stdout": theirs, "stderr": theirs, "stdin": theirs, "cwd": tmp_path}
        # In a shell's background Ctrl-C would be ignored.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        process = subprocess.Popen(argv, env=settings, start_new_session=True, **options)
        signal.signal(signal.SIGINT, before)
        os.close(theirs)
        sent = b""
        with contextlib.suppress(OSError):  # the last writer has left
            while more := os.read(ours, 65536):
                sent += more
                look(process, ours, sent.decode(errors="replace"))
        os.close(ours)
        return process.wait(60), sent.decode()

    return run


def test_a_run_is_seen_and_ends_with_a_table(shown):
    """The view is drawn while it lasts, log lines stay whole, and the table comes last."""
    status, sent = shown("--budget", "3")
    assert status == 0
    assert "qps, linear arrivals, p99 within 200 ms" in sent
    assert "95 % interval" in sent.rpartition("===FINAL_RESULT: {'linear'")[2]
    assert "next" in sent.rpartition("===FINAL_RESULT")[2]
    assert "\x1b[?25l" not in sent


def test_without_colours_nothing_is_coloured(shown):
    """NO_COLOR leaves the view and takes the colours."""
    _, sent = shown("--budget", "2", NO_COLOR="1")
    assert "linear arrivals" in sent
    assert "\x1b[3" not in sent


def test_quiet_draws_nothing(shown):
    """--quiet leaves the log lines alone on the terminal."""
    status, sent = shown("--budget", "2", "--quiet")
    assert status == 0
    assert "\x1b" not in sent
    assert "===FINAL_RESULT" in sent


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_it_the_cursor_is_there(shown, number):
    """In the middle of a trial: the view is taken away where that can be, and nothing is hidden."""
    is_sent = []

    def look(process, _terminal, sent):
        if "answered, " in sent and not is_sent:
            is_sent.append(True)
            process.send_signal(number)

    status, sent = shown("--budget", "60", look=look)
    assert "\x1b[?25l" not in sent
    if number == signal.SIGKILL:
        assert status == -signal.SIGKILL
        return
    assert status == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    last = sent.rpartition("\x1b[J")[2]
    assert "answered" not in last
    assert last.rstrip().endswith("error: " + ("interrupted", "ended by SIGTERM")[status == 143])


def test_a_terminal_that_is_stopped_does_not_stop_a_trial(shown):
    """Ctrl-S in a trial, and Ctrl-Q later: the trial goes on meanwhile, and is not spoilt."""
    stopped = []

    def look(_process, terminal, sent):
        if re.search(r"trial 2: \d+ qps", sent) and not stopped:
            stopped.append(True)
            os.write(terminal, _STOP)
            time.sleep(_LONGER_THAN_A_PAUSE_S)
            os.write(terminal, _GO_ON)

    status, sent = shown("--budget", "10", "--time", "4", look=look)
    assert (status, stopped) == (0, [True])
    assert "stood still" not in sent

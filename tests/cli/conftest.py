"""Running the command: in this process where no more is needed, else as users do."""

import functools
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from mlbench.bench.calibration import calibrate
from mlbench.cli.main import main
from mlbench.pool.local import LocalLauncher


@dataclass(frozen=True)
class Result:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str


_calibrate_once = functools.cache(calibrate)


@pytest.fixture
def _own_signals() -> Iterator[None]:
    """Put back what signals do, which a command changes."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before, hook = {number: signal.getsignal(number) for number in numbers}, sys.unraisablehook
    yield
    sys.unraisablehook = hook
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def command(monkeypatch, capfd, _own_signals) -> Callable[..., Result]:
    """Return a function that runs the command in this process; one calibration does for all."""
    for module in ("run", "doctor"):
        monkeypatch.setattr(f"mlbench.bench.{module}.calibrate", _calibrate_once)

    def run(*words: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["mlbench-coordinator", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Result(ended.value.code or 0, *capfd.readouterr())

    return run


@pytest.fixture
def refused(command, monkeypatch) -> Callable[..., str]:
    """Return a function that runs a bad request and returns its one line on stderr.

    No worker may start, nothing may be printed on stdout, and the status is 2.
    """

    def fail(*_: object) -> None:
        raise AssertionError("a worker was started for a bad request")

    monkeypatch.setattr(LocalLauncher, "start", fail)

    def run(*words: object) -> str:
        result = command(*words)
        assert result.out == ""
        assert result.status == 2, result.err
        assert result.err.startswith("error: "), result.err
        assert result.err.count("\n") == 1, result.err
        return result.err

    return run


@pytest.fixture(scope="session")
def process() -> Callable[..., Result]:
    """Return a function that runs `python -m mlbench` to its end."""

    def run(*words: object, **options: object) -> Result:
        argv = [sys.executable, "-m", "mlbench", *map(str, words)]
        ended = subprocess.run(argv, capture_output=True, text=True, timeout=120, **options)
        return Result(ended.returncode, ended.stdout, ended.stderr)

    return run

"""What the command says, line by line, and what happens when nobody can be told."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

from mlbench.contracts.errors import RequestError, RunError
from mlbench.contracts.text import printable
from mlbench.host.signals import is_ending


class ReaderLeft(RunError):  # noqa: N818 - nothing broke: who read our output has seen enough
    """Nobody reads stdout any more."""

    exit_status = 130


class _Stream:
    """A stream that cannot be written any more calls `refused` each time, with the first error."""

    def __init__(self, stream: TextIO, refused: Callable[[OSError], None]) -> None:
        self._stream = stream
        self._refused = refused
        self._error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write the text."""
        self._attempt(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Write what is in the buffer."""
        self._attempt(self._stream.flush)

    def _attempt(self, call: Callable[[], object]) -> None:
        try:
            call()
        except OSError as error:
            self._error = error
            # What is in the buffer is tried again as the interpreter ends: it has to go somewhere.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        if self._error is not None:
            self._refused(self._error)


@contextmanager
def terminal() -> Iterator[None]:
    """Guard stdout and stderr in this block, so that no refusal ends in a traceback.

    Writing to stdout raises ReaderLeft when nobody reads it any more, and RunError when it is full.
    With stderr neither is a fault, and nor is it when it is closed.
    """
    _occupy_standard_descriptors()
    with ExitStack() as streams:
        stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
        streams.enter_context(redirect_stderr(_guarded(stderr, lambda _: None)))
        if sys.stdout is not None:
            streams.enter_context(redirect_stdout(_guarded(sys.stdout, _stdout_refused)))
        yield


def check_stdout() -> None:
    """Raise RequestError when stdout is closed."""
    if sys.stdout is None:
        raise RequestError("stdout is closed, and results go there; give it a file or /dev/null")


def _occupy_standard_descriptors() -> None:
    """Have the numbers 0 to 2 in use: a file that got one would be taken for a standard stream."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _guarded(stream: TextIO, refused: Callable[[OSError], None]) -> TextIO:
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")  # a terminal may know ASCII only
    return cast(TextIO, _Stream(stream, refused))


def _stdout_refused(error: OSError) -> None:
    if is_ending():  # a terminal that is closed goes with a signal, whose status counts
        return
    if isinstance(error, BrokenPipeError):
        raise ReaderLeft("nobody reads the output any more")
    raise RunError(f"cannot write to stdout ({error.strerror}): make room, or give it another file")


def say(line: str, err: bool = False) -> None:
    """Print one line on stdout or stderr."""
    stream = sys.stderr if err else sys.stdout
    stream.write(f"{printable(line)}\n")
    stream.flush()


def complain(message: str) -> None:
    """Tell of an error, in one line on stderr."""
    say(f"error: {' '.join(message.split())}", err=True)

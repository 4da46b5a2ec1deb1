"""How signals end the command: in order at the first, at once at the second.

first signal  --> Ended is raised --> answers are saved, workers leave --> exit status
                  (where work must not be cut in two, at the end of that)
second signal --> temporary files are removed --> at_once(status)
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143}
_SOON_S = 0.01  # by then what was interrupted has returned


class Ended(BaseException):
    """A signal asks this process to end, with this exit status.

    It is no KeyboardInterrupt, since libraries catch those and go on in their own ways.
    """

    def __init__(self, number: int) -> None:
        word = signal.Signals(number)
        super().__init__("interrupted" if word is signal.SIGINT else f"ended by {word.name}")
        self.number = number
        self.status = _STATUS[word]


class _Course:
    """How far this process is on its way to the end."""

    def __init__(self) -> None:
        self.ends = False
        self.held = 0
        self.waiting: Ended | None = None
        self.temporary: set[Path] = set()


_course = _Course()  # signals are a matter of the whole process


def take_signals(at_once: Callable[[int], object]) -> None:
    """Let SIGINT, SIGTERM and SIGHUP raise Ended; `at_once` gets the status of a second one.

    Those that whoever started us had ignored, as `nohup` does, stay ignored.
    """
    _course.ends = False

    def take(number: int, _frame: FrameType | None) -> None:
        ended = Ended(number)
        if _course.ends:
            for path in _course.temporary:
                with suppress(OSError):
                    path.unlink()
            at_once(ended.status)
            return
        _course.ends = True
        if not _course.held:
            raise ended
        _course.waiting = ended

    for number in _STATUS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, take)
    sys.unraisablehook = _send_again


def _send_again(dropped: "sys.UnraisableHookArgs") -> None:
    """Send a signal again that came in a destructor or a call from C: Python drops exceptions."""
    if not isinstance(dropped.exc_value, Ended):
        sys.__unraisablehook__(dropped)
        return
    import threading  # takes as long to import as all of this

    _course.ends = False
    threading.Timer(_SOON_S, os.kill, (os.getpid(), dropped.exc_value.number)).start()


def is_ending() -> bool:
    """Whether a signal has come, or all is done."""
    return _course.ends


def last_act() -> None:
    """Say that all is done: from here on even the first signal ends the process at once."""
    _course.ends = True


@contextmanager
def held() -> Iterator[None]:
    """Let a first signal wait until this block is through; for work of a second or so."""
    _course.held += 1
    try:
        yield
    finally:
        _course.held -= 1
        if not _course.held and (ended := _course.waiting) is not None:
            _course.waiting = None
            raise ended


@contextmanager
def temporary(path: "Path") -> Iterator[None]:
    """Remove a file at the end of this block, or at a second signal."""
    _course.temporary.add(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        _course.temporary.discard(path)

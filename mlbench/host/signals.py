"""How signals end the command: in order at the first, at once at the second.

first signal  --> Ended is raised --> answers are saved, workers leave --> exit status
                  (where work must not be cut in two, at the end of that)
second signal --> at_once(status)
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

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
    """How far the process is on its way to the end; signals are the whole process's matter."""

    ends: bool = False
    held: int = 0
    waiting: Ended | None = None


def take_signals(at_once: Callable[[int], object]) -> None:
    """Let SIGINT, SIGTERM and SIGHUP raise Ended; `at_once` gets the status of a second one.

    Those that whoever started us had ignored, as `nohup` does, stay ignored.
    """
    _Course.ends, _Course.held, _Course.waiting = False, 0, None

    def take(number: int, _frame: FrameType | None) -> None:
        ended = Ended(number)
        if _Course.ends:
            at_once(ended.status)
            return
        _Course.ends = True
        if not _Course.held:
            raise ended
        _Course.waiting = ended

    for number in _STATUS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, take)
    sys.unraisablehook = _send_again


def _send_again(dropped: "sys.UnraisableHookArgs") -> None:
    """Send a signal again that came in a destructor, where Python drops exceptions."""
    if not isinstance(dropped.exc_value, Ended):
        sys.__unraisablehook__(dropped)
        return
    import threading  # takes as long to import as all of this

    _Course.ends = False
    threading.Timer(_SOON_S, os.kill, (os.getpid(), dropped.exc_value.number)).start()


def is_ending() -> bool:
    """Whether a signal has come, or all is done."""
    return _Course.ends


def last_act() -> None:
    """Say that all is done: from here on even the first signal ends the process at once."""
    _Course.ends = True


@contextmanager
def held() -> Iterator[None]:
    """Let a first signal wait until this block is through; for work of a second or so."""
    _Course.held += 1
    try:
        yield
    finally:
        _Course.held -= 1
        if not _Course.held and (ended := _Course.waiting) is not None:
            _Course.waiting = None
            raise ended

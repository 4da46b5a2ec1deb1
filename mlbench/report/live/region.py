"""A few lines at the bottom of a terminal that are drawn again and again, below all other output.

It is no thread and hides no cursor: whatever ends the process, the terminal stays usable. One that
does not take more at the moment (it was stopped, or its line is slow) misses a drawing, so that
nobody waits for it. A drawing sends only the lines that changed.
"""

import select
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TextIO

from mlbench.host.signals import held

Painted = tuple[str, int]
"""(a line as it is sent to the terminal, the columns it takes)."""


class Region:
    """The region on `stream`, a terminal; `columns` tells its width now.

    `is_ready` says whether the terminal takes something without delay.
    """

    def __init__(
        self, stream: TextIO, columns: Callable[[], int], is_ready: Callable[[], bool]
    ) -> None:
        self._stream = stream
        self._columns = columns
        self._is_ready = is_ready
        self._drawn: Sequence[Painted] = ()
        self._wanted: Sequence[Painted] = ()
        self._width = columns()
        self._is_line_open = False  # others have written a line without its end
        self._lock = threading.RLock()  # what workers say comes from threads

    def show(self, lines: Sequence[Painted]) -> None:
        """Draw these lines in place of the earlier ones, if the terminal is ready."""
        with _whole():
            if not self._lock.acquire(blocking=False):
                return
            try:
                self._wanted = lines
                if not self._is_line_open and self._is_ready():
                    self._draw(lines)
            finally:
                self._lock.release()

    def clear(self) -> None:
        """Take the region off the terminal."""
        with _whole(), self._lock:
            self._wanted = ()
            self._draw(())

    @contextmanager
    def aside(self, *, ends_line: bool = True) -> Iterator[None]:
        """Make room for other output, a whole number of lines unless `ends_line` is false."""
        with _whole(), self._lock:
            self._draw(())
            yield
            self._is_line_open = not ends_line
            if ends_line:
                self._draw(self._wanted)

    def _draw(self, lines: Sequence[Painted]) -> None:
        if lines == self._drawn and self._columns() == self._width:
            return
        text = self._back_to_its_top()
        same = 0  # lines at the top that stand there already
        for new, old in zip(lines, self._drawn, strict=False):
            text += "\n" if new == old else f"{new[0]}\x1b[K\n"
            same += 1
        text += "".join(f"{line}\x1b[K\n" for line, _ in lines[same:])
        if len(lines) < len(self._drawn):
            text += "\x1b[J"
        self._drawn = lines
        self._stream.write(text)
        self._stream.flush()

    def _back_to_its_top(self) -> str:
        """Return what moves the cursor there; of a terminal that became narrower, lines wrapped."""
        width = max(self._columns(), 1)
        rows = sum(max(-(-cells // width), 1) for _, cells in self._drawn)
        up = f"\r\x1b[{rows}A" if rows else ""
        if width == self._width:
            return up
        self._width, self._drawn = width, ()
        return f"{up}\x1b[J"


class Above:
    """A stream whose text appears above a region."""

    def __init__(self, stream: TextIO, region: Region) -> None:
        self._stream = stream
        self._region = region

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write the text at once."""
        with self._region.aside(ends_line=text.endswith("\n")):
            self._stream.write(text)
            self._stream.flush()
        return len(text)


def _whole() -> AbstractContextManager[None]:
    """Let no signal cut a drawing in two; signals come to the main thread only."""
    return held() if threading.current_thread() is threading.main_thread() else nullcontext()


def takes_more(descriptor: int) -> Callable[[], bool]:
    """Return what tells whether a terminal takes more without delay."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return lambda: any(event & select.POLLOUT for _, event in poll.poll(0))

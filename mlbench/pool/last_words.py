"""What a worker tells on stderr: passed on, without its repetitions, and its end is kept."""

import contextlib
import sys
import threading
from collections import deque
from typing import IO

from mlbench.contracts.text import printable

_LONGEST_LINE = 8_192  # bytes; longer ones are cut in pieces, so that memory is bounded
_LINES_KEPT, _CHARACTERS_KEPT = 3, 300  # of the end, for a message of one line
_AT_THE_END_S = 0.05  # for the last words of a process that has ended to be read


class Repetitions:
    """Lines as they come, and in place of those that repeat the last one their number."""

    def __init__(self) -> None:
        self._last: str | None = None
        self._again = 0

    def take(self, line: str) -> list[str]:
        """Return what to pass on when this line has come."""
        if line == self._last:
            self._again += 1
            return []
        told = [*self.rest(), line]
        self._last = line
        return told

    def rest(self) -> list[str]:
        """Return what is still to be told of the last line."""
        again, self._again = self._again, 0
        return [f"(last line repeated {again:,} times)"] if again else []


class Stderr:
    """Passes on what comes out of a pipe to our stderr, in a thread of its own."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._kept: deque[str] = deque(maxlen=_LINES_KEPT)
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def hear_out(self) -> None:
        """Wait a moment for what a process said that has ended."""
        self._thread.join(_AT_THE_END_S)

    def last_words(self) -> str:
        """Return the end of what came, as a line of printable characters."""
        self.hear_out()
        text = " / ".join(line.strip() for line in tuple(self._kept) if line.strip())
        return text[-_CHARACTERS_KEPT:]

    def _pass_on(self) -> None:
        repetitions = Repetitions()
        while line := self._pipe.readline(_LONGEST_LINE):
            text = line.decode(errors="replace").rstrip("\r\n").expandtabs()
            told = repetitions.take(printable(text))
            self._kept.extend(told[-1:])
            _write(told)
        _write(repetitions.rest())
        self._pipe.close()


def _write(lines: list[str]) -> None:
    """Write lines to stderr; where it is closed or full they are lost, and nothing else is."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write("".join(f"{line}\n" for line in lines))

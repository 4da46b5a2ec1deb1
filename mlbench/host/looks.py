"""A look at the machine again and again while something else goes on."""

import threading
from collections.abc import Callable


class RepeatedLooks:
    """Calls `look` every `period_s` seconds, in a thread of its own, until `end`."""

    def __init__(self, look: Callable[[], None], period_s: float) -> None:
        self._look, self._period_s = look, period_s
        self._ended = threading.Event()
        # A daemon: a driver that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._repeat, name="looks", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Return when the last look is over."""
        self._ended.set()
        self._thread.join()

    def _repeat(self) -> None:
        while not self._ended.wait(self._period_s):
            self._look()

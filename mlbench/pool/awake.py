"""Time as a process sees it that may be stopped itself, or stand still with its whole host."""

PAUSE_NS = 1_000_000_000
"""Ten times the longest that the coordinator rests between two looks at its workers. It must be
less than the least patience with them."""


class AwakeTime:
    """Counts the time in which this process looked at its workers, without pauses of its own.

    Workers may have been paused with it, and what they sent meanwhile was not read: a pause says
    nothing about them.
    """

    def __init__(self, now_ns: int) -> None:
        self._looked_ns = now_ns
        self.waited_ns = 0

    def look(self, now_ns: int) -> int:
        """Note a look; return for how long there was none if that was a pause, and 0 otherwise."""
        gap_ns = now_ns - self._looked_ns
        self._looked_ns = now_ns
        if gap_ns > PAUSE_NS:
            return gap_ns
        self.waited_ns += gap_ns
        return 0

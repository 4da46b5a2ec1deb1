"""The one monotonic clock, and waiting on it precisely.

All times in mlbench are integer nanoseconds of `CLOCK_MONOTONIC`, which is the same clock for every
process of a host.
"""

import ctypes
import time

now_ns = time.monotonic_ns

_PR_SET_TIMERSLACK = 29
_LONGEST_AIM_NS = 60_000
_NAP_NS = 150_000  # after a sleep this short a virtual machine's core wakes in 25 us instead of 100
_MARGIN_NS = 3_000
_MEMORY = 0.05  # weight of the newest overshoot in the running mean


def set_precise_sleep() -> None:
    """Ask the kernel to wake this thread on time.

    Linux groups wake-ups within 50 us by default; with a slack of 1 ns a sleep overshoots by 5 us
    on bare metal and 25 us in a virtual machine instead of 55 us and more (measured). Applies to
    the calling thread and those it starts.
    """
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)


def sleep_until(deadline_ns: int) -> None:
    """Sleep until `deadline_ns` on the monotonic clock; return at once when it has passed."""
    remaining_ns = deadline_ns - now_ns()
    if remaining_ns > 0:
        time.sleep(remaining_ns * 1e-9)


class Alarm:
    """Wakes at a deadline, never before and within microseconds after.

    What a sleep overshoots by is the machine's own and steady, so it is measured and slept less;
    the few microseconds left are watched on the clock. That watching is bounded by 60 us a wait.
    The end of a long wait is slept apart, since a core that slept for long takes long to wake up.
    """

    def __init__(self) -> None:
        self._overshoot_ns = 0.0

    def wait_until(self, deadline_ns: int) -> None:
        """Return at `deadline_ns`, or at once when it has passed."""
        sleep_until(deadline_ns - _NAP_NS)
        aim_ns = deadline_ns - min(round(self._overshoot_ns) + _MARGIN_NS, _LONGEST_AIM_NS)
        remaining_ns = aim_ns - now_ns()
        if remaining_ns > 0:
            time.sleep(remaining_ns * 1e-9)
            overshoot_ns = min(now_ns() - aim_ns, _LONGEST_AIM_NS)
            self._overshoot_ns += _MEMORY * (overshoot_ns - self._overshoot_ns)
        while now_ns() < deadline_ns:
            pass

"""A worker ends with its coordinator, whatever either of them is doing.

The kernel kills this process when the thread that started it ends. Where that cannot be had, or
comes too late because the coordinator was gone before it was asked for, a thread sees that a pipe
has ended: the coordinator holds the writing end for as long as it lives, and nobody writes.
Both take no time of the device: nothing wakes up before the end.
"""

import ctypes
import os
import signal
import threading

_PR_SET_PDEATHSIG = 1


def end_with_coordinator(lifeline: int) -> None:
    """End this process when the coordinator ends; `lifeline` is the pipe's reading end."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    threading.Thread(target=_leave_at_the_end_of, args=(lifeline,), daemon=True).start()


def _leave_at_the_end_of(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(1)

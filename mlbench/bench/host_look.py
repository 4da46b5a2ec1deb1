"""A look at the host before anything is measured."""

import os
import time
from dataclasses import replace

from mlbench.host.monitor import watch_host
from mlbench.host.processes import name_busy
from mlbench.records import HostAccount


def look_at_host(more_s: float = 0.0) -> HostAccount:
    """Watch for a fifth of a second, and so many more, what other programs do on our cores."""
    account = watch_host({})
    time.sleep(more_s)
    busy = name_busy(os.sched_getaffinity(0), ())
    return replace(account(), busy_processes=busy)

"""The loops over a line's events, compiled to machine code.

Import this module where something is played, not before: numba takes 0.4 s. The machine code is
kept on disk and made anew when this file changes; touch it when the batching rule does.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mlbench.contracts.batching import batch_start

Function = TypeVar("Function", bound=Callable[..., Any])


def _compiled(function: Function) -> Function:
    """Compile a function when it is first called, for the types of its arguments."""
    try:
        compiled: Function = njit(function, cache=True)
    except RuntimeError:  # there is no folder that the machine code could be kept in
        compiled = njit(function)
    return compiled


_batch_start = _compiled(batch_start)


@_compiled
def _first_free(free: NDArray[Any]) -> int:
    """Return the server that is free first; of equals, the one with the lowest number."""
    first = 0
    for server in range(1, len(free)):
        if free[server] < free[first]:
            first = server
    return first


@_compiled
def play(
    batch_size: int,
    timeout_s: float,
    by_size_s: NDArray[np.float64],
    idle_factor: float,
    slowness: NDArray[np.float64],
    arrive_s: NDArray[np.float64],
    ratio: NDArray[np.float64],
    latency_s: NDArray[np.float64],
) -> None:
    """Put the latency of each query (n,) into `latency_s`.

    The arguments are those of `mlbench.queueing.line.line_latencies`, for one row of arrivals.
    """
    n = len(arrive_s)
    free_s = np.full(len(slowness), -np.inf)
    first = 0
    while first < n:
        server = _first_free(free_s)
        oldest_s, end = arrive_s[first], first + 1
        start_s = max(free_s[server], oldest_s)
        if batch_size > 1:
            full = first + batch_size
            filled_s = arrive_s[full - 1] if full <= n else np.inf
            start_s = _batch_start(free_s[server], oldest_s, filled_s, timeout_s)
            while end < min(full, n) and arrive_s[end] <= start_s:
                end += 1
        seconds = by_size_s[end - first] * ratio[first] * slowness[server]
        if oldest_s > free_s[server]:
            seconds *= idle_factor
        free_s[server] = start_s + seconds
        for query in range(first, end):
            latency_s[query] = free_s[server] - arrive_s[query]
        first = end


@_compiled
def replay(
    batch_size: int,
    timeout_ns: int,
    free_ns: NDArray[np.int64],
    due_ns: NDArray[np.int64],
    first: NDArray[np.int64],
    size: NDArray[np.int64],
    service_ns: NDArray[np.int64],
    start_ns: NDArray[np.int64],
) -> None:
    """Put the start of each batch (m,) into `start_ns`; `free_ns` (servers,) is used up.

    The other arguments are those of `mlbench.queueing.replay.ideal_starts`.
    """
    for batch in range(len(first)):
        server = _first_free(free_ns)
        oldest_ns = due_ns[first[batch]]
        filled_ns = oldest_ns + timeout_ns
        if size[batch] == batch_size:
            filled_ns = due_ns[first[batch] + size[batch] - 1]
        start_ns[batch] = _batch_start(free_ns[server], oldest_ns, filled_ns, timeout_ns)
        free_ns[server] = start_ns[batch] + service_ns[batch]

"""The loops over the batches of a queue, compiled to machine code by numba.

Import this module inside the functions that need it: loading numba takes 0.4 s. The machine code is
kept on disk and compiled again when this file changes, but not when the batching rule in
`mlbench.contracts.batching` does: change this file too then.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mlbench.contracts.batching import batch_start

_EARLIEST_NS = np.iinfo(np.int64).min  # servers are free from the beginning of time

Function = TypeVar("Function", bound=Callable[..., Any])


def _compiled(function: Function) -> Function:
    """Return a function that is compiled, for the types of its arguments, when first called."""
    try:
        compiled: Function = njit(function, cache=True)
    except RuntimeError:  # there is no folder that the machine code could be kept in
        compiled = njit(function)
    return compiled


_batch_start = _compiled(batch_start)


@_compiled
def _occupy(free: NDArray[Any], server: NDArray[np.int64], until: float) -> None:
    """Make the first server busy until then, and sort all by when they are free.

    `free`: (servers,), when each is free, ascending; `server`: (servers,), their numbers. The
    server goes behind others that are free at the same time.
    """
    first, place = server[0], 0
    while place + 1 < len(free) and free[place + 1] <= until:
        free[place], server[place] = free[place + 1], server[place + 1]
        place += 1
    free[place], server[place] = until, first


@_compiled
def _done(start_s: float, took_s: float, phase: float, gap_s: float, pause_s: float) -> float:
    """Return when a batch is done that takes so long, and stops in each pause of its server."""
    if pause_s == 0:
        return start_s + took_s
    pause = math.floor(start_s / gap_s - phase)
    now_s, left_s = max(start_s, (pause + phase) * gap_s + pause_s), took_s
    while True:
        pause += 1
        next_s = (pause + phase) * gap_s
        if now_s + left_s <= next_s:
            return now_s + left_s
        left_s -= max(next_s - now_s, 0.0)
        now_s = next_s + pause_s


@_compiled
def play(
    batch_size: int,
    timeout_s: float,
    by_size_s: NDArray[np.float64],
    idle_s: NDArray[np.float64],
    idle_factors: NDArray[np.float64],
    slowdown: NDArray[np.float64],
    pause_gap_s: float,
    pause_s: float,
    phase: NDArray[np.float64],
    arrive_s: NDArray[np.float64],
    ratio: NDArray[np.float64],
    latency_s: NDArray[np.float64],
) -> None:
    """Write the latency of each query in seconds into `latency_s`, float64 (n,).

    The other arguments are the fields of `Queue` and `MeanTimes`, with a slowdown for each server,
    and one row of the arrays of `mlbench.queueing.line.line_latencies`.
    """
    n, first = len(arrive_s), 0
    free_s, server = np.full(len(slowdown), -np.inf), np.arange(len(slowdown))
    while first < n:
        oldest_s, end = arrive_s[first], first + 1
        start_s = max(free_s[0], oldest_s)
        if batch_size > 1:
            full = first + batch_size
            filled_s = arrive_s[full - 1] if full <= n else np.inf
            start_s = _batch_start(free_s[0], oldest_s, filled_s, timeout_s)
            while end < min(full, n) and arrive_s[end] <= start_s:
                end += 1
        took_s = by_size_s[end - first] * ratio[first] * slowdown[server[0]]
        if oldest_s > free_s[0]:
            step = 0
            while step < len(idle_s) and oldest_s - free_s[0] > idle_s[step]:
                step += 1
            took_s *= idle_factors[step]
        done_s = _done(start_s, took_s, phase[server[0]], pause_gap_s, pause_s)
        _occupy(free_s, server, done_s)
        for query in range(first, end):
            latency_s[query] = done_s - arrive_s[query]
        first = end


@_compiled
def replay(
    servers: int,
    batch_size: int,
    timeout_ns: int,
    due_ns: NDArray[np.int64],
    start_ns: NDArray[np.int64],
    done_ns: NDArray[np.int64],
    worker: NDArray[np.uint16],
    lag_ns: NDArray[np.int64],
) -> None:
    """Write into `lag_ns`, int64 (n,), by how much each query started later than without harness.

    The queue is computed again from the due times, batches and service times of a trial. `due_ns`,
    `start_ns`, `done_ns`, `worker`: (n,), by due time. Neighbours that started at the same time on
    one worker are a batch.
    """
    n, first = len(due_ns), 0
    free_ns, server = np.full(servers, _EARLIEST_NS), np.arange(servers)
    while first < n:
        end, most = first + 1, min(first + batch_size, n)
        while end < most and start_ns[end] == start_ns[first] and worker[end] == worker[first]:
            end += 1
        filled_ns = due_ns[first] + timeout_ns
        if end == first + batch_size:
            filled_ns = due_ns[end - 1]
        ideal_ns = _batch_start(free_ns[0], due_ns[first], filled_ns, timeout_ns)
        _occupy(free_ns, server, ideal_ns + done_ns[first] - start_ns[first])
        for query in range(first, end):
            lag_ns[query] = max(start_ns[query] - max(ideal_ns, due_ns[query]), 0)
        first = end

"""The queue that a trial plays, in virtual time: equal servers, one line, and batches.

Queries wait in one line; the server that is free first takes the next one. With batches a free
server takes what waits, by the same rule as a worker (`mlbench.contracts.batching`). Many
independent replicas run side by side, one column each, so that a million queries take a fraction
of a second. Several servers really have a line each: `mlbench.queueing.binding` plays that, slower.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts.batching import batch_start

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Queue:
    """The shape of a queue: how many equal servers, their largest batch, its longest wait."""

    servers: int = 1
    batch_size: int = 1
    batch_timeout_s: float = 0.0

    def __post_init__(self) -> None:
        if self.servers < 1 or self.batch_size < 1 or self.batch_timeout_s < 0:
            raise ValueError("a queue needs a server, a batch of one or more, a timeout >= 0")


@dataclass(frozen=True)
class Levels:
    """Mean service times in seconds.

    `by_size`: float64 (batch_size + 1,), the mean of a batch of that size that starts right after
    another; entry 0 is not used. It may also be (batch_size + 1, replicas).
    `idle_factor`: how many times longer a batch takes on a server that was idle before, as cold
    cores do. `slowness`: (servers,) or (1,), each server's service times over these, where servers
    differ; one line for all takes them as equal.
    """

    by_size: Floats
    idle_factor: float = 1.0
    slowness: Floats = field(default_factory=lambda: np.ones(1))

    @property
    def alike(self) -> bool:
        """Whether all servers are equally fast."""
        return float(np.ptp(self.slowness)) == 0.0


Play = Callable[[Queue, Levels, Floats, Floats], Floats]
"""Plays arrivals (n, replicas) and service ratios; returns latencies, as `line_latencies` does."""


def line_latencies(queue: Queue, levels: Levels, arrive_s: Floats, ratio: Floats) -> Floats:
    """Return the seconds from arrival to completion of each query, float64 (n, replicas).

    `arrive_s`: float64 (n, replicas), sorted along axis 0. `ratio`: float64 (n, replicas), the
    service time over its level; a batch takes the ratio of its first query. All servers are idle
    at first. For one server and batches of one it is Lindley's recursion (1952), for more servers
    Kiefer and Wolfowitz's (1955): the servers' free times are kept sorted.
    """
    if queue.batch_size > 1:
        return _batched(queue, levels, arrive_s, ratio)
    if queue.servers == 1 and levels.idle_factor == 1.0:
        return _lindley(ratio * levels.by_size[1], arrive_s)
    return _unbatched(queue.servers, levels, arrive_s, ratio)


def _lindley(service: Floats, arrive_s: Floats) -> Floats:
    """Lindley's recursion without a loop: the work that came, less the longest time to idle yet."""
    work = service.cumsum(axis=0)
    idle = np.maximum.accumulate(arrive_s - work + service, axis=0)
    work += idle
    work -= arrive_s
    return work


def _unbatched(servers: int, levels: Levels, arrive_s: Floats, ratio: Floats) -> Floats:
    free = [np.full(arrive_s.shape[1], -np.inf) for _ in range(servers)]
    service = ratio * levels.by_size[1]
    done = np.empty_like(arrive_s)
    factor = levels.idle_factor
    for arrival, seconds, out in zip(arrive_s, service, done, strict=True):
        if factor != 1.0:
            seconds = np.where(arrival > free[0], seconds * factor, seconds)
        np.maximum(arrival, free[0], out=out)
        out += seconds
        _occupy(free, out)
    done -= arrive_s
    return done


def _occupy(free: list[Floats], until: Floats) -> None:
    """Replace the first of the sorted free times by `until`, and keep them sorted."""
    moving = until
    for i in range(1, len(free)):
        np.minimum(free[i], moving, out=free[i - 1])
        moving = np.maximum(free[i], moving)
    free[-1] = moving


def _batched(queue: Queue, levels: Levels, arrive_s: Floats, ratio: Floats) -> Floats:
    n, replicas = arrive_s.shape
    size, column = queue.batch_size, np.arange(replicas)
    by_size = np.broadcast_to(levels.by_size.reshape(size + 1, -1), (size + 1, replicas)).ravel()
    padded = np.concatenate([arrive_s, np.full((size, replicas), np.inf)]).ravel()
    ratios = np.concatenate([ratio, ratio[-1:]]).ravel()
    free = [np.full(replicas, -np.inf) for _ in range(queue.servers)]
    first = np.zeros(replicas, dtype=np.int64)
    counts, ends = [], []
    while (first < n).any():
        at = first * replicas + column
        oldest = padded.take(at)
        filled = padded.take(at + (size - 1) * replicas)
        start = batch_start(free[0], oldest, filled, queue.batch_timeout_s, np.maximum, np.minimum)
        count = np.minimum(_count_arrived(padded, at, replicas, start, size), n - first)
        seconds = by_size.take(count * replicas + column) * ratios.take(at)
        if levels.idle_factor != 1.0:
            seconds = np.where(oldest > free[0], seconds * levels.idle_factor, seconds)
        until = start + seconds
        counts.append(count)
        ends.append(until)
        _occupy(free, until)
        first += count
    done = np.repeat(np.stack(ends, axis=1).ravel(), np.stack(counts, axis=1).ravel())
    return np.asarray(done.reshape(replicas, n).T - arrive_s)


def _count_arrived(
    padded: Floats, at: NDArray[np.int64], replicas: int, start: Floats, size: int
) -> NDArray[np.int64]:
    """Count the queries from `at` on, at most `size`, that are there when the batch starts.

    By halving: the first one is there.
    """
    more = np.zeros(len(at), dtype=np.int64)
    step = 1 << (size - 1).bit_length()
    while step := step // 2:
        further = more + step
        there = padded.take(at + np.minimum(further, size) * replicas) <= start
        more = np.where(there & (further < size), further, more)
    return more + 1

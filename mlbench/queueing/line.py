"""The queue that a trial plays, in virtual time: one line, servers of their own speed, batches.

Queries wait in one line. The server that has been free for longest takes the next one, or with
batches the next few, by the same rule as a worker (`mlbench.contracts.batching`).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Queue:
    """The shape of a queue: how many servers, their largest batch, its longest wait."""

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
    another; entry 0 is not used. `idle_factor`: how many times longer a batch takes on a server
    that was idle before, as cold cores do. `slowness`: (servers,), each server's service times
    over these, or (1,) where servers do not differ.
    """

    by_size: Floats
    idle_factor: float = 1.0
    slowness: Floats = field(default_factory=lambda: np.ones(1))

    @property
    def alike(self) -> bool:
        """Whether all servers are equally fast."""
        return float(np.ptp(self.slowness)) == 0.0

    def servers_worth(self, servers: int) -> float:
        """Return how many servers of slowness 1 so many servers are worth."""
        return float((1 / np.broadcast_to(self.slowness, servers)).sum())


def line_latencies(queue: Queue, levels: Levels, arrive_s: Floats, ratio: Floats) -> Floats:
    """Return the seconds from arrival to completion of each query, float64 (rows, n).

    `arrive_s`: float64 (rows, n), each row an independent replica, sorted. `ratio`: float64
    (rows, n), the service time over its level; a batch takes the ratio of its first query. All
    servers are idle at first. For one server and batches of one it is Lindley's recursion (1952),
    for equal servers Kiefer and Wolfowitz's (1955). Raises ValueError when shapes don't match.
    """
    from mlbench.queueing.loop import play

    if arrive_s.shape != ratio.shape or len(levels.by_size) <= queue.batch_size:
        raise ValueError("each query needs a ratio, and each size of a batch a level")
    slowness = np.array(np.broadcast_to(levels.slowness, queue.servers))
    latency_s = np.empty_like(arrive_s)
    for row in zip(arrive_s, ratio, latency_s, strict=True):
        play(
            queue.batch_size,
            queue.batch_timeout_s,
            levels.by_size,
            levels.idle_factor,
            slowness,
            *row,
        )
    return latency_s

"""A queue with one line, several servers and batches; and several of them side by side.

All queries of a host wait in one line. The server that has been free for longest takes the oldest
one, or the next few as a batch, by the rule that workers follow too (`mlbench.contracts.batching`).
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mlbench.queueing.split import Split

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Queue:
    """The shape of a queue: its servers, the most queries in a batch, the longest wait for one.

    With several `hosts` the servers are divided among them, in order and as many to each. Each host
    has a line of its own, and queries are divided by the rule `split`, or by the usual one of
    `mlbench.queueing.split` where that is None. Raises ValueError without a server, with batches of
    less than one query or a negative timeout, and when hosts would differ in their servers.
    """

    servers: int = 1
    batch_size: int = 1
    batch_timeout_s: float = 0.0
    hosts: int = 1
    split: Split | None = None

    def __post_init__(self) -> None:
        if self.servers < 1 or self.batch_size < 1 or self.batch_timeout_s < 0:
            raise ValueError("a queue needs a server, a batch of one or more, a timeout >= 0")
        if self.hosts < 1 or self.servers % self.hosts:
            raise ValueError("each host needs as many servers as the others")

    @property
    def of_host(self) -> "Queue":
        """The queue of one host alone."""
        return replace(self, servers=self.servers // self.hosts, hosts=1, split=None)


@dataclass(frozen=True)
class MeanTimes:
    """Mean service times in seconds, by the size of the batch, the server and its state.

    `by_size_s`: float64 (batch_size + 1,), the mean for a batch of each size that starts right
    after another one; entry 0 is not used. `idle_factors`: float64 (k + 1,), the factor by which a
    batch takes longer on a server that was idle before it, by how long it was: up to each of
    `idle_s`, float64 (k,), ascending, and longer than all of these. `slowdown`: float64 (servers,),
    the factor by which each server takes longer than `by_size_s`; or (1,) when servers do not
    differ. Every `pause_gap_s` a server stops for `pause_s`, whatever it is doing.
    """

    by_size_s: Floats
    idle_s: Floats = field(default_factory=lambda: np.empty(0))
    idle_factors: Floats = field(default_factory=lambda: np.ones(1))
    slowdown: Floats = field(default_factory=lambda: np.ones(1))
    pause_gap_s: float = math.inf
    pause_s: float = 0.0

    def times(self, factor: float) -> "MeanTimes":
        """Return the same in another unit of time, `factor` of which are a second."""
        return replace(
            self,
            by_size_s=self.by_size_s * factor,
            idle_s=self.idle_s * factor,
            pause_gap_s=self.pause_gap_s * factor,
            pause_s=self.pause_s * factor,
        )

    def slower(self, factor: float) -> "MeanTimes":
        """Return service times that are `factor` times as long."""
        return replace(self, by_size_s=self.by_size_s * factor)

    def equivalent_servers(self, servers: int, hosts: int = 1) -> float:
        """Return how many servers without slowdown or pauses serve as much as these `servers`.

        Of several hosts, which get as many queries each, the slowest decides.
        """
        working = 1 - self.pause_s / self.pause_gap_s
        speeds = (1 / np.broadcast_to(self.slowdown, servers)).reshape(hosts, -1).sum(axis=1)
        return working * hosts * float(speeds.min())

    def of_host(self, host: int, queue: Queue) -> "MeanTimes":
        """Return the times of one host of a queue alone."""
        own = np.broadcast_to(self.slowdown, queue.servers).reshape(queue.hosts, -1)[host]
        return replace(self, slowdown=own)


def line_latencies(
    queue: Queue,
    mean_times: MeanTimes,
    arrive_s: Floats,
    ratio: Floats,
    phase: Floats | None = None,
) -> Floats:
    """Return the seconds from arrival to completion of each query, float64 (rows, n).

    `arrive_s`: float64 (rows, n), arrival times, each row sorted and simulated on its own.
    `ratio`: float64 (rows, n), the service time over its mean; a batch takes the ratio of its first
    query. `phase`: float64 (rows, servers), when each server's first pause begins, in gaps between
    pauses; 0 where it is None. All servers are idle at first. With one server and batches of one
    this is the recursion of Lindley (Proc. Camb. Phil. Soc. 48 (1952), 277), with equal servers
    that of Kiefer and Wolfowitz (Trans. AMS 78 (1955), 1). Raises ValueError when shapes do not
    match, and for a queue of several hosts.
    """
    from mlbench.queueing.loop import play

    if queue.hosts > 1:
        raise ValueError("several hosts have no line together: see divided_latencies")
    if arrive_s.shape != ratio.shape or len(mean_times.by_size_s) <= queue.batch_size:
        raise ValueError("each query needs a ratio, and each size of a batch a mean")
    slowdown = np.array(np.broadcast_to(mean_times.slowdown, queue.servers))
    if phase is None:
        phase = np.zeros((len(arrive_s), queue.servers))
    latency_s = np.empty_like(arrive_s)
    for row in zip(phase, arrive_s, ratio, latency_s, strict=True):
        play(
            queue.batch_size,
            queue.batch_timeout_s,
            mean_times.by_size_s,
            mean_times.idle_s,
            mean_times.idle_factors,
            slowdown,
            mean_times.pause_gap_s,
            mean_times.pause_s,
            *row,
        )
    return latency_s


def divided_latencies(
    queue: Queue,
    mean_times: MeanTimes,
    arrive_s: Floats,
    ratio: Floats,
    phase: Floats,
    on_host: NDArray[np.uint16] | None,
) -> Floats:
    """Return the same as `line_latencies` where each query waits in the line of its host.

    `on_host`: uint16 (n,), the same in all rows; None where there is one host.
    """
    if on_host is None or queue.hosts == 1:
        return line_latencies(queue, mean_times, arrive_s, ratio, phase)
    latency_s = np.empty_like(arrive_s)
    phases = np.split(phase, queue.hosts, axis=1)
    for host in range(queue.hosts):
        own, times = on_host == host, mean_times.of_host(host, queue)
        latency_s[:, own] = line_latencies(
            queue.of_host, times, arrive_s[:, own], ratio[:, own], phases[host]
        )
    return latency_s

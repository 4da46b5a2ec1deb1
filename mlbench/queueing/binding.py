"""What several servers make of queries that are bound to one of them when they are due.

The load generator cannot wait until a server is free: it gives each query, when it is due, to the
server that should complete it first (`mlbench.load.dispatch`), and a wrong guess costs time. The
rule is played here for many replicas side by side, one column each.
"""

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts.batching import batch_start
from mlbench.queueing.line import Floats, Levels, Queue, line_latencies

_CONSTANT = 1e-3  # relative difference of service times
_LEVEL = 1e-9  # of a service time; between equals who has least to do is taken

Ids = NDArray[np.int64]


def latencies(queue: Queue, levels: Levels, arrive_s: Floats, ratio: Floats) -> Floats:
    """Return the seconds from arrival to completion of each query, float64 (n, replicas).

    Arguments as for `mlbench.queueing.line.line_latencies`, which serves for one server, and for
    single queries whose service times the dispatcher knows. With more servers, it expects each
    query to take its share of a largest batch.
    """
    known = queue.batch_size == 1 and levels.alike and float(np.ptp(ratio)) < _CONSTANT
    if queue.servers == 1 or known:
        return line_latencies(queue, levels, arrive_s, ratio)
    servers = _Servers(queue, levels, arrive_s, ratio)
    for query in range(len(arrive_s)):
        servers.advance(arrive_s[query])
        servers.bind(query)
    servers.advance(np.full(arrive_s.shape[1], np.inf))
    return servers.latency_s


class _Servers:
    """Each server's own line, in every replica; arrays of shape (servers, replicas)."""

    def __init__(self, queue: Queue, levels: Levels, arrive_s: Floats, ratio: Floats) -> None:
        n, replicas = arrive_s.shape
        shape = (queue.servers, replicas)
        self._queue, self._ratio, self._factor = queue, ratio, levels.idle_factor
        sizes = queue.batch_size + 1
        self._by_size = np.broadcast_to(levels.by_size.reshape(sizes, -1), (sizes, replicas))
        self._slowness = np.broadcast_to(levels.slowness, queue.servers)
        self._share_s = self._by_size[queue.batch_size] / queue.batch_size * self._slowness[:, None]
        self._arrive_s = np.concatenate([arrive_s, np.full((1, replicas), np.inf)])
        self._line = np.full((queue.servers, n + queue.batch_size, replicas), n, dtype=np.int32)
        self._bound, self._begun, self._serving = (np.zeros(shape, dtype=np.int64) for _ in "bbs")
        self._start_s, self._free_s = (np.full(shape, -np.inf) for _ in "sf")
        self._next_s = np.full(shape, np.inf)  # when each could start what waits
        self._column = np.arange(replicas)
        self._place = np.arange(queue.batch_size)[:, None]
        self.latency_s = np.empty_like(arrive_s)

    def advance(self, now_s: Floats) -> None:
        """Start all batches that could start before `now_s` (replicas,)."""
        while True:
            server, column = np.nonzero(self._next_s < now_s)
            if len(server) == 0:
                return
            self._begin(server, column)
            self._look(server, column)

    def bind(self, query: int) -> None:
        """Give the query, due now in every replica, to the server that should end it first."""
        now_s = self._arrive_s[query]
        serving = self._free_s > now_s
        outstanding = self._bound - self._begun + np.where(serving, self._serving, 0)
        end_s = np.where(serving, self._start_s, now_s) + outstanding * self._share_s
        overdue_s = now_s + np.maximum(outstanding - 1, 0) * self._share_s
        free_s = np.maximum(end_s, overdue_s)
        expected_s = free_s + (1 + outstanding * _LEVEL) * self._share_s
        first = expected_s.argmin(axis=0)
        self._line[first, self._bound[first, self._column], self._column] = query
        self._bound[first, self._column] += 1
        self._look(first, self._column)

    def _look(self, server: Ids, column: Ids) -> None:
        """Work out when these servers could start their next batch."""
        begun, queue = self._begun[server, column], self._queue
        oldest_s = self._arrive_s[self._line[server, begun, column], column]
        filled_s = oldest_s
        if queue.batch_size > 1:
            filling = self._line[server, begun + queue.batch_size - 1, column]
            filled_s = self._arrive_s[filling, column]
        free_s = self._free_s[server, column]
        self._next_s[server, column] = batch_start(
            free_s, oldest_s, filled_s, queue.batch_timeout_s, np.maximum, np.minimum
        )

    def _begin(self, server: Ids, column: Ids) -> None:
        start_s = self._next_s[server, column]
        window = self._line[server, self._begun[server, column] + self._place, column]
        arrive_s = self._arrive_s[window, column]
        taken = arrive_s <= start_s
        count = taken.sum(axis=0)
        seconds = self._by_size[count, column] * self._ratio[window[0], column]
        seconds *= self._slowness[server]
        if self._factor != 1.0:
            idle = arrive_s[0] > self._free_s[server, column]
            seconds = np.where(idle, seconds * self._factor, seconds)
        done_s = start_s + seconds
        columns = np.broadcast_to(column, window.shape)
        self.latency_s[window[taken], columns[taken]] = (done_s - arrive_s)[taken]
        self._start_s[server, column], self._free_s[server, column] = start_s, done_s
        self._begun[server, column] += count
        self._serving[server, column] = count

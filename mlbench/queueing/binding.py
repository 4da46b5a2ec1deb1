"""What several servers make of queries that are bound to one of them when they are due.

The load generator cannot wait until a server is free: it gives each query, when it is due, to the
server that should complete it first (`mlbench.load.dispatch`), and a wrong guess costs time. The
rule is played here for many replicas side by side, one column each.
"""

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts.batching import batch_start
from mlbench.load.dispatch import FIRST_GUESS, SERVICE_MEMORY
from mlbench.queueing.line import Floats, Levels, Queue, line_latencies

_STEADY = 0.01  # coefficient of variation; the dispatcher knows so steady service times exactly
_LEVEL = 1e-9  # of a service time; between equals who has least to do is taken
_USUAL_ROUNDS = 5  # of working out the usual batch, which settles quickly

Ids = NDArray[np.int64]


def is_one_line(queue: Queue, levels: Levels, ratio: Floats) -> bool:
    """Whether servers with a line each do as one line: one alone, or with times known beforehand.

    The dispatcher knows what a query takes where all take the same: single ones, on equal servers
    that are no slower after idling.
    """
    alike = levels.alike and levels.idle_factor == 1.0
    return queue.servers == 1 or (
        queue.batch_size == 1 and alike and float(ratio.std()) < _STEADY * float(ratio.mean())
    )


def latencies(queue: Queue, levels: Levels, arrive_s: Floats, ratio: Floats) -> Floats:
    """Return the seconds from arrival to completion of each query, float64 (n, replicas).

    Arguments as for `mlbench.queueing.line.line_latencies`, which serves where that is the same.
    What the dispatcher expects of a query is a running mean, as in the engine; it starts with about
    what a query takes at that rate.
    """
    if is_one_line(queue, levels, ratio):
        return line_latencies(queue, levels, arrive_s, ratio)
    servers = _Servers(queue, levels, arrive_s, ratio)
    for query in range(len(arrive_s)):
        servers.advance(arrive_s[query])
        servers.bind(query)
    servers.advance(np.full(arrive_s.shape[1], np.inf))
    return servers.latency_s


class _Servers:
    """Each server's own line, in every replica.

    Arrays are flat, of length servers x replicas, server by server: that is quickest to index.
    """

    def __init__(self, queue: Queue, levels: Levels, arrive_s: Floats, ratio: Floats) -> None:
        n, self._replicas = arrive_s.shape
        self._queue, self._factor = queue, levels.idle_factor
        lines, depth = queue.servers * self._replicas, n + queue.batch_size
        sizes = queue.batch_size + 1
        by_size = np.broadcast_to(levels.by_size.reshape(sizes, -1), (sizes, self._replicas))
        self._by_size_s = by_size.ravel()
        self._slowness = np.broadcast_to(levels.slowness, queue.servers).repeat(self._replicas)
        beyond = np.full((queue.batch_size, self._replicas), np.inf)
        self._arrive_s = np.concatenate([arrive_s, beyond]).ravel()
        self._ratio = np.concatenate([ratio, beyond]).ravel()
        self._latency_s = np.empty(self._arrive_s.shape)
        self._column = np.arange(self._replicas)
        self._place = np.arange(queue.batch_size)[:, None]
        # Each line's queries, as places in the arrays of arrivals; at first it ends at infinity.
        self._line = np.full(lines * depth, n * self._replicas, dtype=np.int64)
        self._begun = np.arange(lines) * depth  # places in the line
        self._bound = self._begun.copy()
        self._serving = np.zeros(lines, dtype=np.int64)
        self._start_s, self._free_s = np.zeros(lines), np.full(lines, -np.inf)
        self._next_s = np.full(lines, np.inf)  # when each could start what waits
        self._answer_s = np.full(lines, np.inf)  # when the batch that is served ends
        # What the dispatcher knows: how long a query takes, give or take, and when each server
        # should be free.
        self._query_s = np.tile(self._usual_s(arrive_s), queue.servers) * self._slowness
        self._deviation_s, self._answered = np.zeros(lines), np.zeros(lines)
        self._expected_s = np.full(lines, -np.inf)

    @property
    def latency_s(self) -> Floats:
        """Seconds from arrival to completion of each query, (n, replicas)."""
        return self._latency_s.reshape(-1, self._replicas)[: -self._queue.batch_size]

    def _usual_s(self, arrive_s: Floats) -> Floats:
        """Return about what a query takes at this rate, as is known from the trial before."""
        middle = len(arrive_s) // 2
        rate = middle / np.maximum(arrive_s[middle] - arrive_s[0], 1e-9) / self._queue.servers
        usual = np.ones(self._replicas, dtype=np.int64)
        for _ in range(_USUAL_ROUNDS):
            busy_s = self._by_size_s.take(usual * self._replicas + self._column)
            size = np.maximum(1 + rate * self._queue.batch_timeout_s, rate * busy_s)
            usual = np.rint(np.clip(size, 1, self._queue.batch_size)).astype(np.int64)
        return np.asarray(self._by_size_s.take(usual * self._replicas + self._column) / usual)

    def advance(self, now_s: Floats) -> None:
        """Start all batches that could start before `now_s` (replicas,)."""
        while len(ready := self._lines(self._next_s, np.less, now_s)):
            self._end(ready)
            self._begin(ready)
            self._look(ready)

    def bind(self, query: int) -> None:
        """Give the query, due now in every replica, to the server that should end it first."""
        place = query * self._replicas
        now_s = self._arrive_s[place : place + self._replicas]
        if len(ended := self._lines(self._answer_s, np.less_equal, now_s)):
            self._end(ended)
        outstanding = self._bound - self._begun + self._serving
        shape = (self._queue.servers, self._replicas)
        query_s = self._query_s.reshape(shape)
        overdue_s = self._deviation_s + (outstanding - 1) * self._query_s
        free_s = np.where(outstanding > 0, overdue_s, 0.0).reshape(shape) + now_s
        np.maximum(free_s, self._expected_s.reshape(shape), out=free_s)
        end_s = free_s + (1 + outstanding.reshape(shape) * _LEVEL) * query_s
        first = end_s.argmin(axis=0) * self._replicas + self._column
        self._expected_s[first] = free_s.ravel().take(first) + self._query_s.take(first)
        self._line[self._bound.take(first)] = place + self._column
        self._bound[first] += 1
        self._look(first)

    def _lines(self, when_s: Floats, before: np.ufunc, now_s: Floats) -> Ids:
        return np.flatnonzero(before(when_s.reshape(-1, self._replicas), now_s))

    def _end(self, lines: Ids) -> None:
        """Note the answers of the batches that these servers served, as the dispatcher does."""
        lines = lines[self._serving.take(lines) > 0]
        count, done_s = self._serving.take(lines), self._free_s.take(lines)
        took_s = (done_s - self._start_s.take(lines)) / count
        query_s, seen = self._query_s.take(lines), self._answered.take(lines)
        longer_s, deviation_s = took_s - query_s, self._deviation_s.take(lines)
        query_s += _weight(seen + FIRST_GUESS, count) * longer_s
        deviation_s += _weight(seen + 1, count) * (np.abs(longer_s) - deviation_s)
        self._query_s[lines], self._deviation_s[lines] = query_s, deviation_s
        self._answered[lines] = seen + count
        waiting = self._bound.take(lines) - self._begun.take(lines)
        self._expected_s[lines] = done_s + waiting * query_s
        self._serving[lines], self._answer_s[lines] = 0, np.inf

    def _look(self, lines: Ids) -> None:
        """Work out when these servers could start their next batch."""
        begun, queue = self._begun.take(lines), self._queue
        oldest_s = self._arrive_s.take(self._line.take(begun))
        filled_s = oldest_s
        if queue.batch_size > 1:
            filled_s = self._arrive_s.take(self._line.take(begun + queue.batch_size - 1))
        self._next_s[lines] = batch_start(
            self._free_s.take(lines),
            oldest_s,
            filled_s,
            queue.batch_timeout_s,
            np.maximum,
            np.minimum,
        )

    def _begin(self, lines: Ids) -> None:
        start_s, column = self._next_s.take(lines), lines % self._replicas
        window = self._line.take(self._begun.take(lines) + self._place)
        arrive_s = self._arrive_s.take(window)
        taken = arrive_s <= start_s
        count = taken.sum(axis=0)
        seconds = self._by_size_s.take(count * self._replicas + column)
        seconds *= self._ratio.take(window[0]) * self._slowness.take(lines)
        if self._factor != 1.0:
            idle = arrive_s[0] > self._free_s.take(lines)
            seconds = np.where(idle, seconds * self._factor, seconds)
        done_s = start_s + seconds
        self._latency_s[window[taken]] = (done_s - arrive_s)[taken]
        self._start_s[lines], self._free_s[lines], self._answer_s[lines] = start_s, done_s, done_s
        self._begun[lines] += count
        self._serving[lines] = count


def _weight(nth: Floats, count: Ids) -> Floats:
    """As `mlbench.load.dispatch.weight`, of many running means at once."""
    return np.asarray(1 - (1 - np.maximum(SERVICE_MEMORY, 1 / nth)) ** count)

"""A pool of simulated devices in virtual time: plays a schedule at once, without any process."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mlbench.contracts import wire
from mlbench.contracts.batching import batch_start
from mlbench.records import NO_LIMITS, Completions, Limits, Schedule, WorkerAccount
from mlbench.search.queueing import Queue


@dataclass(frozen=True)
class Batch:
    """What a device's service time may depend on: times in seconds since the pool was made."""

    size: int
    start_s: float
    idle_s: float
    target_qps: float


Service = Callable[[np.random.Generator, Batch], float]
"""Draws the seconds that a device takes for a batch."""


@dataclass(frozen=True)
class SimulatedService:
    """Service times with the options of the simulated backend.

    `service_s` with coefficient of variation `cv` (lognormal), `per_item_s` for each further item
    of a batch, with probability `stall_p` `stall_s` more, slower by `drift_per_s` (relative) a
    second and by `idle_slowdown` (relative) when the device was idle before.
    """

    service_s: float
    cv: float = 0.0
    per_item_s: float = 0.0
    stall_p: float = 0.0
    stall_s: float = 0.0
    drift_per_s: float = 0.0
    idle_slowdown: float = 0.0

    def __call__(self, rng: np.random.Generator, batch: Batch) -> float:
        """Draw the seconds that this batch takes."""
        seconds = self.service_s + self.per_item_s * (batch.size - 1)
        if self.cv:
            sigma2 = np.log1p(self.cv**2)
            seconds *= np.exp(np.sqrt(sigma2) * rng.standard_normal() - sigma2 / 2)
        if batch.idle_s > 0:
            seconds *= 1 + self.idle_slowdown
        seconds *= 1 + self.drift_per_s * batch.start_s
        if self.stall_p and rng.random() < self.stall_p:
            seconds += self.stall_s
        return float(seconds)


class VirtualPool:
    """A `TrialRunner` of equal simulated devices with one line; time passes from trial to trial."""

    def __init__(self, service: Service, queue: Queue | None = None, seed: int = 0) -> None:
        self.queue = queue or Queue()
        self.now_s = 0.0
        self.queries = 0
        self._service = service
        self._rng = np.random.default_rng(seed)

    def run(self, schedule: Schedule, limits: Limits = NO_LIMITS) -> Completions:
        """Play the schedule once and return every query's fate; every query is answered."""
        n, begin_s = len(schedule.due_ns), self.now_s
        due_s = (schedule.due_ns * 1e-9 + begin_s).tolist()
        columns = _Columns(n)
        free = [(begin_s - 1.0, w) for w in range(self.queue.servers)]
        patience_s = np.inf if limits.max_backlog_s is None else limits.max_backlog_s
        first = 0
        while first < n:
            free_s, worker = heapq.heappop(free)
            start_s, count = self._next_batch(due_s, first, free_s)
            batch = Batch(count, start_s, max(start_s - free_s, 0.0), schedule.target_qps)
            done_s = start_s + self._service(self._rng, batch)
            columns.put(first, count, start_s, done_s, worker)
            heapq.heappush(free, (done_s, worker))
            first += count
            late_s = due_s[first - 1] + patience_s
            if done_s > late_s:
                n = min(n, max(first, int(np.searchsorted(due_s, late_s, side="right"))))
        self.now_s = max(columns.done_s[:n])
        self.queries += n
        return columns.completions(schedule, begin_s, n, self.queue.servers)

    def _next_batch(self, due_s: list[float], first: int, free_s: float) -> tuple[float, int]:
        size, last = self.queue.batch_size, first + self.queue.batch_size - 1
        filled_s = due_s[last] if last < len(due_s) else np.inf
        start_s = float(batch_start(free_s, due_s[first], filled_s, self.queue.batch_timeout_s))
        count = 1
        while count < size and first + count < len(due_s) and due_s[first + count] <= start_s:
            count += 1
        return start_s, count


class _Columns:
    def __init__(self, n: int) -> None:
        self.start_s, self.done_s = [0.0] * n, [0.0] * n
        self.worker, self.batch = [0] * n, [1] * n

    def put(self, first: int, count: int, start_s: float, done_s: float, worker: int) -> None:
        for i in range(first, first + count):
            self.start_s[i], self.done_s[i] = start_s, done_s
            self.worker[i], self.batch[i] = worker, count

    def completions(self, schedule: Schedule, begin_s: float, n: int, servers: int) -> Completions:
        cut_short = n < len(schedule.due_ns)
        if cut_short:
            schedule = replace(schedule, due_ns=schedule.due_ns[:n])
        begin_ns = round(begin_s * 1e9)
        worker = np.array(self.worker[:n], dtype=np.uint16)
        start_ns, done_ns = (_nanoseconds(x[:n]) for x in (self.start_s, self.done_s))
        span_ns = int(done_ns.max()) - begin_ns
        busy = [len(np.flatnonzero(worker == w)) for w in range(servers)]
        taken = [
            (done_ns - start_ns)[np.unique(start_ns * (worker == w), return_index=True)[1]].sum()
            for w in range(servers)
        ]
        return Completions(
            schedule=schedule,
            start_of_trial_ns=begin_ns,
            sent_ns=schedule.due_ns + begin_ns,
            start_ns=start_ns,
            done_ns=done_ns,
            worker=worker,
            batch=np.array(self.batch[:n], dtype=np.uint16),
            status=np.full(n, wire.COMPLETED, dtype=np.uint8),
            workers=tuple(
                WorkerAccount("virtual", q, min(float(t) / span_ns, 1.0))
                for q, t in zip(busy, taken, strict=True)
            ),
            cut_short=cut_short,
        )


def _nanoseconds(seconds: list[float]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.rint(np.array(seconds) * 1e9).astype(np.int64)

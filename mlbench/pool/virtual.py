"""A pool of simulated devices in virtual time: plays a schedule at once, without any process."""

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mlbench.contracts import wire
from mlbench.contracts.batching import batch_start_ns
from mlbench.queueing.line import Queue
from mlbench.records import Completions, Schedule, WorkerAccount

_NS_PER_S = 1_000_000_000
_IDLE_NS = _NS_PER_S  # before a trial, so that every device begins it cold
_NOBODY = 65535  # in the column of workers: nobody took the query


@dataclass(frozen=True)
class Batch:
    """What a device's service time may depend on: times in seconds since the pool was made."""

    size: int
    start_s: float
    idle_s: float
    target_qps: float
    device: int = 0


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
    """A `TrialRunner` of simulated devices in virtual time, which passes from trial to trial.

    Queries wait in one line: the device that has been free for longest takes the next batch.
    """

    def __init__(self, service: Service, queue: Queue | None = None, seed: int = 0) -> None:
        self.queue = queue or Queue()
        self._now_ns = 0
        self._service = service
        self._rng = np.random.default_rng(seed)

    @property
    def now_s(self) -> float:
        """When the last trial ended, in seconds since the pool was made."""
        return self._now_ns / _NS_PER_S

    def wait_until(self, at_s: float) -> None:
        """Let time pass until that many seconds since the pool was made, unless it has already."""
        self._now_ns = max(self._now_ns, round(at_s * _NS_PER_S))

    def run(self, schedule: Schedule, max_backlog_s: float = math.inf) -> Completions:
        """Play the schedule once and return every query's fate.

        When the trial is ended early, what was due but not begun is LOST.
        """
        begin_ns, due_ns = self._now_ns, (schedule.due_ns + self._now_ns).tolist()
        batches = self._serve(due_ns, schedule.target_qps, max_backlog_s)
        if batches.cut_short:
            played = bisect_right(due_ns, batches.end_ns)
            schedule = replace(schedule, due_ns=schedule.due_ns[:played])
        completions = batches.completions(schedule, begin_ns, self.queue.servers)
        self._now_ns = max(int(completions.done_ns.max()), begin_ns)
        return completions

    def _serve(self, due_ns: list[int], target_qps: float, max_backlog_s: float) -> "_Batches":
        """Play the line until it is empty, or its oldest query is later than allowed."""
        queue, batches, first = self.queue, _Batches(), 0
        timeout_ns = round(queue.batch_timeout_s * _NS_PER_S)
        free_ns = [due_ns[0] - _IDLE_NS] * queue.servers
        while first < len(due_ns):
            device = free_ns.index(min(free_ns))
            full = first + queue.batch_size
            filled_ns = due_ns[full - 1] if full <= len(due_ns) else None
            start_ns = batch_start_ns(free_ns[device], due_ns[first], filled_ns, timeout_ns)
            deadline_ns = _deadline_ns(due_ns[first], due_ns[-1], max_backlog_s)
            batches.end_if_after(start_ns, deadline_ns)
            if start_ns > batches.end_ns:
                break
            size = bisect_right(due_ns, start_ns, first, min(full, len(due_ns))) - first
            idle_s = max(start_ns - free_ns[device], 0) / _NS_PER_S
            batch = Batch(size, start_ns / _NS_PER_S, idle_s, target_qps, device)
            done_ns = start_ns + round(self._service(self._rng, batch) * _NS_PER_S)
            batches.end_if_after(done_ns, deadline_ns)
            batches.put(size, start_ns, done_ns, device)
            free_ns[device] = done_ns
            first += size
        return batches


def _deadline_ns(due_ns: int, last_due_ns: int, max_backlog_s: float) -> float:
    """Return when a query without an answer ends the trial: never when all others are due."""
    deadline_ns = due_ns + max_backlog_s * _NS_PER_S
    return deadline_ns if deadline_ns < last_due_ns else math.inf


@dataclass
class _Batches:
    """The batches of one trial in the order they began: their queries follow one another."""

    size: list[int] = field(default_factory=list)
    start_ns: list[int] = field(default_factory=list)
    done_ns: list[int] = field(default_factory=list)
    device: list[int] = field(default_factory=list)
    end_ns: float = math.inf  # no batch begins after this

    @property
    def cut_short(self) -> bool:
        """Whether the trial was ended early."""
        return self.end_ns < math.inf

    def end_if_after(self, when_ns: int, deadline_ns: float) -> None:
        """End the trial at the deadline of a query for which something happens only later."""
        if when_ns > deadline_ns:
            self.end_ns = min(self.end_ns, deadline_ns)

    def put(self, size: int, start_ns: int, done_ns: int, device: int) -> None:
        """Append a batch."""
        self.size.append(size)
        self.start_ns.append(start_ns)
        self.done_ns.append(done_ns)
        self.device.append(device)

    def completions(self, schedule: Schedule, begin_ns: int, servers: int) -> Completions:
        """Return what happened to each query; those after the last batch are lost."""
        n = len(schedule.due_ns)

        def column(values: list[int], dtype: DTypeLike, missing: int = 0) -> NDArray[Any]:
            served = np.repeat(np.array(values, dtype), self.size)
            return np.append(served, np.full(n - len(served), missing, dtype))

        return Completions(
            schedule=schedule,
            start_of_trial_ns=begin_ns,
            sent_ns=schedule.due_ns + begin_ns,
            start_ns=column(self.start_ns, np.int64),
            done_ns=column(self.done_ns, np.int64),
            worker=column(self.device, np.uint16, _NOBODY),
            batch=column(self.size, np.uint16),
            status=column([wire.COMPLETED] * len(self.size), np.uint8, wire.LOST),
            workers=self._accounts(begin_ns, servers),
            cut_short=self.cut_short,
        )

    def _accounts(self, begin_ns: int, servers: int) -> tuple[WorkerAccount, ...]:
        columns = (self.device, self.size, self.start_ns, self.done_ns)
        device, size, start_ns, done_ns = (np.array(column, np.int64) for column in columns)
        span_ns = done_ns.max(initial=begin_ns + 1) - begin_ns
        busy = np.bincount(device, done_ns - start_ns, servers) / span_ns
        queries = np.bincount(device, size, servers)
        return tuple(
            WorkerAccount("virtual", int(q), float(b)) for q, b in zip(queries, busy, strict=True)
        )

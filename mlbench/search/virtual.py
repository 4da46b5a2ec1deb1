"""A pool of simulated devices in virtual time: plays a schedule at once, without any process."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from mlbench.contracts import wire
from mlbench.contracts.batching import batch_start
from mlbench.load.dispatch import ExpectedFirst
from mlbench.queueing.line import Queue
from mlbench.records import NO_LIMITS, Completions, Limits, Schedule, WorkerAccount


@dataclass(frozen=True)
class Batch:
    """What a device's service time may depend on: times in seconds since the pool was made."""

    size: int
    start_s: float
    idle_s: float
    target_qps: float
    device: int = 0


_WARM_UP = 100  # batches

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

    Queries are bound to devices by the load generator's own dispatcher.
    """

    def __init__(self, service: Service, queue: Queue | None = None, seed: int = 0) -> None:
        self.queue = queue or Queue()
        self.now_s = 0.0
        self.queries = 0
        self._service = service
        self._rng = np.random.default_rng(seed)
        warm_up = np.random.default_rng([seed, 1])
        self.query_ns = [self._warm_up(warm_up, device) for device in range(self.queue.servers)]

    def run(self, schedule: Schedule, limits: Limits = NO_LIMITS) -> Completions:
        """Play the schedule once and return every query's fate; every query is answered."""
        begin_s = self.now_s
        due_s = (schedule.due_ns * 1e-9 + begin_s).tolist()
        patience_s = np.inf if limits.max_backlog_s is None else limits.max_backlog_s
        trial = _Play(self, schedule, due_s, patience_s)
        for query, now_s in enumerate(due_s):
            trial.advance(now_s)
            if now_s > trial.end_s:
                break
            trial.bind(query, now_s)
        trial.advance(np.inf)
        n = trial.bound
        self.now_s = max(trial.columns.done_s[:n])
        self.queries += n
        self.query_ns = trial.query_ns
        return trial.columns.completions(schedule, begin_s, n, self.queue.servers)

    def _warm_up(self, rng: np.random.Generator, device: int) -> float:
        """Return about how many nanoseconds a query takes, as a real pool knows before trials."""
        batch = Batch(self.queue.batch_size, 0.0, 0.0, 0.0, device)
        seconds = np.mean([self._service(rng, batch) for _ in range(_WARM_UP)])
        return float(seconds * 1e9 / batch.size)

    def serve(self, batch: Batch) -> float:
        """Draw the seconds that one of the devices takes for a batch."""
        return self._service(self._rng, batch)


@dataclass
class _Device:
    """One device: what waits for it, and the batch it serves or served last."""

    waiting: deque[int] = field(default_factory=deque)
    serving: int = 0
    start_s: float = 0.0
    free_s: float = 0.0
    queries: int = 0
    busy_s: float = 0.0


class _Play:
    """One trial on its way: events up to a moment, then the next query."""

    def __init__(
        self, pool: VirtualPool, schedule: Schedule, due_s: list[float], patience_s: float
    ) -> None:
        self._pool, self._target_qps, self._due_s = pool, schedule.target_qps, due_s
        self._patience_s = patience_s
        self._devices = [_Device(free_s=due_s[0] - 1.0) for _ in range(pool.queue.servers)]
        self._dispatcher = ExpectedFirst(pool.query_ns)
        self.columns = _Columns(len(due_s))
        self.bound = 0
        self.end_s = np.inf  # nothing is sent any more after this

    @property
    def query_ns(self) -> list[float]:
        """Each device's mean service time for a query."""
        return [
            d.busy_s * 1e9 / d.queries if d.queries else old
            for d, old in zip(self._devices, self._pool.query_ns, strict=True)
        ]

    def advance(self, now_s: float) -> None:
        """Let all devices end and begin the batches that they do before or at this moment."""
        for number, device in enumerate(self._devices):
            while self._end(number, device, now_s) and self._begin(number, device, now_s):
                pass

    def bind(self, query: int, now_s: float) -> None:
        """Give a query to the device that should complete it first."""
        ((number, _),) = self._dispatcher.assign(1, round(now_s * 1e9))
        self._devices[number].waiting.append(query)
        self.bound += 1

    def _end(self, number: int, device: _Device, now_s: float) -> bool:
        """Report the batch that has ended; say whether the device is free."""
        if device.serving and device.free_s <= now_s:
            seconds, done_ns = device.free_s - device.start_s, round(device.free_s * 1e9)
            self._dispatcher.completed(
                number, device.serving, done_ns, seconds * 1e9 / device.serving
            )
            device.serving = 0
        return not device.serving

    def _begin(self, number: int, device: _Device, now_s: float) -> bool:
        queue, waiting, due_s = self._pool.queue, device.waiting, self._due_s
        if not waiting:
            return False
        full = len(waiting) >= queue.batch_size
        filled_s = due_s[waiting[queue.batch_size - 1]] if full else np.inf
        start_s = float(
            batch_start(device.free_s, due_s[waiting[0]], filled_s, queue.batch_timeout_s)
        )
        if start_s >= now_s:  # what is due just then may still join
            return False
        batch = [waiting.popleft()]
        while waiting and len(batch) < queue.batch_size and due_s[waiting[0]] <= start_s:
            batch.append(waiting.popleft())
        idle_s = max(start_s - device.free_s, 0.0)
        done_s = start_s + self._pool.serve(
            Batch(len(batch), start_s, idle_s, self._target_qps, number)
        )
        device.start_s, device.free_s, device.serving = start_s, done_s, len(batch)
        device.queries += len(batch)
        device.busy_s += done_s - start_s
        self.columns.put(batch, start_s, done_s, number)
        if done_s > due_s[batch[-1]] + self._patience_s:
            self.end_s = min(self.end_s, due_s[batch[-1]] + self._patience_s)
        return True


class _Columns:
    def __init__(self, n: int) -> None:
        self.start_s, self.done_s = [0.0] * n, [0.0] * n
        self.worker, self.batch = [0] * n, [1] * n

    def put(self, batch: list[int], start_s: float, done_s: float, worker: int) -> None:
        for i in batch:
            self.start_s[i], self.done_s[i] = start_s, done_s
            self.worker[i], self.batch[i] = worker, len(batch)

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

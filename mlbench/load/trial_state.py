"""One trial as a state machine: events in, commands out, with the time as an argument.

It owns the columns of the trial and knows who has which query. It reads no clock and no socket, so
that crashes, late answers and drains are tested without either.
"""

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.load.dispatch import Dispatcher
from mlbench.records import Completions, Limits, Schedule

Send = tuple[int, NDArray[np.void], slice]
"""(worker, the REQUEST records to send to it, their ids)."""


class TrialState:
    """What is due, what is out, and what came back.

    `start_ns` is the trial's start on the monotonic clock; `sample_count` the samples to cycle
    through.
    """

    def __init__(
        self,
        schedule: Schedule,
        start_ns: int,
        dispatcher: Dispatcher,
        *,
        workers: int,
        sample_count: int,
    ) -> None:
        queries = len(schedule.due_ns)
        self.schedule = schedule
        self.start_ns = start_ns
        self.next_id = 0
        self.end_id = queries
        self.answered = 0
        self.written_off = 0
        self.frames = 0
        self.last_answer_ns = start_ns
        self.cut_short = False
        self.faults: list[str] = []
        self._dispatcher = dispatcher
        self._requests = np.empty(queries, wire.REQUEST)
        self._requests["id"] = np.arange(queries, dtype=np.uint32)
        self._requests["sample"] = self._requests["id"] % np.uint32(sample_count)
        self._requests["due_ns"] = schedule.due_ns
        self._requests["due_ns"] += start_ns
        self._sent_ns = np.zeros(queries, np.int64)
        self._start_ns = np.zeros(queries, np.int64)
        self._done_ns = np.zeros(queries, np.int64)
        self._returned_ns = np.zeros(queries, np.int64)
        self._worker = np.zeros(queries, np.uint16)
        self._batch = np.zeros(queries, np.uint16)
        self._status = np.zeros(queries, np.uint8)
        self._prediction = np.full(queries, -1, np.int32)
        self.busy_ns = [0.0] * workers
        self.served = [0] * workers

    @property
    def next_due_ns(self) -> int | None:
        """When the next query is due; None when all have been sent."""
        if self.next_id >= self.end_id:
            return None
        return int(self.schedule.due_ns[self.next_id]) + self.start_ns

    @property
    def outstanding(self) -> int:
        """How many queries were sent and are neither answered nor written off."""
        return self.next_id - self.answered - self.written_off

    @property
    def finished(self) -> bool:
        """Whether everything was sent and nothing is out any more."""
        return self.next_id >= self.end_id and self.outstanding <= 0

    def take_due(self, now_ns: int) -> list[Send]:
        """Bind all queries that are due to workers; the caller sends them at once."""
        offset_ns = now_ns - self.start_ns
        end = int(self.schedule.due_ns.searchsorted(offset_ns, "right"))
        end = min(end, self.end_id)
        if end <= self.next_id:
            return []
        sends: list[Send] = []
        for worker, count in self._dispatcher.assign(end - self.next_id, now_ns):
            ids = slice(self.next_id, self.next_id + count)
            self._worker[ids] = worker
            sends.append((worker, self._requests[ids], ids))
            self.next_id += count
        if not sends:
            self.end_early("no worker is left")
        return sends

    def idle_next(self, now_ns: int) -> int | None:
        """Return the worker that the next query would go to, if it has nothing to do now."""
        return self._dispatcher.idle_next(now_ns)

    def sent(self, ids: slice, sent_ns: int) -> None:
        """Note that one frame with these queries was handed to the socket."""
        self._sent_ns[ids] = sent_ns
        self.frames += 1

    def received(self, worker: int, answers: NDArray[np.void], now_ns: int) -> None:
        """Take in the COMPLETION records of one frame of a worker, in the order they were served.

        Answers to queries that the worker does not hold are counted as a fault and left out.
        """
        ids = answers["id"]
        if not self._expected(worker, ids):
            self.faults.append(f"worker {worker} answered queries that it did not hold")
            return
        self._start_ns[ids] = answers["start_ns"]
        self._done_ns[ids] = answers["done_ns"]
        self._returned_ns[ids] = now_ns
        self._batch[ids] = answers["batch"]
        self._status[ids] = answers["status"]
        self._prediction[ids] = answers["prediction"]
        share_ns = (answers["done_ns"] - answers["start_ns"]) / answers["batch"]
        busy_ns = float(share_ns.sum())
        self.busy_ns[worker] += busy_ns
        self.served[worker] += len(ids)
        self.answered += len(ids)
        self.last_answer_ns = now_ns
        self._dispatcher.completed(
            worker, len(ids), int(answers["done_ns"][-1]), busy_ns / len(ids)
        )

    def _expected(self, worker: int, ids: NDArray[np.uint32]) -> bool:
        if len(ids) == 0 or int(ids.max()) >= self.next_id:
            return False
        held = (self._worker[ids] == worker) & (self._status[ids] == wire.LOST)
        # A worker gets ids in rising order and serves them in that order: none can stand twice.
        return bool(held.all()) and bool((ids[1:] > ids[:-1]).all())

    def worker_lost(self, worker: int, reason: str) -> None:
        """Write off what a dead worker still held, and give it nothing more."""
        self.faults.append(reason)
        self._dispatcher.lost(worker)
        held = (self._worker[: self.next_id] == worker) & (
            self._status[: self.next_id] == wire.LOST
        )
        self.written_off += int(np.count_nonzero(held))
        self._worker[: self.next_id][held] = np.iinfo(np.uint16).max

    def give_up(self, reason: str) -> None:
        """Write off everything that is still out."""
        self.faults.append(reason)
        self.written_off += self.outstanding

    def end_early(self, reason: str | None = None) -> None:
        """Send nothing more; the trial ends when what is out has come back."""
        self.end_id = self.next_id
        self.cut_short = True
        if reason:
            self.faults.append(reason)

    def overloaded(self, limits: Limits, now_ns: int) -> bool:
        """Whether the oldest unanswered query is later than the limit allows.

        Workers answer in order, so the oldest is among the last `outstanding` sent but for few.
        """
        if limits.max_backlog_s is None or self.outstanding <= 0 or self.next_id >= self.end_id:
            return False
        oldest = max(0, self.next_id - self.outstanding)
        due_ns = int(self.schedule.due_ns[oldest]) + self.start_ns
        return now_ns - due_ns > limits.max_backlog_s * 1e9

    def sent_schedule(self) -> Schedule:
        """Return the part of the schedule that was sent; at least one query."""
        if self.next_id == len(self.schedule.due_ns):
            return self.schedule
        due_ns = self.schedule.due_ns[: max(1, self.next_id)]
        return Schedule(self.schedule.kind, self.schedule.target_qps, self.schedule.seed, due_ns)

    @property
    def service_ns(self) -> list[float]:
        """Each worker's mean service time for a query so far; 0 where there was none."""
        return [busy / max(n, 1) for busy, n in zip(self.busy_ns, self.served, strict=True)]

    def completions(self, **accounts: object) -> Completions:
        """Return the columns of all queries that were sent; `accounts` are further fields."""
        schedule = self.sent_schedule()
        sent = slice(0, len(schedule.due_ns))
        return Completions(
            schedule=schedule,
            start_of_trial_ns=self.start_ns,
            sent_ns=self._sent_ns[sent],
            start_ns=self._start_ns[sent],
            done_ns=self._done_ns[sent],
            returned_ns=self._returned_ns[sent],
            worker=self._worker[sent],
            batch=self._batch[sent],
            status=self._status[sent],
            prediction=self._prediction[sent],
            frames=self.frames,
            cut_short=self.cut_short,
            faults=tuple(self.faults),
            **accounts,  # type: ignore[arg-type]  # the caller names fields of Completions
        )

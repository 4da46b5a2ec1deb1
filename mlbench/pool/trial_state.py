"""One trial as a state machine: events in, commands out, with the time as an argument.

It owns the columns of the trial and knows who has which query. It reads no clock and no socket, so
that crashes, late answers and early ends are tested without either. Each query has a state:

    PENDING ---> CLAIMED by a worker ---> COMPLETED or FAILED
       |            |
       +------------+--> LOST: its worker died, nobody answered, or the trial ended before

It takes no other step. An answer that would is a fault of the worker that sent it, counted and left
out; a claim that would is an error in this program, and raises TransitionError.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.contracts.claims import Claim
from mlbench.contracts.findings import Figures, Finding
from mlbench.contracts.timetable import REQUEST
from mlbench.records import Completions, Schedule

Push = tuple[int, NDArray[np.void]]
"""(the number of a line, REQUEST records that are next in it)."""

NOBODY = 65535
"""In the column of workers: nobody has claimed the query."""

PENDING, CLAIMED = 3, 4
"""The states of an open query: lost when the trial is over. The final ones are those of the wire.

Open ones are the highest, so that one comparison finds both. They are plain numbers because NumPy
takes ten times as long to compare a column with an IntEnum.
"""


class TransitionError(RuntimeError):
    """A query was to take a step that its state does not allow."""


class TrialState:
    """What was pushed ahead, who has it, and what came back.

    `samples`: uint32 (n,), what each query serves. `start_ns`: when the trial starts on the
    monotonic clock, until `go` says otherwise. `alive`: the numbers of those of the `workers` that
    take part. `shared`: whether they share one line and claim queries; otherwise queries are dealt
    out in turn. `least_ahead`: so many queries are known to the workers beyond the horizon, so that
    each can see the batch it takes next.
    """

    def __init__(
        self,
        schedule: Schedule,
        samples: NDArray[np.uint32],
        start_ns: int,
        *,
        workers: int,
        alive: Iterable[int],
        shared: bool,
        least_ahead: int = 1,
    ) -> None:
        queries = len(schedule.due_ns)
        self.schedule = schedule
        self.start_ns = start_ns
        self.pushed = 0
        self.end = queries
        self.answered = 0
        self.written_off = 0
        self.frames = 0
        self.last_answer_ns = start_ns
        self.cut_short = False
        self.faults: list[Finding] = []
        self.alive = list(alive)
        self._closing: set[int] | None = None  # who has still to say that it is done
        self._shared = shared
        self._least_ahead = least_ahead
        self._turn = 0
        self._oldest = 0  # all queries before are answered or written off
        self._claimed = 0  # all queries before were claimed, and none from here on
        self._samples = samples
        self._pushed_ns = np.zeros(queries, np.int64)
        self._start_ns = np.zeros(queries, np.int64)
        self._done_ns = np.zeros(queries, np.int64)
        self._returned_ns = np.zeros(queries, np.int64)
        self._worker = np.full(queries, NOBODY, np.uint16)
        self._batch = np.zeros(queries, np.uint16)
        self._status = np.full(queries, PENDING, np.uint8)
        self._prediction = np.full(queries, -1, np.int32)
        self.busy_ns = [0.0] * workers
        self.served = [0] * workers

    def go(self, start_ns: int) -> None:
        """Let the trial start at this moment of the monotonic clock."""
        self.start_ns = self.last_answer_ns = start_ns

    @property
    def finished(self) -> bool:
        """Whether nothing can come back any more."""
        nothing_out = self.answered + self.written_off >= self.end
        return nothing_out or (self._closing is not None and not self._closing)

    @property
    def all_pushed(self) -> bool:
        """Whether workers know of every query that they will get."""
        return self.pushed >= self.end

    def _due_by(self, now_ns: int) -> int:
        """Count the queries that are due by now, up to the end of the trial."""
        due = int(self.schedule.due_ns.searchsorted(now_ns - self.start_ns, "right"))
        return min(due, self.end)

    def take_ahead(self, now_ns: int, horizon_ns: int) -> list[Push]:
        """Return what is due within the horizon and not yet known to the workers.

        All workers of one line are told of the same, otherwise each line, numbered as its worker,
        gets its share; the caller tells them at once.
        """
        begin = self.pushed
        end = min(self._due_by(now_ns + horizon_ns) + self._least_ahead, self.end)
        if end <= begin or not self.alive:
            return []
        ids = np.arange(begin, end, dtype=np.uint32)
        requests = np.empty(end - begin, REQUEST)
        requests["id"] = ids
        requests["sample"] = self._samples[begin:end]
        requests["due_ns"] = self.schedule.due_ns[begin:end]
        self._pushed_ns[begin:end] = now_ns
        self.pushed = end
        if self._shared:
            self.frames += 1
            return [(0, requests)]
        return self._dealt(requests)

    def _dealt(self, requests: NDArray[np.void]) -> list[Push]:
        """Deal queries out in turn, going on where the last ones ended; no claims will follow."""
        pushes = []
        for place, worker in enumerate(self.alive):
            own = requests[(place - self._turn) % len(self.alive) :: len(self.alive)]
            self._worker[own["id"]] = worker
            pushes.append((worker, own))
        self._claim(self.pushed)
        self._turn = (self._turn + len(requests)) % len(self.alive)
        self.frames += len(pushes)
        return pushes

    def claimed(self, claims: Iterable[Claim]) -> None:
        """Note who serves which queries; raises TransitionError for claims out of their order."""
        end = self._claimed
        for worker, first, size in claims:
            if first != end:
                raise TransitionError(f"query {first} is claimed, and the next in line is {end}")
            end = first + size
            self._worker[first:end] = worker
        self._claim(end)

    def _claim(self, end: int) -> None:
        """Let all queries before `end` that were pending be claimed."""
        states = self._status[self._claimed : end]
        if not (states == PENDING).all():
            raise TransitionError(f"queries {self._claimed} to {end - 1} are not all pending")
        states[:] = CLAIMED
        self._claimed = end

    def received(self, worker: int, answers: NDArray[np.void], now_ns: int) -> None:
        """Take in the COMPLETION records of one frame of a worker, in the order they were served.

        Answers to queries that the worker does not hold, or with a status that is no answer's, are
        counted as a fault and left out. Those to queries after an early end, or of a worker that
        was given up, are left out silently.
        """
        if self.closing:
            answers = answers[answers["id"] < self.end]
        if len(answers) == 0 or worker not in self.alive:
            return
        ids = answers["id"].astype(np.intp)
        if not self._is_expected(worker, ids):
            self.faults.append(Finding("foreign_answer", {"worker": worker}))
            return
        status = answers["status"].astype(np.uint8)
        if not ((status == wire.COMPLETED) | (status == wire.FAILED)).all():
            self.faults.append(Finding("wrong_status", {"worker": worker}))
            return
        self._start_ns[ids] = answers["start_ns"]
        self._done_ns[ids] = answers["done_ns"]
        self._returned_ns[ids] = now_ns
        self._batch[ids] = answers["batch"]
        self._status[ids] = status
        self._prediction[ids] = answers["prediction"]
        share_ns = (answers["done_ns"] - answers["start_ns"]) / answers["batch"]
        self.busy_ns[worker] += float(share_ns.sum())
        self.served[worker] += len(ids)
        self.answered += len(ids)
        self.last_answer_ns = now_ns

    def _is_expected(self, worker: int, ids: NDArray[np.intp]) -> bool:
        if int(ids.max()) >= len(self._worker):
            return False
        held = (self._worker[ids] == worker) & (self._status[ids] == CLAIMED)
        # A worker takes ids in rising order and serves them in that order: none can stand twice.
        return bool(held.all()) and bool((ids[1:] > ids[:-1]).all())

    def worker_lost(self, worker: int, reason: str) -> None:
        """Write off what a dead worker held, and give it nothing more."""
        self.alive.remove(worker)
        held = (self._worker[: self.end] == worker) & (self._status[: self.end] == CLAIMED)
        self._status[: self.end][held] = wire.LOST
        count = int(np.count_nonzero(held))
        self.written_off += count
        figures: Figures = {"worker": worker, "reason": reason, "held": count}
        self.faults.append(Finding("worker_lost", figures))
        self.worker_closed(worker)

    def worker_closed(self, worker: int) -> None:
        """Note that a worker has sent its last answer."""
        if self._closing is not None:
            self._closing.discard(worker)

    def give_up(self, fault: Finding) -> None:
        """Wait for nothing any more."""
        self.faults.append(fault)
        self._closing = set()

    def end_early(self, now_ns: int) -> None:
        """End the trial now: what is not yet due counts as not sent, the rest stays in the account.

        What was due and that no worker has begun is lost.
        """
        self.end = max(1, self._due_by(now_ns))
        self.cut_short = True
        self._closing = set(self.alive)

    @property
    def closing(self) -> bool:
        """Whether the trial was ended early."""
        return self._closing is not None

    def waiting_ns(self, now_ns: int) -> int:
        """Return for how long the oldest unanswered query could have been served; 0 if none is due.

        That is since it was due, or since workers were told of it where that was later.
        """
        stop = min(self._due_by(now_ns), self.pushed)
        open_ = self._status[self._oldest : stop] >= PENDING
        self._oldest += int(open_.argmax()) if open_.any() else len(open_)
        if self._oldest >= stop:
            return 0
        due_ns = int(self.schedule.due_ns[self._oldest]) + self.start_ns
        return now_ns - max(due_ns, int(self._pushed_ns[self._oldest]))

    def overloaded(self, max_backlog_s: float, now_ns: int) -> bool:
        """Whether the oldest unanswered query waits for longer than `max_backlog_s`."""
        if self.closing or self._due_by(now_ns) >= self.end:
            return False
        return self.waiting_ns(now_ns) > max_backlog_s * 1e9

    def count_waiting(self, now_ns: int) -> int:
        """Count the queries that are due and neither answered nor written off."""
        return self._due_by(now_ns) - self.answered - self.written_off

    def silent_ns(self, now_ns: int) -> int:
        """Return for how long there was no answer although queries were due."""
        return min(now_ns - self.last_answer_ns, self.waiting_ns(now_ns))

    @property
    def service_ns(self) -> list[float]:
        """Each worker's mean service time for a query so far; 0 where there was none."""
        return [busy / max(n, 1) for busy, n in zip(self.busy_ns, self.served, strict=True)]

    def played_schedule(self) -> Schedule:
        """Return the part of the schedule that was played; at least one query."""
        if self.end == len(self.schedule.due_ns):
            return self.schedule
        due_ns = self.schedule.due_ns[: self.end]
        return Schedule(self.schedule.kind, self.schedule.target_qps, self.schedule.seed, due_ns)

    def completions(self, **accounts: object) -> Completions:
        """Return the columns of all queries that were played; `accounts` are further fields."""
        played = slice(0, self.end)
        self._status[self._status >= PENDING] = wire.LOST
        return Completions(
            schedule=self.played_schedule(),
            start_of_trial_ns=self.start_ns,
            sample=self._samples[played],
            sent_ns=self._pushed_ns[played],
            start_ns=self._start_ns[played],
            done_ns=self._done_ns[played],
            returned_ns=self._returned_ns[played],
            worker=self._worker[played],
            batch=self._batch[played],
            status=self._status[played],
            prediction=self._prediction[played],
            dealt=not self._shared,
            frames=self.frames,
            cut_short=self.cut_short,
            faults=tuple(self.faults),
            **accounts,  # type: ignore[arg-type]  # the caller names fields of Completions
        )

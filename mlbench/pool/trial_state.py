"""One trial as a state machine: events in, commands out, with the time as an argument.

It owns the columns of the trial and knows who has which query. It reads no clock and no socket, so
that crashes, late answers and early ends are tested without either. Each query has a state:

    PENDING ---> CLAIMED by a worker ---> COMPLETED or FAILED
       |            |
       +------------+--> LOST: its worker is lost, or the trial ended before

It takes no other step. Answers that would are left out and told (`mlbench/pool/answers.py`); a
claim that would is an error in this program, and raises TransitionError.

A fault makes the trial void. It ends early then, as one does whose device is overloaded.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.contracts.claims import Claim
from mlbench.contracts.findings import Finding
from mlbench.contracts.timetable import REQUEST
from mlbench.pool.answers import Asked, find_wrong
from mlbench.pool.columns import CLAIMED, PENDING, Columns, Tally
from mlbench.pool.events import TrialUnderWay
from mlbench.records import Completions, Schedule

Push = tuple[int, NDArray[np.void]]
"""(the number of a line, REQUEST records that are next in it)."""


_LATEST = 5_000
"""Queries of which latencies are shown while a trial is played: enough for a 99.9th percentile, and
50 us of work at the highest rate."""


class TransitionError(RuntimeError):
    """A query was to take a step that its state does not allow."""


class TrialState:
    """What was pushed ahead, who has it, and what came back.

    `samples`: uint32 (n,), what each query serves. `start_ns`: when the trial starts on the
    monotonic clock, until `go` says otherwise. `shared`: whether the `workers` share one line and
    claim queries; otherwise queries are dealt out in turn. `least_ahead`: so many queries are known
    to the workers beyond the horizon, so that each can see the batch it takes next. `batch_size`:
    of the largest batch. `alive`: the workers that take part, all but those that were lost.
    """

    def __init__(
        self,
        schedule: Schedule,
        samples: NDArray[np.uint32],
        start_ns: int,
        *,
        workers: int,
        shared: bool,
        batch_size: int = 1,
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
        self.alive = list(range(workers))
        self._closing: set[int] | None = None  # who has still to say that it is done
        self._shared = shared
        self._batch_size = batch_size
        self._least_ahead = least_ahead
        self._turn = 0
        self._oldest = 0  # all queries before are answered or written off
        self._claimed = 0  # all queries before were claimed, and none from here on
        self._rows = Columns(samples)
        self.tallies = [Tally(heard_ns=start_ns) for _ in range(workers)]

    def go(self, start_ns: int) -> None:
        """Let the trial start at this moment of the monotonic clock."""
        self.start_ns = self.last_answer_ns = start_ns
        self.excuse_silence(start_ns)

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
        if end <= begin:
            return []
        ids = np.arange(begin, end, dtype=np.uint32)
        requests = np.empty(end - begin, REQUEST)
        requests["id"] = ids
        requests["sample"] = self._rows.sample[begin:end]
        requests["due_ns"] = self.schedule.due_ns[begin:end]
        self._rows.pushed_ns[begin:end] = now_ns
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
            self._rows.worker[own["id"]] = worker
            pushes.append((worker, own))
        self._claim(self.pushed)
        self._turn = (self._turn + len(requests)) % len(self.alive)
        self.frames += len(pushes)
        return pushes

    def claimed(self, claims: Iterable[Claim], now_ns: int) -> None:
        """Note who serves which queries; raises TransitionError for claims out of their order."""
        end = self._claimed
        for worker, first, size in claims:
            if first != end:
                raise TransitionError(f"query {first} is claimed, and the next in line is {end}")
            end = first + size
            self._rows.worker[first:end] = worker
            tally = self.tallies[worker]
            if tally.holding == 0:  # what it held already should have been answered
                tally.heard_ns = now_ns
            tally.holding += size
        self._claim(end)

    def _claim(self, end: int) -> None:
        """Let all queries before `end` that were pending be claimed."""
        states = self._rows.status[self._claimed : end]
        if not (states == PENDING).all():
            raise TransitionError(f"queries {self._claimed} to {end - 1} are not all pending")
        states[:] = CLAIMED
        self._claimed = end

    def received(self, worker: int, answers: NDArray[np.void], now_ns: int) -> str | None:
        """Take in the COMPLETION records of a worker, one or more, in the order they were served.

        Returns what is wrong, in words, where they cannot be true; then all of them are left out.
        Those to queries after an early end are left out silently.
        """
        ids = answers["id"].astype(np.intp)
        wrong = self._find_wrong(worker, ids, answers, now_ns)
        if wrong is not None:
            return wrong
        self.tallies[worker].heard_ns = now_ns
        if self.closing:
            kept = ids < self.end
            ids, answers = ids[kept], answers[kept]
        if len(ids):
            self._rows.record(ids, answers, now_ns)
            self.tallies[worker].count(answers, now_ns)
            self.answered += len(ids)
            self.last_answer_ns = now_ns
        return None

    def _find_wrong(
        self, worker: int, ids: NDArray[np.intp], answers: NDArray[np.void], now_ns: int
    ) -> str | None:
        if int(ids.max()) >= self.pushed:
            return "answered queries that nobody was asked"
        asked = Asked(
            held=self._rows.is_held(worker, ids),
            due_ns=self.schedule.due_ns[ids] + self.start_ns,
            free_ns=self.tallies[worker].free_ns,
            now_ns=now_ns,
            batch_size=self._batch_size,
        )
        return find_wrong(answers, asked)

    def lose(self, worker: int) -> int:
        """Write off what a worker held that is lost; return how many queries those are.

        The caller notes the fault.
        """
        self.alive.remove(worker)
        held = np.flatnonzero(self._rows.is_held(worker, slice(self.end)))
        self._rows.status[held] = wire.LOST
        self.written_off += len(held)
        self.worker_closed(worker)
        return len(held)

    def worker_closed(self, worker: int) -> None:
        """Note that a worker has sent its last answer."""
        if self._closing is not None:
            self._closing.discard(worker)

    def end_early(self, now_ns: int) -> None:
        """End the trial now: what is not yet due counts as not sent, the rest stays in the account.

        What was due and that no worker has begun is lost.
        """
        self.end = max(1, self._due_by(now_ns))
        self.cut_short = True
        self._closing = set(self.alive)
        self.excuse_silence(now_ns)

    def excuse_silence(self, now_ns: int) -> None:
        """Count silence from now on, for all workers."""
        for tally in self.tallies:
            tally.heard_ns = now_ns

    @property
    def closing(self) -> bool:
        """Whether the trial was ended early."""
        return self._closing is not None

    def waiting_ns(self, now_ns: int) -> int:
        """Return for how long the oldest unanswered query could have been served; 0 if none is due.

        That is since it was due, or since workers were told of it where that was later.
        """
        stop = min(self._due_by(now_ns), self.pushed)
        open_ = self._rows.status[self._oldest : stop] >= PENDING
        self._oldest += int(open_.argmax()) if open_.any() else len(open_)
        return now_ns - self._could_start_ns(self._oldest) if self._oldest < stop else 0

    def _could_start_ns(self, query: int) -> int:
        due_ns = int(self.schedule.due_ns[query]) + self.start_ns
        return max(due_ns, int(self._rows.pushed_ns[query]))

    def overloaded(self, max_backlog_s: float, now_ns: int) -> bool:
        """Whether the oldest unanswered query waits for longer than `max_backlog_s`."""
        if self.closing or self._due_by(now_ns) >= self.end:
            return False
        return self.waiting_ns(now_ns) > max_backlog_s * 1e9

    def silent_ns(self, worker: int, now_ns: int) -> int:
        """Return for how long nothing came of a worker that has something to do.

        It has while it holds a query that is due, or holds none while one waits that it could take.
        After an early end it has to say that it is done.
        """
        heard_ns = self.tallies[worker].heard_ns
        if self._closing is not None:
            return now_ns - heard_ns if worker in self._closing else 0
        if self.waiting_ns(now_ns) == 0:
            return 0
        held = self._rows.is_held(worker, slice(self._oldest, self._claimed))
        query = self._oldest + int(held.argmax()) if held.any() else self._claimed
        if query >= self.pushed:
            return 0
        return max(now_ns - max(heard_ns, self._could_start_ns(query)), 0)

    def under_way(self, now_ns: int) -> TrialUnderWay:
        """Return what is known by now; the work does not grow with the trial."""
        due, elapsed_ns = self._due_by(now_ns), max(now_ns - self.start_ns, 1)
        begun = self._claimed if self._shared else self.answered
        latest = slice(max(self._claimed - _LATEST, 0), self._claimed)
        due_ns = self.schedule.due_ns[latest] + self.start_ns
        return TrialUnderWay(
            elapsed_s=elapsed_ns * 1e-9,
            length_s=int(self.schedule.due_ns[-1]) * 1e-9,
            queries=len(self.schedule.due_ns),
            answered=self.answered,
            waiting=max(due - begun, 0),
            busy=tuple(min(tally.busy_ns / elapsed_ns, 1.0) for tally in self.tallies),
            latency_s=self._rows.latency_s(latest, due_ns),
        )

    def played_schedule(self) -> Schedule:
        """Return the part of the schedule that was played; at least one query."""
        if self.end == len(self.schedule.due_ns):
            return self.schedule
        return replace(self.schedule, due_ns=self.schedule.due_ns[: self.end])

    def completions(self, **accounts: object) -> Completions:
        """Return the columns of all queries that were played; `accounts` are further fields."""
        return self._rows.completions(
            self.played_schedule(),
            self.start_ns,
            dealt=not self._shared,
            frames=self.frames,
            cut_short=self.cut_short,
            faults=tuple(self.faults),
            **accounts,
        )

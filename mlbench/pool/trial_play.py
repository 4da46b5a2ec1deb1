"""One trial on real workers: the loop that pushes its schedule ahead and takes in what comes back.

                       ahead of time: requests ---> timetable (memory)
Schedule ---> TrialState.take_ahead ---> Link ---> workers ---------------> claims (memory)
                  ^                                   |                           |
                  +--- TrialState.received <--- Link <+ (stamped there)           |
                  +--- TrialState.claimed <---------------------------------------+

The loop wakes up at its own rhythm, never because of a query: whatever it does, or fails to do in
time, costs the devices nothing.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.contracts.claims import ClaimLog
from mlbench.contracts.findings import Finding
from mlbench.contracts.timetable import TimetableWriter
from mlbench.host.clock import now_ns
from mlbench.pool.launcher import Handle
from mlbench.pool.link import Gone, Link
from mlbench.pool.trial_state import TrialState

_HORIZON_NS = 200_000_000  # schedules are known so far ahead: a pause of half of it harms nobody
_PERIOD_NS = 100_000_000  # between two looks at a trial; each look wakes a thread in every worker
_FAST_PERIOD_NS = 25_000_000  # the same at rates where chunks would get large otherwise
_FAST_QPS = 1_000.0
_DRAIN_NS = 20_000_000  # when all is pushed, the longest wait for an answer before the next look
_LEAD_NS = 5_000_000  # from `go` to the start: fifty times what a message takes
_LOOK_EVERY_NS = 50_000_000  # at workers that have not confirmed the beginning yet
_ASK_EVERY_NS = 500_000_000  # whether workers can be reached, where nothing else is sent
_MOST_ANSWERS = 50_000  # taken in at once: 10 ms of work, after which the schedule goes on
_LAST_WORDS_NS = 20_000_000  # within a host a frame takes 1 ms at most


@dataclass
class Crew:
    """The workers of a pool, and the ways to reach them.

    `timetables`: one for each line. `claims` is None where each worker has a line of its own.
    `names`: what each is called in messages. `patience_s`: how long all of them may be silent
    although queries are due. `dead`: those that ended or fell silent, and how.
    """

    link: Link
    handles: Sequence[Handle]
    names: Sequence[str]
    timetables: Sequence[TimetableWriter]
    claims: ClaimLog | None
    patience_s: Callable[[], float]
    dead: dict[int, str] = field(default_factory=dict)


class TrialPlay:
    """Plays one trial, whose account is in `state`; each may be played once."""

    def __init__(self, trial: int, state: TrialState, max_backlog_s: float, crew: Crew) -> None:
        self._trial = trial
        self._state = state
        self._max_backlog_s = max_backlog_s
        self._crew = crew
        self._ask_at_ns = 0
        is_fast = state.schedule.target_qps > _FAST_QPS
        self._period_s = (_FAST_PERIOD_NS if is_fast else _PERIOD_NS) * 1e-9

    def play(self) -> None:
        """Play until nothing can come back any more."""
        self._begin()
        is_all_read = True
        while not self._state.finished:
            if is_all_read:
                self._rest()
            self._push()
            is_all_read = self._drain()
            self._look_after_workers()
            if is_all_read:  # an answer that is not read yet is no backlog
                self._end_if_hopeless()

    def _begin(self) -> None:
        """Give all workers the beginning of the schedule, and start when each has confirmed it."""
        state, link = self._state, self._crew.link
        if self._crew.claims is not None:
            self._crew.claims.clear()
            self._crew.claims.begin(self._trial)
        for timetable in self._crew.timetables:
            timetable.begin(len(state.schedule.due_ns))
        self._push()
        waiting, end_ns = set(state.alive), now_ns() + round(self._crew.patience_s() * 1e9)
        while waiting and now_ns() < end_ns:
            link.wait(_LOOK_EVERY_NS)
            waiting -= {worker for worker, frame in link.received() if self._says(frame, "begun")}
            self._look_after_workers()
            waiting &= set(state.alive)
        for worker in waiting:
            self._bury(worker)
        start_ns = now_ns() + _LEAD_NS
        state.go(start_ns)
        self._tell("go", start_ns=start_ns)

    def _rest(self) -> None:
        if self._state.all_pushed or self._state.closing:
            self._crew.link.wait(_DRAIN_NS)
        else:
            time.sleep(self._period_s)

    def _push(self) -> None:
        """Send what is next in the schedule."""
        if self._state.closing:
            return
        queries = len(self._state.schedule.due_ns)
        for line, requests in self._state.take_ahead(now_ns(), _HORIZON_NS):
            timetable = self._crew.timetables[line]
            timetable.append(requests)
            frame = wire.pack_requests(self._trial, timetable.count, queries)
            self._send((line,) if self._crew.claims is None else tuple(self._state.alive), frame)

    def _tell(self, type_: str, **fields: Any) -> None:
        """Send a control message of this trial to all workers that take part."""
        frame = wire.pack_control(type_, trial=self._trial, **fields)
        self._send(tuple(self._state.alive), frame)

    def _send(self, workers: Sequence[int], frame: bytes) -> None:
        for worker in workers:
            try:
                self._crew.link.send(worker, frame)
            except Gone:
                self._bury(worker)

    def _says(self, frame: wire.Frame, type_: str) -> bool:
        """Whether a frame is a control message of this type and trial."""
        return (
            frame.kind == wire.CONTROL
            and frame.body["type"] == type_
            and frame.body.get("trial") == self._trial
        )

    def _drain(self) -> bool:
        """Take in what came back, a piece at a time; say whether that was all."""
        frames: list[tuple[int, wire.Frame]] = []
        answered = 0
        for worker, frame in self._crew.link.received():
            frames.append((worker, frame))
            answered += len(frame.body)
            if answered >= _MOST_ANSWERS:
                break
        self._read_claims()  # after the answers: what they answer was claimed before
        answers: dict[int, list[NDArray[np.void]]] = {}
        for worker, frame in frames:
            if frame.kind == wire.COMPLETIONS and frame.trial == self._trial:
                answers.setdefault(worker, []).append(frame.body)
        now = now_ns()
        for worker, parts in answers.items():
            self._state.received(worker, _joined(parts), now)
        for worker, frame in frames:
            if self._says(frame, "closed"):
                self._state.worker_closed(worker)
        return answered < _MOST_ANSWERS

    def _read_claims(self) -> None:
        if self._crew.claims is not None:
            self._state.claimed(self._crew.claims.read())

    def _end_if_hopeless(self) -> None:
        """End the trial when nobody answers any more, or the backlog is over its limit."""
        state, now = self._state, now_ns()
        silent_s = state.silent_ns(now) * 1e-9
        if not state.alive:
            state.give_up(Finding("no_worker_left"))
        elif silent_s > self._crew.patience_s():
            figures = {"silent_s": silent_s, "waiting": state.count_waiting(now)}
            state.give_up(Finding("no_answer", figures))
        elif state.overloaded(self._max_backlog_s, now):
            if self._crew.claims is not None:
                self._crew.claims.close()
            state.end_early(now)
            self._tell("close", end=state.end)

    def _look_after_workers(self) -> None:
        for worker in tuple(self._state.alive):
            if self._crew.handles[worker].ended():
                self._hear_last_words()
                self._bury(worker)
        now = now_ns()
        if now >= self._ask_at_ns:
            self._ask_at_ns = now + _ASK_EVERY_NS
            self._tell("alive?")

    def _hear_last_words(self) -> None:
        """Take in what a worker sent before it died, which may still be on its way."""
        end_ns = now_ns() + _LAST_WORDS_NS
        while (left_ns := end_ns - now_ns()) > 0:
            self._crew.link.wait(left_ns)
            self._drain()

    def _bury(self, worker: int) -> None:
        """Give up a worker that ended or can't be reached; what it held is lost."""
        how = self._crew.handles[worker].ended() or "fell silent"
        self._crew.dead[worker] = f"{self._crew.names[worker]} {how}"
        if self._crew.claims is not None:
            self._crew.claims.expel(worker)
        self._read_claims()
        self._state.worker_lost(worker, self._crew.dead[worker])


def _joined(parts: list[NDArray[np.void]]) -> NDArray[np.void]:
    """Concatenate records as bytes, which is much quicker than field by field."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([part.view(np.uint8) for part in parts]).view(wire.COMPLETION)

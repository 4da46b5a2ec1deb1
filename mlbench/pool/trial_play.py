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
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.contracts.findings import Figure, Figures, Finding
from mlbench.host.clock import now_ns
from mlbench.pool.awake import AwakeTime
from mlbench.pool.crew import Crew
from mlbench.pool.events import PoolEvent
from mlbench.pool.trial_state import TrialState

_HORIZON_NS = 200_000_000  # schedules are known so far ahead: a pause of half of it harms nobody
_PERIOD_NS = 100_000_000  # between two looks at a trial; each look wakes a thread in every worker
_FAST_PERIOD_NS = 25_000_000  # the same at rates where chunks would get large otherwise
_FAST_QPS = 1_000.0
_DRAIN_NS = 20_000_000  # when all is pushed, the longest wait for an answer before the next look
_LEAD_NS = 5_000_000  # from `go` to the start: fifty times what a message takes
_LOOK_EVERY_NS = 50_000_000  # at workers that have not confirmed the beginning yet
_TELL_EVERY_NS = 250_000_000  # how the trial goes: often enough for people, and cheap
_MOST_ANSWERS = 50_000  # taken in at once: 10 ms of work, after which the schedule goes on


class TrialPlay:
    """Plays one trial, whose account is in `state`; each may be played once.

    `patience_s`: how long a worker may be silent that has something to do. `start_ns`: called when
    all workers have the beginning; returns when the trial starts, or None to end it before.
    `is_ended`: whether somebody else ends the trial, which is no fault. What goes wrong is a
    fault in the account and ends the trial; a worker that failed is given up and stands in the
    crew's `failed`. `tell` hears how the trial goes, right after queries were sent ahead; that took
    `telling_s` seconds of CPU time, which are no part of playing.
    """

    def __init__(
        self,
        trial: int,
        state: TrialState,
        max_backlog_s: float,
        patience_s: float,
        crew: Crew,
        tell: Callable[[PoolEvent], None] = lambda _: None,
        start_ns: Callable[[], int | None] = lambda: now_ns() + _LEAD_NS,
        is_ended: Callable[[], bool] = lambda: False,
    ) -> None:
        self._trial = trial
        self._state = state
        self._max_backlog_s = max_backlog_s
        self._patience_s = patience_s
        self._crew = crew
        self._told_ns = 0
        self.telling_s = 0.0
        self._hear = tell
        self._start_ns = start_ns
        self._is_ended = is_ended
        self._awake = AwakeTime(now_ns())
        self._begun: set[int] = set()
        self._has_started = False
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
            self._look_for_faults()
            if is_all_read:  # an answer that is not read yet is neither silence nor backlog
                self._give_up_silent()
                self._end_if_overloaded()
                self._tell_people()

    def _begin(self) -> None:
        """Give all workers the beginning of the schedule, and start when each has confirmed it."""
        state = self._state
        if self._crew.claims is not None:
            self._crew.claims.clear()
            self._crew.claims.begin(self._trial)
        for timetable in self._crew.timetables:
            timetable.begin(len(state.schedule.due_ns))
        self._push()
        end_ns = now_ns() + round(self._patience_s * 1e9)
        while not state.closing and (waiting := set(state.alive) - self._begun):
            self._crew.link.wait(_LOOK_EVERY_NS)
            self._drain()
            self._look_for_faults()
            if not state.closing and now_ns() > end_ns:
                for worker in waiting - self._begun:
                    self._lose(worker, f"hangs: took no trial for {self._patience_s:.1f} s")
        if not state.closing:
            self._go(self._start_ns())

    def _go(self, start_ns: int | None) -> None:
        """Start at this moment, or end the trial before it starts."""
        if start_ns is None:
            self._end_early()
            return
        for handle in self._crew.handles.values():
            handle.was_stopped()  # before the start: it does not matter any more
        self._awake = AwakeTime(now_ns())
        self._has_started = True
        self._state.go(start_ns)
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
            self._send((line,) if self._crew.claims is None else self._state.alive, frame)

    def _tell(self, type_: str, **fields: Any) -> None:
        """Send a control message of this trial to all workers that take part."""
        self._send(self._state.alive, wire.pack_control(type_, trial=self._trial, **fields))

    def _send(self, workers: Iterable[int], frame: bytes) -> None:
        for worker in workers:
            self._crew.link.send(worker, frame)

    def _drain(self) -> bool:
        """Take in what came back, a piece at a time; say whether that was all."""
        answers: dict[int, list[NDArray[np.void]]] = {}
        words: list[tuple[int, dict[str, Any]]] = []
        count, is_all = 0, True
        for worker, frame in self._crew.link.received():
            count += 1
            if frame.kind == wire.CONTROL:
                words.append((worker, frame.body))
            elif frame.kind == wire.COMPLETIONS and frame.trial == self._trial:
                answers.setdefault(worker, []).append(frame.body)
                count += len(frame.body)
            elif frame.trial > self._trial:
                self._crew.link.wrong.setdefault(worker, "answered for a trial that never was")
            if count >= _MOST_ANSWERS:
                is_all = False
                break
        self._read_claims()  # after the answers: what they answer was claimed before
        for worker, parts in answers.items():
            self._take_answers(worker, _joined(parts))
        for worker, message in words:  # a worker's last word follows its answers
            self._take_word(worker, message)
        return is_all

    def _tell_people(self) -> None:
        """Say now and then how the trial goes; at the latest moment before a rest."""
        now = now_ns()
        if now - self._told_ns >= _TELL_EVERY_NS and not self._state.closing:
            self._told_ns, begin_s = now, time.process_time()
            self._hear(self._state.under_way(now))
            self.telling_s += time.process_time() - begin_s

    def _take_answers(self, worker: int, answers: NDArray[np.void]) -> None:
        if worker in self._state.alive:
            wrong = self._state.received(worker, answers, now_ns())
            if wrong is not None:
                self._lose(worker, wrong, len(answers))

    def _take_word(self, worker: int, message: dict[str, Any]) -> None:
        if message.get("trial") != self._trial:
            return
        if message["type"] == "begun":
            self._begun.add(worker)
        elif message["type"] == "closed":
            self._state.worker_closed(worker)

    def _read_claims(self) -> None:
        if self._crew.claims is not None:
            self._state.claimed(self._crew.claims.read(), now_ns())

    def _look_for_faults(self) -> None:
        """See whether we were paused, whose bytes are wrong, and who ended or was paused."""
        state, now = self._state, now_ns()
        if paused_ns := self._awake.look(now):
            state.excuse_silence(now)
            self._spoil(Finding("coordinator_paused", {"paused_s": paused_ns * 1e-9}))
        if self._crew.link.wrong.pop(None, None):
            self._spoil(Finding("foreign_message"))
        for worker in tuple(state.alive):
            handle = self._crew.handles[worker]
            if wrong := self._crew.link.wrong.get(worker):
                self._lose(worker, wrong)
            elif ended := handle.ended():
                self._lose(worker, ended)
            elif self._has_started and handle.was_stopped():
                self._spoil(Finding("worker_paused", self._who(worker)))

    def _give_up_silent(self) -> None:
        """Give up workers that should have been heard, but for longer than patience lasts."""
        for worker in tuple(self._state.alive):
            silent_s = self._state.silent_ns(worker, now_ns()) * 1e-9
            if silent_s > self._patience_s:
                patience = f"patience {self._patience_s:.1f} s"
                self._lose(worker, f"hangs: nothing came of it for {silent_s:.1f} s, {patience}")

    def _end_if_overloaded(self) -> None:
        if self._is_ended() or self._state.overloaded(self._max_backlog_s, now_ns()):
            self._end_early()

    def _lose(self, worker: int, cause: str, wrong_answers: int = 0) -> None:
        """Give up a worker that failed; what it held is lost."""
        name = self._crew.name(worker)
        reason = f"{name} {self._crew.give_up(worker, cause)}"
        self._end_early()
        held = self._state.lose(worker)
        figures: Figures = {**self._who(worker), "reason": reason, "held": held}
        if wrong_answers:
            found = Finding("wrong_answers", {**figures, "answers": wrong_answers})
        else:
            found = Finding("worker_lost", figures)
        self._spoil(found)

    def _who(self, worker: int) -> dict[str, Figure]:
        return {"worker": worker, "device": str(self._crew.specs[worker].device)}

    def _spoil(self, fault: Finding) -> None:
        """Note a fault, which makes the trial void, and end it."""
        if fault not in self._state.faults:
            self._state.faults.append(fault)
        self._end_early()

    def _end_early(self) -> None:
        """End the trial, once; workers serve what they have taken and then say that they did."""
        if self._state.closing:
            return
        if self._crew.claims is not None:
            self._crew.claims.close()
        self._read_claims()
        self._state.end_early(now_ns())
        self._tell("close", end=self._state.end)


def _joined(parts: list[NDArray[np.void]]) -> NDArray[np.void]:
    """Concatenate records as bytes, which is much quicker than field by field."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([part.view(np.uint8) for part in parts]).view(wire.COMPLETION)

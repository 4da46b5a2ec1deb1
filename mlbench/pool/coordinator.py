"""The real pool: the one loop that reads the clock, sleeps, sends and receives.

             due times                 one frame per worker and wake-up
Schedule ---> TrialState.take_due ---> Link.send_requests ---> worker processes
                  |      ^                                         |
             Dispatcher  +---- TrialState.received <--- Link.received  (stamped in the worker)
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

from mlbench.clock import Alarm, now_ns, real_time_priority, set_precise_sleep
from mlbench.contracts import wire
from mlbench.contracts.backend import WorkerSpec
from mlbench.contracts.errors import MlbenchError, RequestError, RunError
from mlbench.load.dispatch import Dispatcher, ExpectedFirst, RoundRobin
from mlbench.load.trial_state import TrialState
from mlbench.pool.launcher import Handle, Launcher
from mlbench.pool.link import Gone, Link
from mlbench.records import NO_LIMITS, Completions, HostAccount, Limits, Schedule, WorkerAccount

_IDLE_NS = 20_000_000
_LEAD_NS = 5_000_000
_LOOK_EVERY_NS = 50_000_000
_GUARD_NS = 150_000  # this close to a due time nothing else is begun
_BREATH_S = 20e-6
_WORDS_AHEAD_NS = (600_000, 150_000)
_ASLEEP_NS = 1_000_000
_PRIORITY_QPS = 20_000.0
_READY_S = 300.0
_ANSWER_S = 10.0


class WorkerPool:
    """Worker processes that play schedules; use as a context manager.

    Queries cycle through the first `sample_count` samples, at first those of the specs.
    `host_account` is called when a trial begins and returns what to call when it ends.
    Raises RequestError when a worker cannot load what it was asked to, RunError when one dies.
    """

    def __init__(
        self,
        specs: Sequence[WorkerSpec],
        launcher: Launcher,
        *,
        round_robin: bool = False,
        warm_up_s: float = 1.0,
        host_account: Callable[[Sequence[int]], Callable[[], HostAccount]] | None = None,
    ) -> None:
        set_precise_sleep()
        self._round_robin = round_robin
        self._host_account = host_account
        self._link = Link()
        self._specs = [WorkerSpec(**{**vars(s), "endpoint": self._link.endpoint}) for s in specs]
        self.sample_count = specs[0].sample_count
        self._trial = 0
        self._alarm = Alarm()
        self._look_at_ns = 0
        self.dead: dict[int, str] = {}
        self.backends: dict[int, dict[str, Any]] = {}
        self._handles: list[Handle] = [launcher.start(spec) for spec in self._specs]
        try:
            self._collect("ready", _READY_S, self._note_ready)
            self.service_ns = self._warm_up(warm_up_s)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers."""
        return [handle.pid for handle in self._handles]

    @property
    def size(self) -> int:
        """How many workers there are."""
        return len(self._specs)

    @property
    def saturated_qps(self) -> float:
        """A rough guess, from the warm-up, of the rate at which all workers are busy."""
        return sum(1e9 / max(ns, 1.0) for ns in self.service_ns)

    def _note_ready(self, worker: int, message: dict[str, Any]) -> None:
        self.backends[worker] = message["backend"]

    def _warm_up(self, seconds: float) -> list[float]:
        service_ns: dict[int, float] = {}
        for worker in range(len(self._specs)):
            self._link.send_control(worker, "warm_up", seconds=seconds)
        self._collect(
            "warm", _READY_S, lambda w, message: service_ns.update({w: message["service_ns"]})
        )
        return [service_ns[worker] for worker in range(len(self._specs))]

    def _collect(
        self, type_: str, timeout_s: float, take: Callable[[int, dict[str, Any]], None]
    ) -> None:
        """Wait until every worker has sent a control message of this type."""
        missing = set(range(len(self._specs)))
        end_ns = now_ns() + round(timeout_s * 1e9)
        while missing:
            self._link.wait(_LOOK_EVERY_NS)
            for worker, frame in self._link.received():
                if frame.kind == wire.CONTROL and frame.body["type"] == "error":
                    raise _worker_error(self._name(worker), frame.body)
                if frame.kind == wire.CONTROL and frame.body["type"] == type_:
                    take(worker, frame.body)
                    missing.discard(worker)
            for worker in missing:
                ended = self._handles[worker].ended()
                if ended:
                    raise RunError(f"{self._name(worker)} {ended} before it was {type_}")
            if missing and now_ns() > end_ns:
                raise RunError(f"{self._name(min(missing))} was not {type_} in {timeout_s:.0f} s")

    def _name(self, worker: int) -> str:
        spec = self._specs[worker]
        return f"worker {worker} ({spec.device}, pid {self._handles[worker].pid})"

    def _dispatcher(self) -> Dispatcher:
        dispatcher: Dispatcher = (
            RoundRobin(len(self._specs)) if self._round_robin else ExpectedFirst(self.service_ns)
        )
        for worker in self.dead:
            dispatcher.lost(worker)
        return dispatcher

    def run(self, schedule: Schedule, limits: Limits = NO_LIMITS) -> Completions:
        """Play the schedule once and return every query's fate.

        Raises RunError when no worker is left. A worker that dies on the way is in `dead`, and
        what it held is lost.
        """
        self._check_workers_left()
        self._trial += 1
        host_account = self._host_account(self.pids) if self._host_account else HostAccount
        state = TrialState(
            schedule,
            now_ns() + _LEAD_NS,
            self._dispatcher(),
            workers=len(self._specs),
            sample_count=self.sample_count,
        )
        cpu_s, begin_ns = time.thread_time(), now_ns()
        # A coordinator that is always busy would, with priority, starve its own I/O thread.
        rarely_busy = schedule.offered_qps <= _PRIORITY_QPS
        with real_time_priority() if rarely_busy else contextlib.nullcontext():
            while not state.finished:
                self._step(state, limits)
        busy = (time.thread_time() - cpu_s) / max((now_ns() - begin_ns) * 1e-9, 1e-9)
        completions = state.completions(
            coordinator_busy=min(busy, 1.0), workers=self._accounts(state), host=host_account()
        )
        self.service_ns = [
            new or old for new, old in zip(state.service_ns, self.service_ns, strict=True)
        ]
        return completions

    def _step(self, state: TrialState, limits: Limits) -> None:
        """Sleep until something is due, send all that is, and take in all that came back."""
        due_ns = state.next_due_ns
        if due_ns is None:
            self._link.wait(_IDLE_NS)
            self._give_up_when_silent(state)
        else:
            self._sleep_until_due(state, due_ns)
            for worker, requests, ids in state.take_due(now_ns()):
                try:
                    state.sent(ids, self._link.send_requests(worker, self._trial, requests))
                except Gone:
                    self._bury(state, worker)
        self._drain(state)
        now = now_ns()
        if now >= self._look_at_ns:
            self._look_at_ns = now + _LOOK_EVERY_NS
            self._look_after_workers(state)
            if state.overloaded(limits, now):
                state.end_early()

    def _sleep_until_due(self, state: TrialState, due_ns: int) -> None:
        """Take in what comes back while there is time, so that who gets the next is known."""
        if due_ns <= now_ns():
            # Behind: let what is due gather for a moment. Fewer, larger frames carry more, and the
            # kernel stops a real-time thread that never rests.
            time.sleep(_BREATH_S)
            return
        wake_ns = min(due_ns, now_ns() + _LOOK_EVERY_NS)
        if wake_ns == due_ns and due_ns - now_ns() > _ASLEEP_NS:
            for ahead_ns in _WORDS_AHEAD_NS:
                self._listen_until(state, due_ns - ahead_ns)
                self._wake_the_way(state)
        self._listen_until(state, wake_ns)

    def _listen_until(self, state: TrialState, wake_ns: int) -> None:
        """Take in what comes back, but begin nothing close to the end."""
        while (spare_ns := wake_ns - now_ns() - _GUARD_NS) > _GUARD_NS:
            self._link.wait(spare_ns)
            self._drain(state)
        self._alarm.wait_until(wake_ns)

    def _wake_the_way(self, state: TrialState) -> None:
        """Send a word ahead to the idle worker that is next.

        Three threads pass a query on, and in a virtual machine each takes 100 us to wake from a
        long sleep: that is the transport's doing, not the device's. Woken before, they take 30 us.
        """
        worker = state.idle_next(now_ns())
        if worker is not None:
            with contextlib.suppress(Gone):  # the next look after the workers finds out
                self._link.send_control(worker, "soon")

    def _drain(self, state: TrialState) -> None:
        for worker, frame in self._link.received():
            if frame.kind == wire.COMPLETIONS and frame.trial == self._trial:
                state.received(worker, frame.body, now_ns())

    def _look_after_workers(self, state: TrialState) -> None:
        for worker, handle in enumerate(self._handles):
            if worker in self.dead:
                continue
            if handle.ended():
                self._drain(state)  # its last answers may still be there
                self._bury(state, worker)
                continue
            try:
                self._link.send_control(worker, "alive?")
            except Gone:
                self._bury(state, worker)

    def _bury(self, state: TrialState, worker: int) -> None:
        how = self._handles[worker].ended() or "fell silent"
        self.dead[worker] = f"{self._name(worker)} {how}"
        state.worker_lost(worker, self.dead[worker])

    def _give_up_when_silent(self, state: TrialState) -> None:
        silent_s = (now_ns() - state.last_answer_ns) * 1e-9
        patience_s = _ANSWER_S + 20e-9 * max(self.service_ns) * self._specs[0].batch_size
        if state.outstanding > 0 and silent_s > patience_s:
            state.give_up(f"no answer for {silent_s:.0f} s to {state.outstanding} queries")

    def _check_workers_left(self) -> None:
        if len(self.dead) == len(self._specs):
            raise RunError("; ".join(self.dead.values()))

    def _accounts(self, state: TrialState) -> tuple[WorkerAccount, ...]:
        length_ns = max(state.last_answer_ns - state.start_ns, 1)
        return tuple(
            WorkerAccount(spec.device, state.served[i], min(1.0, state.busy_ns[i] / length_ns))
            for i, spec in enumerate(self._specs)
        )

    def close(self) -> None:
        """Stop all workers and close the link."""
        for worker, handle in enumerate(self._handles):
            if handle.ended() is None:
                try:
                    self._link.send_control(worker, "stop")
                except Gone:
                    self.dead.setdefault(worker, "cannot be reached any more")
        for handle in self._handles:
            handle.stop()
        self._link.close()


def _worker_error(name: str, message: dict[str, Any]) -> MlbenchError:
    if message.get("request"):
        return RequestError(message["message"])
    return RunError(f"{name}: {message['message']}")

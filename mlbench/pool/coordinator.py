"""The real pool: the one loop that pushes schedules ahead and takes in what comes back.

                       ahead of time                            claims
Schedule ---> TrialState.take_ahead ---> Link ---> workers ---------------> file in memory
                  ^                                   |                           |
                  +--- TrialState.received <--- Link <+ (stamped there)           |
                  +--- TrialState.claimed <---------------------------------------+

The loop wakes up at its own rhythm, never because of a query: whatever it does, or fails to do in
time, costs the devices nothing.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mlbench.clock import now_ns
from mlbench.contracts import wire
from mlbench.contracts.backend import WorkerSpec
from mlbench.contracts.claims import ClaimLog, create_claim_file
from mlbench.contracts.errors import MlbenchError, RequestError, RunError
from mlbench.load.arrivals import draw_samples
from mlbench.load.trial_state import TrialState
from mlbench.pool.launcher import Handle, Launcher
from mlbench.pool.link import Gone, Link
from mlbench.records import NO_LIMITS, Completions, HostAccount, Limits, Schedule, WorkerAccount

_HORIZON_NS = 200_000_000  # schedules are known so far ahead: a pause of half of it harms nobody
_PERIOD_NS = 100_000_000  # between two looks at a trial; each look wakes a thread in every worker
_FAST_PERIOD_NS = 25_000_000  # the same at rates where chunks would get large otherwise
_FAST_QPS = 1_000.0
_DRAIN_NS = 20_000_000  # when all is pushed, the longest wait for an answer before the next look
_LEAD_NS = 5_000_000  # from `go` to the start: fifty times what a message takes
_LOOK_EVERY_NS = 50_000_000
_ASK_EVERY_NS = 500_000_000  # whether workers can be reached, where nothing else is sent
_LAST_WORDS_NS = 20_000_000  # within a host a frame takes 1 ms at most
_READY_S = 300.0
_ANSWER_S = 10.0


class WorkerPool:
    """Worker processes that play schedules; use as a context manager.

    Trials draw from the first `sample_count` samples of the specs. `host_account` is called when a
    trial begins and returns what to call when it ends.
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
        self._host_account = host_account
        self._link = Link()
        # One worker alone, and workers that take turns, have lines of their own and claim nothing.
        self._claims_fd = None if round_robin or len(specs) == 1 else create_claim_file()
        self._claims = None if self._claims_fd is None else ClaimLog(self._claims_fd)
        self._specs = [
            replace(spec, endpoint=self._link.endpoint, claims_fd=self._claims_fd) for spec in specs
        ]
        self._sample_count = specs[0].sample_count
        self._trial = 0
        self._ask_at_ns = 0
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

    def run(
        self,
        schedule: Schedule,
        limits: Limits = NO_LIMITS,
        samples: NDArray[np.uint32] | None = None,
    ) -> Completions:
        """Play the schedule once and return every query's fate.

        `samples`: uint32 (n,), what each query serves; drawn by the schedule's seed if not given.
        Raises RunError when no worker is left. A worker that dies on the way is in `dead`, and
        what it held is lost.
        """
        self._check_workers_left()
        self._trial += 1
        queries = len(schedule.due_ns)
        state = TrialState(
            schedule,
            draw_samples(queries, self._sample_count, schedule.seed)
            if samples is None
            else samples,
            now_ns(),
            workers=self.size,
            alive=[worker for worker in range(self.size) if worker not in self.dead],
            shared=self._claims is not None,
            least_ahead=self.size * self._specs[0].batch_size,
        )
        host_account = self._host_account(self.pids) if self._host_account else HostAccount
        cpu_s, begin_ns = time.process_time(), now_ns()
        self._begin(state)
        while not state.finished:
            self._step(state, limits)
        busy = (time.process_time() - cpu_s) / max((now_ns() - begin_ns) * 1e-9, 1e-9)
        self.service_ns = [
            new or old for new, old in zip(state.service_ns, self.service_ns, strict=True)
        ]
        return state.completions(
            coordinator_busy=busy, workers=self._accounts(state), host=host_account()
        )

    def _begin(self, state: TrialState) -> None:
        """Give all workers the beginning of the schedule, and start when each has confirmed it."""
        if self._claims is not None:
            self._claims.clear()
            self._claims.begin(self._trial)
        self._push(state)
        waiting, end_ns = set(state.alive), now_ns() + round(_ANSWER_S * 1e9)
        while waiting and now_ns() < end_ns:
            self._link.wait(_LOOK_EVERY_NS)
            for worker, frame in self._link.received():
                if _is_control(frame, "begun", self._trial):
                    waiting.discard(worker)
            self._look_after_workers(state)
            waiting &= set(state.alive)
        for worker in waiting:
            self._bury(state, worker)
        start_ns = now_ns() + _LEAD_NS
        state.go(start_ns)
        self._tell(state, "go", start_ns=start_ns)

    def _step(self, state: TrialState, limits: Limits) -> None:
        """Rest until the next look; then push what is next and take in all that came back."""
        if state.all_pushed or state.closing:
            self._link.wait(_DRAIN_NS)
        else:
            is_fast = state.schedule.target_qps > _FAST_QPS
            time.sleep((_FAST_PERIOD_NS if is_fast else _PERIOD_NS) * 1e-9)
        self._push(state)
        self._drain(state)
        self._look_after_workers(state)
        self._end_if_hopeless(state, limits)

    def _push(self, state: TrialState) -> None:
        if state.closing:
            return
        for worker, requests in state.take_ahead(now_ns(), _HORIZON_NS):
            try:
                self._link.send_requests(worker, self._trial, requests)
            except Gone:
                self._bury(state, worker)

    def _tell(self, state: TrialState, type_: str, **fields: Any) -> None:
        """Send a control message of this trial to all workers that take part."""
        for worker in tuple(state.alive):
            try:
                self._link.send_control(worker, type_, trial=self._trial, **fields)
            except Gone:
                self._bury(state, worker)

    def _drain(self, state: TrialState) -> None:
        frames = list(self._link.received())
        if self._claims is not None:  # read after the answers: they were claimed before
            state.claimed(self._claims.read())
        now = now_ns()
        for worker, frame in frames:
            if frame.kind == wire.COMPLETIONS and frame.trial == self._trial:
                state.received(worker, frame.body, now)
            elif _is_control(frame, "closed", self._trial):
                state.worker_closed(worker)

    def _end_if_hopeless(self, state: TrialState, limits: Limits) -> None:
        now = now_ns()
        silent_s = state.silent_ns(now) * 1e-9
        if not state.alive:
            state.give_up("no worker is left")
        elif silent_s > self._patience_s:
            state.give_up(f"no answer for {silent_s:.0f} s to {state.count_waiting(now)} queries")
        elif state.overloaded(limits, now):
            if self._claims is not None:
                self._claims.close()
            state.end_early(now)
            self._tell(state, "close", end=state.end)

    @property
    def _patience_s(self) -> float:
        return _ANSWER_S + 20e-9 * max(self.service_ns) * self._specs[0].batch_size

    def _look_after_workers(self, state: TrialState) -> None:
        for worker in tuple(state.alive):
            if self._handles[worker].ended():
                self._hear_last_words(state)
                self._bury(state, worker)
        now = now_ns()
        if now >= self._ask_at_ns:
            self._ask_at_ns = now + _ASK_EVERY_NS
            self._tell(state, "alive?")

    def _hear_last_words(self, state: TrialState) -> None:
        """Take in what a worker sent before it died, which may still be on its way."""
        end_ns = now_ns() + _LAST_WORDS_NS
        while (left_ns := end_ns - now_ns()) > 0:
            self._link.wait(left_ns)
            self._drain(state)

    def _bury(self, state: TrialState, worker: int) -> None:
        how = self._handles[worker].ended() or "fell silent"
        self.dead[worker] = f"{self._name(worker)} {how}"
        if self._claims is not None:
            self._claims.expel(worker)
            state.claimed(self._claims.read())
        state.worker_lost(worker, self.dead[worker])

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
        if self._claims_fd is not None:
            os.close(self._claims_fd)
            self._claims_fd = None


def _is_control(frame: wire.Frame, type_: str, trial: int) -> bool:
    """Whether a frame is a control message of this type and trial."""
    return (
        frame.kind == wire.CONTROL
        and frame.body["type"] == type_
        and frame.body.get("trial") == trial
    )


def _worker_error(name: str, message: dict[str, Any]) -> MlbenchError:
    if message.get("request"):
        return RequestError(message["message"])
    return RunError(f"{name}: {message['message']}")

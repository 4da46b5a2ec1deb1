"""The real pool: starts worker processes, warms them up, and plays schedules on them."""

import contextlib
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.contracts.backend import WorkerSpec
from mlbench.contracts.claims import ClaimLog, create_claim_file
from mlbench.contracts.errors import MlbenchError, RequestError, RunError
from mlbench.contracts.timetable import TimetableWriter, create_timetable
from mlbench.host.clock import now_ns
from mlbench.host.limits import allow_open_files
from mlbench.host.signals import held
from mlbench.pool.launcher import Handle, Launcher
from mlbench.pool.link import Gone, Link
from mlbench.pool.trial_play import Crew, TrialPlay
from mlbench.pool.trial_state import TrialState
from mlbench.records import Completions, HostAccount, Schedule, WorkerAccount
from mlbench.trial.schedule import draw_samples

_LOOK_EVERY_NS = 50_000_000
_READY_S = 300.0
_ANSWER_S = 10.0
_LEAVE_NS = 1_000_000_000  # an idle worker takes milliseconds; what a busy one does is for nobody


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
        allow_open_files(len(specs))
        self._host_account = host_account
        self._link = Link()
        # One worker alone, and workers that take turns, have lines of their own and claim nothing.
        is_shared = not round_robin and len(specs) > 1
        claims_fd = create_claim_file() if is_shared else None
        lines = [create_timetable() for _ in range(1 if is_shared else len(specs))]
        self._descriptors = lines if claims_fd is None else [*lines, claims_fd]
        self._specs = [
            replace(
                spec,
                endpoint=self._link.endpoint,
                timetable_fd=lines[0 if is_shared else worker],
                claims_fd=claims_fd,
            )
            for worker, spec in enumerate(specs)
        ]
        self._sample_count = specs[0].sample_count
        self._trial = 0
        self.backends: dict[int, dict[str, Any]] = {}
        self._handles: list[Handle] = []
        try:
            for spec in self._specs:
                self._handles.append(launcher.start(spec))
            self._crew = Crew(
                self._link,
                self._handles,
                [self._name(worker) for worker in range(len(specs))],
                [TimetableWriter(line) for line in lines],
                None if claims_fd is None else ClaimLog(claims_fd),
                self._patience_s,
            )
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
    def dead(self) -> dict[int, str]:
        """The workers that ended or fell silent in a trial, and how."""
        return self._crew.dead

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
        max_backlog_s: float = math.inf,
        samples: NDArray[np.uint32] | None = None,
    ) -> Completions:
        """Play the schedule once and return every query's fate.

        `samples`: uint32 (n,), what each query serves; drawn by the schedule's seed if not given.
        Raises RunError when no worker is left. A worker that dies on the way is in `dead`, and
        what it held is lost.
        """
        self._check_workers_left()
        self._trial += 1
        state = self._new_state(schedule, samples)
        host_account = self._host_account(self.pids) if self._host_account else HostAccount
        cpu_s, begin_ns = time.process_time(), now_ns()
        TrialPlay(self._trial, state, max_backlog_s, self._crew).play()
        busy = (time.process_time() - cpu_s) / max((now_ns() - begin_ns) * 1e-9, 1e-9)
        self.service_ns = [
            new or old for new, old in zip(state.service_ns, self.service_ns, strict=True)
        ]
        return state.completions(
            coordinator_busy=busy, workers=self._accounts(state), host=host_account()
        )

    def _new_state(self, schedule: Schedule, samples: NDArray[np.uint32] | None) -> TrialState:
        if samples is None:
            samples = draw_samples(len(schedule.due_ns), self._sample_count, schedule.seed)
        return TrialState(
            schedule,
            samples,
            now_ns(),
            workers=self.size,
            alive=[worker for worker in range(self.size) if worker not in self.dead],
            shared=self._crew.claims is not None,
            least_ahead=self.size * self._specs[0].batch_size,
        )

    def _patience_s(self) -> float:
        return _ANSWER_S + 20e-9 * max(self.service_ns) * self._specs[0].batch_size

    def _check_workers_left(self) -> None:
        if len(self.dead) == len(self._specs):
            raise RunError("; ".join(self.dead.values()))

    def _accounts(self, state: TrialState) -> tuple[WorkerAccount, ...]:
        length_ns = max(state.last_answer_ns - state.start_ns, 1)
        return tuple(
            WorkerAccount(spec.device.name, state.served[i], min(1.0, state.busy_ns[i] / length_ns))
            for i, spec in enumerate(self._specs)
        )

    def close(self) -> None:
        """End all workers by one common deadline, and close the link."""
        with held():
            for worker, handle in enumerate(self._handles):
                if handle.ended() is None:
                    with contextlib.suppress(Gone):
                        self._link.send_control(worker, "stop")
            deadline_ns = now_ns() + _LEAVE_NS
            for handle in self._handles:
                handle.stop(deadline_ns)
            self._link.close()
            while self._descriptors:
                os.close(self._descriptors.pop())


def _worker_error(name: str, message: dict[str, Any]) -> MlbenchError:
    if message.get("request"):
        return RequestError(message["message"])
    return RunError(f"{name}: {message['message']}")

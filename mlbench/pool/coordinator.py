"""The real pool: worker processes that play schedules, and come up again when they fail."""

import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts.backend import WorkerSpec
from mlbench.host.clock import now_ns
from mlbench.host.limits import allow_open_files
from mlbench.host.signals import held
from mlbench.pool.crew import Crew
from mlbench.pool.events import PoolEvent
from mlbench.pool.launcher import Launcher
from mlbench.pool.starting import Starter
from mlbench.pool.trial_play import TrialPlay
from mlbench.pool.trial_state import TrialState
from mlbench.records import Completions, HostAccount, Schedule, WorkerAccount
from mlbench.trial.schedule import draw_samples

_LEAVE_NS = 1_000_000_000  # an idle worker takes milliseconds; what a busy one does is for nobody
_LEAST_PATIENCE_S = 2.0
"""With a worker that should be heard. Twice a pause of our own that we take for none; hosts that
stand still for longer spoil a trial anyway."""
_SLOWEST_BATCHES = 10
"""Times the slowest batch so far that a batch may take. Of lognormal times whose coefficient of
variation is 1 not one in 1,000 takes ten times the mean, and the slowest is beyond the mean."""
_FIRST_CALLS = 2
"""Times the slowest call of the warm-up: a runtime may prepare itself for a size of batch that the
warm-up left out, too."""


class WorkerPool:
    """Worker processes that play schedules; use as a context manager.

    Trials draw from the first `sample_count` samples of the specs. `host_account` is called when a
    trial begins and returns what to call when it ends. `start_timeout_s` is for each of loading and
    warming up. `tell` hears of workers that are awaited and started again, and how trials go.
    Raises RequestError when a worker cannot load what it was asked to, RunError when its model does
    not work, and WorkerKeepsFailingError.
    """

    def __init__(
        self,
        specs: Sequence[WorkerSpec],
        launcher: Launcher,
        *,
        round_robin: bool = False,
        warm_up_s: float = 1.0,
        start_timeout_s: float = 300.0,
        host_account: Callable[[Sequence[int]], Callable[[], HostAccount]] | None = None,
        tell: Callable[[PoolEvent], None] = lambda _: None,
    ) -> None:
        allow_open_files(len(specs))
        self._host_account = host_account
        self._tell = tell
        self._specs = specs
        self._trial = 0
        self._crew = Crew(specs, launcher, round_robin=round_robin)
        self._starter = Starter(self._crew, start_timeout_s, warm_up_s, tell)
        try:
            self._starter.bring_up(self._crew.numbers)
        except BaseException:
            self.close()
            raise
        self.service_ns = [self._starter.service_ns[worker] for worker in self._crew.numbers]
        self._slowest_ns = self._starter.slowest_ns

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def backends(self) -> dict[int, dict[str, Any]]:
        """How each worker's backend describes itself."""
        return self._starter.backends

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers."""
        return [self._crew.handles[worker].pid for worker in self._crew.numbers]

    @property
    def size(self) -> int:
        """How many workers there are."""
        return len(self._specs)

    @property
    def devices(self) -> tuple[str, ...]:
        """The name of each worker's device."""
        return tuple(spec.device.name for spec in self._specs)

    @property
    def has_failed(self) -> bool:
        """Whether a worker failed in the last trial, and is started again before the next."""
        return bool(self._crew.failed)

    @property
    def saturated_qps(self) -> float:
        """A rough guess, from the warm-up, of the rate at which all workers are busy."""
        return sum(1e9 / max(ns, 1.0) for ns in self.service_ns)

    def run(
        self,
        schedule: Schedule,
        max_backlog_s: float = math.inf,
        samples: NDArray[np.uint32] | None = None,
        **course: Callable[[], Any],
    ) -> Completions:
        """Play the schedule once and return every query's fate.

        `samples`: uint32 (n,), what each query serves; drawn by the schedule's seed if not given.
        `course`: `start_ns` and `is_ended` of `TrialPlay`, for who plays it together with others.
        What goes wrong on the way ends the trial and stands in its `faults`. Workers that failed
        are started again before the next trial; raises WorkerKeepsFailingError for one that was
        started again as often as it may be.
        """
        self._starter.mend()
        self._trial += 1
        state = self._new_state(schedule, samples)
        host_account = self._host_account(self.pids) if self._host_account else HostAccount
        cpu_s, begin_ns = time.process_time(), now_ns()
        patience_s, crew = self._patience_s, self._crew
        play = TrialPlay(self._trial, state, max_backlog_s, patience_s, crew, self._tell, **course)
        try:
            play.play()
            cpu_s = time.process_time() - cpu_s - play.telling_s
            busy = cpu_s / max((now_ns() - begin_ns) * 1e-9, 1e-9)
        finally:  # whatever ends a trial, nobody watches the host any longer
            host = host_account()
        if not state.faults:
            self._learn(state)
        return state.completions(coordinator_busy=busy, workers=self._accounts(state), host=host)

    def _new_state(self, schedule: Schedule, samples: NDArray[np.uint32] | None) -> TrialState:
        first = self._specs[0]
        if samples is None:
            samples = draw_samples(len(schedule.due_ns), first.sample_count, schedule.seed)
        return TrialState(
            schedule,
            samples,
            now_ns(),
            workers=self.size,
            shared=self._crew.claims is not None,
            batch_size=first.batch_size,
            least_ahead=self.size * first.batch_size,
        )

    def _learn(self, state: TrialState) -> None:
        self._slowest_ns = max(self._slowest_ns, *(tally.slowest_ns for tally in state.tallies))
        self.service_ns = [
            tally.service_ns or old
            for tally, old in zip(state.tallies, self.service_ns, strict=True)
        ]

    @property
    def _patience_s(self) -> float:
        """For how long a worker may be silent that has something to do."""
        batch_ns = max(_SLOWEST_BATCHES * self._slowest_ns, _FIRST_CALLS * self._starter.first_ns)
        timeout_s = self._specs[0].batch_timeout_ns * 1e-9
        return max(_LEAST_PATIENCE_S, batch_ns * 1e-9) + timeout_s

    def _accounts(self, state: TrialState) -> tuple[WorkerAccount, ...]:
        length_ns = max(state.last_answer_ns - state.start_ns, 1)
        return tuple(
            WorkerAccount(spec.device.name, tally.served, min(1.0, tally.busy_ns / length_ns))
            for spec, tally in zip(self._specs, state.tallies, strict=True)
        )

    def close(self) -> None:
        """End all workers by one common deadline, and close the link."""
        crew = self._crew
        with held():
            for worker, handle in crew.handles.items():
                if handle.ended() is None:
                    crew.link.send_control(worker, "stop")
            deadline_ns = now_ns() + _LEAVE_NS
            for handle in crew.handles.values():
                handle.stop(deadline_ns)
            crew.link.close()
            while crew.descriptors:
                os.close(crew.descriptors.pop())

"""The worker processes of a pool, and the ways to reach them."""

import time
from collections.abc import Sequence
from dataclasses import replace

from mlbench.contracts.backend import WorkerSpec
from mlbench.contracts.claims import ClaimLog, create_claim_file
from mlbench.contracts.errors import RunError
from mlbench.contracts.timetable import TimetableWriter, create_timetable
from mlbench.host.clock import now_ns
from mlbench.pool.launcher import Handle, Launcher
from mlbench.pool.link import Link
from mlbench.pool.restarts import Failure

_END_NS = 5_000_000_000  # for a killed process to be gone: it gives back gigabytes first
_LOOK_EVERY_S = 0.005


class Crew:
    """Worker processes by their number, each with the line that it serves.

    `timetables`: one for each line. `claims` is None where each worker has a line of its own: one
    alone, and those that take turns. `descriptors`: of the lines and the claims, which each worker
    inherits. `failed`: the workers to be started again, and why.
    """

    def __init__(
        self, specs: Sequence[WorkerSpec], launcher: Launcher, *, round_robin: bool
    ) -> None:
        self.link = Link()
        is_shared = not round_robin and len(specs) > 1
        claims_fd = create_claim_file() if is_shared else None
        lines = [create_timetable() for _ in range(1 if is_shared else len(specs))]
        self.descriptors = lines if claims_fd is None else [*lines, claims_fd]
        self.specs = [
            replace(
                spec,
                endpoint=self.link.endpoint,
                timetable_fd=lines[0 if is_shared else worker],
                claims_fd=claims_fd,
            )
            for worker, spec in enumerate(specs)
        ]
        self.timetables = [TimetableWriter(line) for line in lines]
        self.claims = None if claims_fd is None else ClaimLog(claims_fd)
        self.handles: dict[int, Handle] = {}
        self.failed: dict[int, Failure] = {}
        self._launcher = launcher

    @property
    def numbers(self) -> range:
        """The numbers of all workers."""
        return range(len(self.specs))

    def name(self, worker: int) -> str:
        """Return what a worker is called in messages: its number, device and process."""
        return f"worker {worker} ({self.specs[worker].device}, pid {self.handles[worker].pid})"

    def start(self, worker: int) -> None:
        """Start a worker's process, in place of one that failed."""
        if worker in self.handles:
            self._await_end(self.handles[worker])
        self.failed.pop(worker, None)
        spec = replace(self.specs[worker], identity=self.link.admit(worker))
        try:
            self.handles[worker] = self._launcher.start(spec)
        except OSError as error:
            raise RunError(f"worker {worker} ({spec.device}) cannot be started: {error}") from None

    def _await_end(self, handle: Handle) -> None:
        """Wait until a killed process has given back its device."""
        end_ns = now_ns() + _END_NS
        while handle.ended() is None and now_ns() < end_ns:
            time.sleep(_LOOK_EVERY_S)

    def give_up(self, worker: int, cause: str) -> Failure:
        """End a worker that failed; return the cause, with the last that it told."""
        handle = self.handles[worker]
        handle.kill()
        self.failed[worker] = Failure(cause, handle.last_words())
        return self.failed[worker]

    def give_up_the_dead(self) -> None:
        """Note the workers that have ended while nobody asked them anything."""
        for worker, handle in self.handles.items():
            ended = handle.ended()
            if ended and worker not in self.failed:
                self.give_up(worker, ended)

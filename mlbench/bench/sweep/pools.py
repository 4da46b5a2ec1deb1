"""The pools of a sweep: started when their turn comes, and kept warm while there is room."""

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import psutil

from mlbench.bench.events import Listener
from mlbench.bench.job import Job, prepare
from mlbench.bench.pool import Pool, open_pool
from mlbench.bench.settings import RunSettings
from mlbench.bench.sweep.gpu_room import ROOM, GpuRoom
from mlbench.host.memory import available_bytes

_MOST_WARM = 32
"""Pools at a time. Idle workers sleep in a system call and take no CPU time, only memory, which is
looked at for itself; and a few open files each."""


@dataclass(frozen=True)
class WarmPool:
    """A pool with the job that it was opened for."""

    job: Job
    pool: Pool


class Pools:
    """The pools of configurations by name; use as a context manager, which closes all."""

    def __init__(self, gpu_room: GpuRoom | None = None) -> None:
        self._gpu_room = gpu_room or GpuRoom()
        self._jobs: dict[str, Job] = {}
        self._warm: OrderedDict[str, WarmPool] = OrderedDict()  # the longest unused first
        self._largest_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        while self._warm:
            self.close(next(iter(self._warm)))

    def of(self, name: str, settings: RunSettings, tell: Listener) -> WarmPool:
        """Return the pool of a configuration, started if it is not warm; raises as a pool does."""
        if name in self._warm:
            self._warm.move_to_end(name)
            return self._warm[name]
        if name not in self._jobs:
            self._jobs[name] = prepare(settings, tell)
        job = self._jobs[name]
        # A pool on a cluster takes all of each host.
        self._make_room(job, _MOST_WARM if settings.cluster is None else 1)
        with self._gpu_room.measuring(_gpus(job)):
            warm = WarmPool(job, open_pool(job, settings, tell))
        self._warm[name] = warm
        self._largest_bytes = max(self._largest_bytes, _memory_bytes(warm.pool.pids))
        return warm

    def close(self, name: str) -> None:
        """End the workers of a configuration, if there are any."""
        if name in self._warm:
            self._warm[name].pool.close()
            del self._warm[name]

    def _make_room(self, job: Job, most: int) -> None:
        """Close the pools that were idle for longest until another one fits.

        What is needed in memory is not known before a model is loaded: as much as the largest pool.
        """
        for gpu in _gpus(job):
            while (holder := self._holder_of(gpu)) and not self._gpu_room.is_in(gpu):
                self.close(holder)
        while self._warm and (
            len(self._warm) >= most or available_bytes() < ROOM * self._largest_bytes
        ):
            self.close(next(iter(self._warm)))

    def _holder_of(self, gpu: int) -> str | None:
        """Return the pool on a GPU that was idle for longest; None without one."""
        return next((name for name, warm in self._warm.items() if gpu in _gpus(warm.job)), None)


def _gpus(job: Job) -> set[int]:
    return {spec.device.index for spec in job.specs if spec.device.index is not None}


def _memory_bytes(pids: Sequence[int]) -> int:
    total = 0
    for pid in pids:
        with suppress(psutil.Error):
            total += psutil.Process(pid).memory_info().rss
    return total

"""A job's workers as a pool, with the host watched during each trial."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from mlbench.bench.events import Listener, StageBegan, from_pool
from mlbench.bench.job import Job
from mlbench.bench.settings import Settings
from mlbench.contracts.backend import WorkerSpec, stamps_its_own_times
from mlbench.contracts.registry import find_backend
from mlbench.host.monitor import watch_host
from mlbench.host.processes import name_busy
from mlbench.host.topology import whole_cores
from mlbench.pool.coordinator import WorkerPool
from mlbench.pool.local import LocalLauncher
from mlbench.queueing.line import Queue
from mlbench.records import Completions, HostAccount, Schedule
from mlbench.trial.host import busy_cores


class Pool(Protocol):
    """The workers of this host, or those of all hosts of a cluster; use as a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...

    def run(
        self,
        schedule: Schedule,
        max_backlog_s: float = math.inf,
        samples: NDArray[np.uint32] | None = None,
    ) -> Completions:
        """Play the schedule once and return every query's fate."""

    @property
    def size(self) -> int:
        """How many workers there are."""

    @property
    def saturated_qps(self) -> float:
        """A rough guess of the rate at which all workers are busy."""

    @property
    def has_failed(self) -> bool:
        """Whether something failed in the last trial that is mended before the next."""

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers on this host."""

    def close(self) -> None:
        """End all workers."""


def open_pool(job: Job, settings: Settings, tell: Listener) -> Pool:
    """Start the workers of a job and warm them up; the caller closes the pool."""
    tell(StageBegan("workers"))
    if settings.cluster is not None:
        from mlbench.bench.hosts import open_cluster

        return open_cluster(job, settings, tell)
    return open_local(job.specs, settings, tell)


def open_local(specs: Sequence[WorkerSpec], settings: Settings, tell: Listener) -> WorkerPool:
    """Start these workers on this host and warm them up."""
    return WorkerPool(
        specs,
        LocalLauncher(),
        round_robin=settings.dispatch == "round-robin",
        start_timeout_s=settings.start_timeout,
        host_account=None if is_unmoved(settings) else _host_watch(specs),
        tell=from_pool(tell),
    )


def is_unmoved(settings: Settings) -> bool:
    """Whether the device has a clockwork of its own, which nothing on the host slows down."""
    return stamps_its_own_times(find_backend(settings.backend))


def _host_watch(
    specs: Sequence[WorkerSpec],
) -> Callable[[Sequence[int]], Callable[[], HostAccount]]:
    """Return what watches the host around a trial of these workers, and names who disturbed it."""
    gpus = {spec.device.index for spec in specs if spec.device.index is not None}
    # Whoever runs on the other thread of a core takes as much of it as on the one in use.
    cores = [spec.cores and whole_cores(spec.cores) for spec in specs]

    def begin(pids: Sequence[int]) -> Callable[[], HostAccount]:
        account = watch_host(dict(zip(pids, cores, strict=True)), gpus)

        def end() -> HostAccount:
            host = account()
            busy = busy_cores(host)
            return replace(host, busy_processes=name_busy(busy.cores, pids)) if busy else host

        return end

    return begin


def shape_of(pool: Pool, settings: Settings) -> Queue:
    """Return the queue that requests meet at this pool."""
    hosts = getattr(pool, "host_count", 1)
    return Queue(pool.size, settings.batch_size, settings.batch_timeout_s, hosts, settings.split)

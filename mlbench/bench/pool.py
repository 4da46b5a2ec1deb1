"""A job's workers as a pool, with the host watched during each trial."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from mlbench.bench.events import Listener, StageBegan, from_pool
from mlbench.bench.job import Job
from mlbench.bench.settings import Settings
from mlbench.contracts.backend import stamps_its_own_times
from mlbench.contracts.registry import find_backend
from mlbench.host.monitor import watch_host
from mlbench.host.processes import name_busy
from mlbench.host.topology import whole_cores
from mlbench.pool.coordinator import WorkerPool
from mlbench.pool.local import LocalLauncher
from mlbench.queueing.line import Queue
from mlbench.records import HostAccount
from mlbench.trial.host import busy_cores


def open_pool(job: Job, settings: Settings, tell: Listener) -> WorkerPool:
    """Start the workers of a job and warm them up; the caller closes the pool."""
    tell(StageBegan("workers"))
    return WorkerPool(
        job.specs,
        LocalLauncher(),
        round_robin=settings.dispatch == "round-robin",
        start_timeout_s=settings.start_timeout,
        host_account=None if is_unmoved(settings) else _host_watch(job),
        tell=from_pool(tell),
    )


def is_unmoved(settings: Settings) -> bool:
    """Whether the device has a clockwork of its own, which nothing on the host slows down."""
    return stamps_its_own_times(find_backend(settings.backend))


def _host_watch(job: Job) -> Callable[[Sequence[int]], Callable[[], HostAccount]]:
    """Return what watches the host around a trial of these workers, and names who disturbed it."""
    gpus = {spec.device.index for spec in job.specs if spec.device.index is not None}
    # Whoever runs on the other thread of a core takes as much of it as on the one in use.
    cores = [spec.cores and whole_cores(spec.cores) for spec in job.specs]

    def begin(pids: Sequence[int]) -> Callable[[], HostAccount]:
        account = watch_host(dict(zip(pids, cores, strict=True)), gpus)

        def end() -> HostAccount:
            host = account()
            busy = busy_cores(host)
            return replace(host, busy_processes=name_busy(busy.cores, pids)) if busy else host

        return end

    return begin


def shape_of(pool: WorkerPool, settings: Settings) -> Queue:
    """Return the queue that requests meet at this pool."""
    return Queue(pool.size, settings.batch_size, settings.batch_timeout_s)

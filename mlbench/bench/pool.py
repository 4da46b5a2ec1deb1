"""A job's workers as a pool, with the host watched during each trial."""

from collections.abc import Callable, Sequence

from mlbench.bench.events import Listener, from_pool
from mlbench.bench.job import Job
from mlbench.bench.settings import Settings
from mlbench.contracts.backend import stamps_its_own_times
from mlbench.contracts.registry import find_backend
from mlbench.host.system import HostMonitor
from mlbench.pool.coordinator import WorkerPool
from mlbench.pool.local import LocalLauncher
from mlbench.queueing.line import Queue
from mlbench.records import HostAccount


def open_pool(job: Job, settings: Settings, tell: Listener) -> WorkerPool:
    """Start the workers of a job and warm them up; the caller closes the pool."""
    gpus = {spec.device.index for spec in job.specs if spec.device.index is not None}

    def watch_host(pids: Sequence[int]) -> Callable[[], HostAccount]:
        monitor = HostMonitor(pids, gpus)
        monitor.start()
        return monitor.stop

    # A device with a clockwork of its own is not slowed down by whatever else the host does.
    unmoved = stamps_its_own_times(find_backend(settings.backend))
    return WorkerPool(
        job.specs,
        LocalLauncher(),
        round_robin=settings.dispatch == "round-robin",
        start_timeout_s=settings.start_timeout,
        host_account=None if unmoved else watch_host,
        tell=from_pool(tell),
    )


def shape_of(pool: WorkerPool, settings: Settings) -> Queue:
    """Return the queue that requests meet at this pool."""
    return Queue(pool.size, settings.batch_size, settings.batch_timeout_s)

"""How many workers the cores of a device get, and of how many threads, where nobody says.

Threads of one session wait for each other in every operator, so one-thread workers serve more and
scatter less: with EfficientNet-Lite0 on two cores a tenth more (docs/benchmarks.md). But a query
must not take so long on one thread that it can hardly wait within the limit.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from mlbench.contracts.backend import WorkerSpec
from mlbench.contracts.device import Device
from mlbench.host.topology import Processor
from mlbench.pool.coordinator import WorkerPool
from mlbench.pool.events import PoolEvent
from mlbench.pool.local import LocalLauncher

_SHARE = 0.6
"""Of the limit that a query may take. The queue model with equal cores, more threads of which are
less than as many times as quick (a power of 0.85), gives the highest rate within the limit to
one-thread workers up to there, and to more threads beyond."""

_WARM_UP_S = 0.5


@dataclass(frozen=True)
class Division:
    """How many workers each device gets; `query_s` is what decided it, None where nothing did."""

    workers: list[int]
    query_s: float | None = None


def divide_by_time(
    devices: Sequence[Device],
    worker: WorkerSpec,
    max_latencies_s: Sequence[float],
    topology: Mapping[int, Processor],
    time_s: Callable[[WorkerSpec], float],
    quota_cores: float | None = None,
) -> Division:
    """Divide CPU devices by what a query, or a full batch, takes on one thread.

    `worker`: what all workers have alike. `max_latencies_s`: the latency limits, maybe none.
    `time_s` measures, as `time_on_one_thread` does. `quota_cores`: how many cores' time a CPU quota
    allows all devices together.
    """
    cores = [len({topology[cpu].core for cpu in device.cpus}) for device in devices]
    largest = devices[cores.index(max(cores))]
    allowed = most_threads(quota_cores, len(devices))
    cores = [min(count, allowed or count) for count in cores]
    if max(cores) < 2:
        return Division([1] * len(devices))
    query_s = time_s(replace(worker, device=largest, cores=largest.cpus))
    threads = [threads_for(query_s, max_latencies_s, max(count, 1)) for count in cores]
    workers = [max(count // own, 1) for count, own in zip(cores, threads, strict=True)]
    return Division(workers, query_s)


def most_threads(quota_cores: float | None, sharers: int) -> int | None:
    """Return how many threads each of so many should have at most under a quota; None without one.

    More threads than the quota has cores use it up early in each period, and are all stopped for
    the rest of it.
    """
    return None if quota_cores is None else max(math.ceil(quota_cores) // sharers, 1)


def threads_for(query_s: float, max_latencies_s: Sequence[float], cores: int) -> int:
    """Return how many threads a worker should have on a device of so many cores.

    They are the fewest with which a query, or a full batch, keeps well within the narrowest limit.
    `query_s`: what it takes on one thread, taken to shrink as threads grow. Limits that not even
    all cores together can keep do not count, unless there is no other.
    """
    if not max_latencies_s:
        return 1
    possible = [limit_s for limit_s in max_latencies_s if query_s / cores < limit_s]
    if not possible:
        return cores
    return min(math.ceil(query_s / (_SHARE * min(possible))), cores)


def time_on_one_thread(
    spec: WorkerSpec, timeout_s: float = 300.0, tell: Callable[[PoolEvent], None] = lambda _: None
) -> float:
    """Return the seconds that a full batch takes on one thread of the worker's first core.

    Starts a worker for that and ends it; `timeout_s`, `tell` and the errors are those of a pool.
    """
    alone = replace(spec, threads=1, cores=spec.cores[:1] if spec.cores else None)
    with WorkerPool(
        [alone], LocalLauncher(), warm_up_s=_WARM_UP_S, start_timeout_s=timeout_s, tell=tell
    ) as pool:
        return pool.service_ns[0] * 1e-9 * spec.batch_size

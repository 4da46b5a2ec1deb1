"""Warming up: caches, allocators and clocks settle before anything is measured."""

import numpy as np

from mlbench.contracts.backend import Backend, WorkerSpec, is_self_timed
from mlbench.host.clock import now_ns
from workers.feeds import Feeds

_FEWEST_CALLS = 5


def warm_up(backend: Backend, feeds: Feeds, spec: WorkerSpec, seconds: float) -> float:
    """Serve batches of every size class for about `seconds`; return nanoseconds for a query.

    The sizes are 1, 2, 4, ... up to the largest, since runtimes prepare for each new shape. The
    figure is the median call at the largest size over its items.
    """
    feeds.touch(spec.sample_count)
    if is_self_timed(backend):
        return backend.mean_service_ns(spec.batch_size) / spec.batch_size
    sizes = _sizes(spec.batch_size)
    times_ns: list[int] = []
    for size in sizes:
        samples = np.arange(size, dtype=np.uint32) % np.uint32(spec.sample_count)
        times_ns = _call(backend, feeds, samples, round(seconds / len(sizes) * 1e9))
    return float(np.median(times_ns[len(times_ns) // 2 :])) / spec.batch_size


def _sizes(largest: int) -> list[int]:
    powers = [2**power for power in range(largest.bit_length()) if 2**power < largest]
    return [*powers, largest]


def _call(
    backend: Backend, feeds: Feeds, samples: np.ndarray[tuple[int], np.dtype[np.uint32]], ns: int
) -> list[int]:
    times_ns: list[int] = []
    end_ns = now_ns() + ns
    while len(times_ns) < _FEWEST_CALLS or now_ns() < end_ns:
        start_ns = now_ns()
        backend.predict(feeds.batch(samples))
        times_ns.append(now_ns() - start_ns)
    return times_ns

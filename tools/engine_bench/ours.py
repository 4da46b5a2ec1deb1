"""Our side of the comparison: pools to play trials on, and what is read off them."""

from collections.abc import Callable
from typing import Any

from mlbench.contracts.backend import WorkerSpec
from mlbench.pool.coordinator import WorkerPool
from mlbench.pool.local import LocalLauncher
from mlbench.records import Completions, TrialRunner
from mlbench.stats.percentiles import percentile
from mlbench.trial.schedule import make_schedule, query_count

BOUND_S = 0.010


def null_pool(batch_size: int, workers: int = 1) -> WorkerPool:
    """Start null workers; the caller closes the pool."""
    specs = [
        WorkerSpec(i, "", "null", batch_size=batch_size, sample_count=500) for i in range(workers)
    ]
    return WorkerPool(specs, LocalLauncher(), warm_up_s=0.1)


def simulated_pool(
    options: dict[str, str], workers: int, *, round_robin: bool = False, **fields: Any
) -> WorkerPool:
    """Start simulated workers with these options and fields; the caller closes the pool."""
    specs = [WorkerSpec(i, "", "simulated", options=options, **fields) for i in range(workers)]
    return WorkerPool(specs, LocalLauncher(), round_robin=round_robin, warm_up_s=0.1)


def play(
    pool: TrialRunner, qps: float, seconds: float, seed: int, kind: str = "exponential"
) -> Completions:
    """Play one trial."""
    return pool.run(make_schedule(kind, qps, query_count(qps, seconds), seed))


def percentile_s(completions: Completions, p: float) -> float:
    """Return a percentile of the latency; infinite when a query got no answer."""
    if completions.completed < len(completions.status):
        return float("inf")
    return percentile(completions.latency_s, p)


def lag_s(completions: Completions, p: float) -> float:
    """Return a percentile of the time from when a query was due to its start on a device."""
    return percentile((completions.start_ns - completions.due_ns) * 1e-9, p)


def highest_held(p99_s: Callable[[float], float], start_qps: float, step: float = 1.12) -> float:
    """Climb from a rate that holds until two tries in a row miss the limit; 0 when none holds.

    `p99_s` plays a trial at a rate and returns its 99th percentile.
    """
    qps, held = start_qps, 0.0
    while p99_s(qps) > BOUND_S and p99_s(qps) > BOUND_S:
        qps /= 2
        if qps < 100:
            return 0.0
    while True:
        held, qps = qps, qps * step
        if p99_s(qps) > BOUND_S and p99_s(qps) > BOUND_S:
            return held

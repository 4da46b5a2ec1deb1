"""The schedule of a trial. Pure: the same kind, rate, count and seed give the same schedule."""

import numpy as np
from numpy.typing import NDArray

from mlbench.arrivals.kind import ArrivalKind
from mlbench.arrivals.registry import arrival_kind
from mlbench.records import Schedule


def query_count(target_qps: float, duration_s: float) -> int:
    """Return how many queries a trial has: round(qps x duration), at least one."""
    return max(1, round(target_qps * duration_s))


def make_schedule(kind: ArrivalKind | str, target_qps: float, queries: int, seed: int) -> Schedule:
    """Return a schedule of `queries` arrivals at exactly `target_qps` queries per second.

    A name stands for the kind of that name with default settings. Raises ValueError for a rate or a
    count that is not positive.
    """
    if not target_qps > 0 or queries < 1:
        raise ValueError(f"need a positive rate and count, not {target_qps} qps, {queries} queries")
    kind = arrival_kind(kind)
    due_ns = kind.due_ns(seed, target_qps, queries)
    return Schedule(kind.name, target_qps, seed, np.rint(due_ns).astype(np.int64))


def draw_samples(queries: int, sample_count: int, seed: int) -> NDArray[np.uint32]:
    """Return the sample that each query serves, uint32 (queries,), drawn by the trial's seed.

    The first one is drawn and the others follow in order, so that all samples are served equally
    often and a batch of neighbours needs no copy.
    """
    first = int(np.random.default_rng([seed, 1]).integers(sample_count))
    ids = np.arange(first, first + queries, dtype=np.uint32)
    return ids % np.uint32(sample_count)

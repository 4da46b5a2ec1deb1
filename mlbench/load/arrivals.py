"""Arrival times. Pure: the same kind, rate, count and seed give the same schedule."""

import numpy as np
from numpy.typing import NDArray

from mlbench.records import ArrivalKind, Schedule

NS_PER_S = 1_000_000_000


def query_count(target_qps: float, duration_s: float) -> int:
    """Return how many queries a trial has: round(qps x duration), at least one."""
    return max(1, round(target_qps * duration_s))


def make_schedule(kind: ArrivalKind, target_qps: float, queries: int, seed: int) -> Schedule:
    """Return a schedule of `queries` arrivals at exactly `target_qps` queries per second.

    linear: equal spacing, 1/qps. exponential: a Poisson process given its count, which is that many
    sorted uniform times (Ross, Stochastic Processes, theorem 2.3.1), stretched so that the first
    and the last are (n-1)/qps apart. Raises ValueError for a rate or a count that is not positive.
    """
    if not target_qps > 0 or queries < 1:
        raise ValueError(f"need a positive rate and count, not {target_qps} qps, {queries} queries")
    span_ns = (queries - 1) / target_qps * NS_PER_S
    if kind == "linear":
        due_ns = np.arange(queries) * (NS_PER_S / target_qps)
    else:
        due_ns = _poisson_times(queries, span_ns, np.random.default_rng(seed))
    return Schedule(kind, target_qps, seed, np.rint(due_ns).astype(np.int64))


def _poisson_times(
    queries: int, span_ns: float, rng: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    times = np.zeros(queries)
    if queries > 1:
        # Sorted uniforms without sorting: cumulated exponential gaps over their sum (Devroye, V.2).
        np.cumsum(rng.standard_exponential(queries - 1), out=times[1:])
        times *= span_ns / times[-1]
    return times


def draw_samples(queries: int, sample_count: int, seed: int) -> NDArray[np.uint32]:
    """Return the sample that each query serves, uint32 (queries,), drawn by the trial's seed.

    The first one is drawn and the others follow in order, so that all samples are served equally
    often and a batch of neighbours needs no copy.
    """
    first = int(np.random.default_rng([seed, 1]).integers(sample_count))
    ids = np.arange(first, first + queries, dtype=np.uint32)
    return ids % np.uint32(sample_count)

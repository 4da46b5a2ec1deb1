"""What the load generator itself adds to latencies: the same line, replayed without it.

The replay has the due times, the batches and the service times of a trial, and workers that take no
time for anything else. What a query really started later than there is the generator's doing,
whether it was late with this query or with one before that others had to wait for.
"""

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.queueing.line import Queue
from mlbench.queueing.replay import ideal_starts
from mlbench.records import Completions

Nanoseconds = NDArray[np.int64]


def send_lag_ns(completions: Completions, queue: Queue) -> Nanoseconds:
    """Return by how much each query started later than in the replay, int64 (n,).

    `queue`: the shape of the pool. 0 where a query got no answer.
    """
    lag_ns = np.zeros(len(completions.status), np.int64)
    answered = np.flatnonzero(completions.status != wire.LOST)
    if not completions.dealt:
        lag_ns[answered] = _lag_ns(completions, answered, queue, queue.servers)
        return lag_ns
    for worker in np.unique(completions.worker[answered]):
        own = answered[completions.worker[answered] == worker]
        lag_ns[own] = _lag_ns(completions, own, queue, 1)
    return lag_ns


def _lag_ns(c: Completions, ids: NDArray[np.int64], queue: Queue, servers: int) -> Nanoseconds:
    """Replay one line of so many servers, in which these queries waited in order."""
    due_ns, start_ns, worker = c.due_ns[ids], c.start_ns[ids], c.worker[ids]
    begins = np.ones(len(ids), bool)  # where a batch begins
    begins[1:] = (start_ns[1:] != start_ns[:-1]) | (worker[1:] != worker[:-1])
    first = np.flatnonzero(begins)
    size = np.diff(first, append=len(ids))
    ideal_ns = ideal_starts(
        due_ns,
        first,
        size,
        (c.done_ns[ids] - start_ns)[first],
        servers,
        queue.batch_size,
        round(queue.batch_timeout_s * 1e9),
    )
    lag_ns = start_ns - np.maximum(np.repeat(ideal_ns, size), due_ns)
    return np.maximum(lag_ns, 0)

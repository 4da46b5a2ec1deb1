"""What the load generator itself adds to latencies: the same line, replayed without it.

The replay has the due times, the batches and the service times of a trial, and workers that take no
time for anything else. What a query really started later than there is the generator's doing,
whether it was late with this query or with one before that others had to wait for.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.queueing.line import Queue
from mlbench.records import Completions

Rows = slice | NDArray[np.intp]


def send_lag_ns(completions: Completions, queue: Queue) -> NDArray[np.int64]:
    """Return by how much each query started later than in the replay, int64 (n,).

    `queue`: the shape of the pool; each of several hosts has its line. All servers are free at
    first; the one that is free first takes the next batch, and starts it by
    `mlbench.contracts.batching`. 0 where a query got no answer.
    """
    due_ns, lag_ns = completions.due_ns, np.zeros(len(completions.status), np.int64)
    for rows, servers in _lines(completions, queue):
        lag_ns[rows] = _line_lag_ns(completions, queue, servers, due_ns, rows)
    return lag_ns


def _lines(completions: Completions, queue: Queue) -> Iterator[tuple[Rows, int]]:
    """Yield the queries that waited in each line and were begun, and how many servers it has."""
    begun = completions.status != wire.LOST
    if completions.dealt:
        for worker in range(queue.servers):
            yield np.flatnonzero(begun & (completions.worker == worker)), 1
    elif completions.on_host is not None:
        for own in completions.host_rows():
            yield own[begun[own]], queue.of_host.servers
    else:
        # A slice selects without a copy, which ten million queries would feel.
        yield slice(None) if bool(begun.all()) else np.flatnonzero(begun), queue.servers


def _line_lag_ns(
    completions: Completions, queue: Queue, servers: int, due_ns: NDArray[np.int64], rows: Rows
) -> NDArray[np.int64]:
    """Replay one line of so many servers in which the queries of these rows waited."""
    from mlbench.queueing.loop import replay

    lag_ns = np.empty(len(due_ns[rows]), np.int64)
    replay(
        servers,
        queue.batch_size,
        round(queue.batch_timeout_s * 1e9),
        due_ns[rows],
        completions.start_ns[rows],
        completions.done_ns[rows],
        completions.worker[rows],
        lag_ns,
    )
    return lag_ns

"""What the load generator itself adds to latencies: the same line, replayed without it.

The replay has the due times, the batches and the service times of a trial, and workers that take no
time for anything else. What a query really started later than there is the generator's doing,
whether it was late with this query or with one before that others had to wait for.
"""

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.queueing.line import Queue
from mlbench.records import Completions


def send_lag_ns(completions: Completions, queue: Queue) -> NDArray[np.int64]:
    """Return by how much each query started later than in the replay, int64 (n,).

    `queue`: the shape of the pool; each of several hosts has its line. All servers are free at
    first; the one that is free first takes the next batch, and starts it by
    `mlbench.contracts.batching`. 0 where a query got no answer.
    """
    begun = completions.status != wire.LOST
    if completions.dealt:
        lines, servers = (completions.worker == number for number in range(queue.servers)), 1
    elif completions.on_host is not None:
        lines = (completions.on_host == host for host in range(queue.hosts))
        servers = queue.of_host.servers
    else:
        return _line_lag_ns(completions, queue, queue.servers, begun)
    lag_ns = np.zeros(len(completions.status), np.int64)
    for own in lines:
        lag_ns += _line_lag_ns(completions, queue, servers, own & begun)
    return lag_ns


def _line_lag_ns(
    completions: Completions, queue: Queue, servers: int, waited: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Replay one line of so many servers in which these queries waited; 0 for the others."""
    from mlbench.queueing.loop import replay

    # A slice selects without a copy, which ten million queries would feel.
    rows = slice(None) if bool(waited.all()) else waited
    due_ns = completions.due_ns[rows]
    lag_ns = np.empty(len(due_ns), np.int64)
    replay(
        servers,
        queue.batch_size,
        round(queue.batch_timeout_s * 1e9),
        due_ns,
        completions.start_ns[rows],
        completions.done_ns[rows],
        completions.worker[rows],
        lag_ns,
    )
    if isinstance(rows, slice):
        return lag_ns
    everyone_ns = np.zeros(len(waited), np.int64)
    everyone_ns[rows] = lag_ns
    return everyone_ns

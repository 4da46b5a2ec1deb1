"""What a trial would have been without the load generator's own doings."""

import numpy as np
from numpy.typing import NDArray

Nanoseconds = NDArray[np.int64]
Ids = NDArray[np.int64]


def ideal_starts(
    due_ns: Nanoseconds,
    first: Ids,
    size: Ids,
    service_ns: Nanoseconds,
    servers: int,
    batch_size: int,
    timeout_ns: int,
) -> Nanoseconds:
    """Return when each batch would have started in one line of perfect servers, int64 (m,).

    `due_ns`: int64 (n,), when each query was due, sorted. `first`, `size`: int64 (m,), batch b
    holds the queries first[b] to first[b] + size[b] - 1; batches are in the order of their first
    query. `service_ns`: int64 (m,), how long each took. All servers are free at first; the one that
    is free first takes the next batch, and starts it by `mlbench.contracts.batching`. Exact. Raises
    ValueError when a batch holds other queries than there are.
    """
    from mlbench.queueing.loop import replay

    if len(first) and (first.min() < 0 or (first + size).max() > len(due_ns) or size.min() < 1):
        raise ValueError("a batch holds one or more of the queries")
    start_ns = np.empty(len(first), dtype=np.int64)
    replay(servers, batch_size, timeout_ns, due_ns, first, size, service_ns, start_ns)
    return start_ns

"""The ideal queue: one line, whose first goes to the server that is free first, at no cost."""

import heapq

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def line_latency_s(arrive_s: Floats, service_s: ArrayLike, servers: int) -> Floats:
    """Return the latency of each query in seconds, float64 (n,), when all servers idle at first.

    `arrive_s`: float64 (n,), ascending. `service_s`: whatever broadcasts to (n, servers): a
    constant, each query's own (n, 1), or each server's own (servers,).
    """
    table = np.broadcast_to(np.asarray(service_s, float), (len(arrive_s), servers)).tolist()
    free = [(-np.inf, server) for server in range(servers)]
    latency_s = np.empty(len(arrive_s))
    for i, arrived_s in enumerate(arrive_s.tolist()):
        free_s, server = free[0]
        done_s = max(arrived_s, free_s) + table[i][server]
        heapq.heapreplace(free, (done_s, server))
        latency_s[i] = done_s - arrived_s
    return latency_s

"""The ideal queue: every query goes to the server that is free first, at no cost."""

import heapq

import numpy as np
from numpy.typing import NDArray


def k_server_latency_s(
    arrive_s: NDArray[np.float64], servers: int, service_s: float
) -> NDArray[np.float64]:
    """Return the latency of each query, float64 (n,), for equal servers of constant service."""
    free_s = [0.0] * servers
    latency_s = np.empty(len(arrive_s))
    for i, arrived_s in enumerate(arrive_s.tolist()):
        done_s = max(arrived_s, free_s[0]) + service_s
        heapq.heapreplace(free_s, done_s)
        latency_s[i] = done_s - arrived_s
    return latency_s

"""The queue model: a simulated queue and its capacity, of use without a search or a trial.

    from mlbench.outcomes import LatencyLimit
    from mlbench.queueing import Effort, Queue, ServiceTimes, predict_capacity

    times = ServiceTimes.sampled(seconds)  # measured service times, float64 (m,)
    limit = LatencyLimit(percentile=99, max_latency_s=0.050)
    effort = Effort(resamples=32)
    found = predict_capacity(Queue(servers=2), times, "exponential", limit, effort=effort)
    if found is not None:
        print(f"{found.qps:.1f} qps, standard error {found.error:.1%}")

`line_latencies` computes the latencies of given arrivals.
"""

from mlbench.queueing.capacity import Capacity, Effort, predict_capacity
from mlbench.queueing.line import MeanTimes, Queue, divided_latencies, line_latencies
from mlbench.queueing.service import ServiceTimes

__all__ = [
    "Capacity",
    "Effort",
    "MeanTimes",
    "Queue",
    "ServiceTimes",
    "divided_latencies",
    "line_latencies",
    "predict_capacity",
]

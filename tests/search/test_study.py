"""A small study: searches with different seeds on one system, against its known answer."""

import numpy as np

from mlbench.arrivals.exponential import Exponential
from mlbench.pool.virtual import SimulatedService, VirtualPool
from mlbench.queueing.line import Queue
from mlbench.search.plan import SearchPlan
from mlbench.search.search import Search
from mlbench.trial.schedule import make_schedule

TRUE_QPS = 259.2  # M/G/1, lognormal 2 ms, cv 0.3, p99 <= 10 ms, from 4 million queries


def _search(seed: int) -> tuple[float, tuple[float, float], float]:
    plan = SearchPlan((Exponential(),), (0.010,), 99.0, 10.0, 38.0, 0.002, seed, Queue(), 400.0)
    search, pool = Search(plan), VirtualPool(SimulatedService(0.002, cv=0.3), seed=seed)
    while (request := search.next()) is not None:
        schedule = make_schedule(request.kind, request.target_qps, request.queries, request.seed)
        search.record(request, pool.run(schedule, request.max_backlog_s))
    answer = search.answers()["exponential"][0.010]
    assert answer.capacity_qps is not None
    assert answer.capacity_ci95 is not None
    return answer.capacity_qps, answer.capacity_ci95, answer.qps


def test_estimates_are_right_and_know_their_error() -> None:
    """From 10,000 queries: within 1 % in the median, nearly always in the interval."""
    found = [_search(seed) for seed in range(4)]
    errors = np.array([capacity / TRUE_QPS - 1 for capacity, _, _ in found])
    assert np.median(np.abs(errors)) < 0.01
    assert sum(low <= TRUE_QPS <= high for _, (low, high), _ in found) >= 3
    assert all(0.8 * TRUE_QPS < qps < TRUE_QPS for _, _, qps in found)

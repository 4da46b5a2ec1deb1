"""The search on several hosts in virtual time, against what theory says of their queues."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from mlbench.arrivals.registry import arrival_kind
from mlbench.cluster.split import Outcome, divide, merge
from mlbench.outcomes import Answer, LatencyLimit
from mlbench.pool.virtual import SimulatedService, VirtualPool
from mlbench.queueing import Queue, ServiceTimes, predict_capacity
from mlbench.queueing.split import split_of
from mlbench.records import Completions, Schedule
from mlbench.search.plan import SearchPlan
from mlbench.search.search import Search
from mlbench.trial.schedule import make_schedule

LIMIT_S = 0.010


class VirtualCluster:
    """Virtual hosts with one device each, of so many seconds."""

    def __init__(self, services_s: Sequence[float], queue: Queue, seed: int) -> None:
        self._split = queue.split
        self._pools = [
            VirtualPool(SimulatedService(seconds), queue.of_host, seed=seed + host)
            for host, seconds in enumerate(services_s)
        ]

    def run(self, schedule: Schedule, max_backlog_s: float = math.inf) -> Completions:
        """Play each host's part, and put them together."""
        rule = split_of(self._split, schedule.kind)
        samples = np.zeros(len(schedule.due_ns), np.uint32)
        divided = divide(schedule, samples, len(self._pools), rule)
        outcomes = []
        for host, pool in enumerate(self._pools):
            part = divided.part(host)
            played = part and pool.run(part.schedule, max_backlog_s)
            outcomes.append(Outcome(f"h{host}", ("virtual",), played))
        return merge(divided, outcomes, round(max(pool.now_s for pool in self._pools) * 1e9))


def _answer(kind: str, services_s: Sequence[float], split=None) -> Answer:
    queue = Queue(len(services_s), hosts=len(services_s), split=split)
    kinds = (arrival_kind(kind),)
    guess_qps = 0.9 * len(services_s) / max(services_s)
    plan = SearchPlan(kinds, (LIMIT_S,), 99.0, 10.0, 60.0, 0.02, 1, queue, guess_qps)
    search, pool = Search(plan), VirtualCluster(services_s, queue, 1)
    while (request := search.next()) is not None:
        schedule = make_schedule(request.kind, request.target_qps, request.queries, request.seed)
        search.record(request, pool.run(schedule, request.max_backlog_s))
    return search.answers()[kind][LIMIT_S]


def test_random_queries_get_three_times_the_exact_answer() -> None:
    """Three constant devices of 2 ms are three M/D/1 queues: 3 x 280.39 = 841.2 qps, within 1 %."""
    answer = _answer("exponential", [0.002] * 3)
    assert answer.capacity_qps == pytest.approx(841.2, rel=0.01)
    assert answer.qps is not None
    assert answer.qps < 841.2


def test_hosts_in_turn_get_what_the_model_says() -> None:
    """Hosts that take turns hold more than with random queries, by the model of E3/D/1."""
    answer = _answer("exponential", [0.002] * 3, "round-robin")
    queue, limit = Queue(3, hosts=3, split="round-robin"), LatencyLimit(99, LIMIT_S)
    truth = predict_capacity(queue, ServiceTimes.constant(0.002), "exponential", limit)
    assert answer.capacity_qps == pytest.approx(truth.qps, rel=0.01)
    assert truth.qps > 1.2 * 841.2


def test_equal_gaps_saturate_all_hosts() -> None:
    """Linear arrivals in turn are met up to the rate of all hosts together."""
    answer = _answer("linear", [0.002] * 3)
    assert answer.capacity_qps == pytest.approx(1500, rel=0.01)


def test_a_slow_host_is_told_and_decides() -> None:
    """One of three takes 1.5 times as long: its queue alone is late, and a finding names it."""
    answer = _answer("exponential", [0.002, 0.003, 0.002])
    (found,) = [one for one in answer.findings if one.code == "unlike_hosts"]
    assert found.figures["slowest"] == 1
    assert found.figures["ratio"] == pytest.approx(1.5, rel=0.02)
    assert answer.capacity_qps is not None
    # All late queries are the slow host's, of which three in a hundred may be.
    limit = LatencyLimit(97, LIMIT_S)
    alone = predict_capacity(Queue(), ServiceTimes.constant(0.003), "exponential", limit)
    assert answer.capacity_qps == pytest.approx(3 * alone.qps, rel=0.02)

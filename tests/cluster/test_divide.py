"""A schedule is divided among hosts, and their outcomes become one trial again."""

from collections.abc import Sequence
from dataclasses import replace

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from mlbench.cluster.split import NOBODY, Divided, Outcome, divide, merge
from mlbench.contracts import wire
from mlbench.contracts.findings import Finding
from mlbench.outcomes import LatencyLimit
from mlbench.pool.virtual import SimulatedService, VirtualPool
from mlbench.queueing.line import Queue
from mlbench.records import Completions, HostAccount
from mlbench.trial.replay import send_lag_ns
from mlbench.trial.schedule import make_schedule
from mlbench.trial.verdict import find_overload, judge

START_NS = 10**12


def _divided(queries: int = 900, hosts: int = 3, split="random", qps: float = 300.0) -> Divided:
    schedule = make_schedule("exponential", qps, queries, seed=4)
    return divide(schedule, np.arange(queries, dtype=np.uint32), hosts, split)


def _play(divided: Divided, servers: int = 2, service_s: Sequence[float] = ()) -> list[Completions]:
    """Play each host's part in virtual time, which begins elsewhere on each."""
    played = []
    for host, own in enumerate(divided.ids):
        part, service = (
            divided.part(host),
            SimulatedService(service_s[host] if service_s else 0.004),
        )
        assert part is not None
        played.append(VirtualPool(service, Queue(servers), seed=host).run(part.schedule))
        assert len(played[-1].status) == len(own)
    return [_moved(one, (host + 1) * 10**15) for host, one in enumerate(played)]


def _moved(one: Completions, by_ns: int) -> Completions:
    """Return the same on a clock that shows more."""
    return replace(
        one,
        start_of_trial_ns=one.start_of_trial_ns + by_ns,
        **{name: getattr(one, name) + by_ns for name in ("sent_ns", "start_ns", "done_ns")},
    )


def _outcomes(played: Sequence[Completions | None], servers: int = 2) -> list[Outcome]:
    devices = tuple(f"cpu:{n}" for n in range(servers))
    return [Outcome(f"h{host}", devices, one) for host, one in enumerate(played)]


@hypothesis.given(
    queries=st.integers(1, 300),
    hosts=st.integers(1, 12),
    split=st.sampled_from(["random", "round-robin"]),
)
def test_every_query_goes_to_one_host(queries: int, hosts: int, split) -> None:
    """The parts hold each query once, in order, with its due time and its sample."""
    divided = _divided(queries, hosts, split)
    assert sorted(np.concatenate(divided.ids).tolist()) == list(range(queries))
    for host, own in enumerate(divided.ids):
        part = divided.part(host)
        assert (part is None) == (len(own) == 0)
        if part is not None:
            assert np.array_equal(part.schedule.due_ns, divided.schedule.due_ns[own])
            assert np.array_equal(part.samples, own)
            assert (divided.on_host[own] == host).all()


def test_latencies_are_those_of_the_hosts() -> None:
    """Whatever the hosts' clocks show, merging leaves each query its latency, batch and worker."""
    divided = _divided()
    played = _play(divided)
    merged = merge(divided, _outcomes(played), START_NS)
    assert merged.completed == 900
    assert merged.start_of_trial_ns == START_NS
    latency_ns = merged.done_ns - merged.due_ns
    for host, (own, one) in enumerate(zip(divided.ids, played, strict=True)):
        assert np.array_equal(latency_ns[own], one.done_ns - one.due_ns)
        assert np.array_equal(merged.worker[own], one.worker + 2 * host)
    assert [account.device for account in merged.workers][:3] == [
        "h0/cpu:0",
        "h0/cpu:1",
        "h1/cpu:0",
    ]
    assert sum(account.queries for account in merged.workers) == 900


def test_replay_knows_the_hosts() -> None:
    """Virtual hosts add no lag, which a replay with one line for all would not find."""
    divided = _divided(qps=900.0)
    merged = merge(divided, _outcomes(_play(divided)), START_NS)
    assert send_lag_ns(merged, Queue(6, hosts=3)).max() == 0
    assert send_lag_ns(replace(merged, on_host=None), Queue(6)).max() > 0


def test_a_lost_host_leaves_lost_queries() -> None:
    """Its queries that were due by the end are lost, nobody's, and the fault names it."""
    divided = _divided()
    played: list[Completions | None] = [*_play(divided)]
    played[1] = None
    fault = Finding("host_lost", {"host": "h1", "reason": "is silent"})
    merged = merge(divided, _outcomes(played), START_NS, end=600, faults=[fault])
    assert len(merged.status) == 600
    lost = merged.status == wire.LOST
    assert np.array_equal(lost, divided.on_host[:600] == 1)
    assert (merged.worker[lost] == NOBODY).all()
    assert not merged.start_ns[lost].any()
    assert merged.cut_short
    judged = judge(merged, LatencyLimit(99, 1.0), Queue(6, hosts=3), np.zeros(600, np.int64))
    assert judged.verdict == "invalid"
    assert judged.reasons == (fault,)


def test_an_early_end_on_one_host_is_the_end() -> None:
    """The trial ends with the first query that some host did not play; no later one counts."""
    divided = _divided()
    played = _play(divided)
    short = played[2]
    kept = 100
    columns = ("sent_ns", "start_ns", "done_ns", "worker", "batch", "status")
    played[2] = replace(
        short,
        schedule=replace(short.schedule, due_ns=short.schedule.due_ns[:kept]),
        cut_short=True,
        **{name: getattr(short, name)[:kept] for name in columns},
    )
    merged = merge(divided, _outcomes(played), START_NS)
    assert len(merged.status) == divided.ids[2][kept]
    assert merged.cut_short
    assert sum(account.queries for account in merged.workers) == len(merged.status)


def test_faults_are_told_with_their_host() -> None:
    """A worker that fails on a host is named with it, by its number among all workers."""
    divided = _divided()
    played = _play(divided)
    figures = {"worker": 1, "device": "cpu:1", "reason": "ended", "held": 3}
    played[2] = replace(played[2], faults=(Finding("worker_lost", figures),))
    (fault,) = merge(divided, _outcomes(played), START_NS).faults
    assert fault.figures == {**figures, "worker": 5, "host": "h2"}


def test_a_host_that_falls_behind_is_named() -> None:
    """One slow host among three is overloaded, though the others idle."""
    divided = _divided(3000, qps=600.0)
    queue = Queue(3, hosts=3)
    merged = merge(divided, _outcomes(_play(divided, 1, [0.002, 0.006, 0.002]), 1), START_NS)
    overload = find_overload(merged, queue)
    assert overload is not None
    assert overload.certain
    assert overload.finding.figures["host"] == "h1"
    alike = merge(divided, _outcomes(_play(divided, 1, [0.002] * 3), 1), START_NS)
    assert find_overload(alike, queue) is None


def test_hosts_accounts_are_kept_and_summed() -> None:
    """Counts of all hosts are sums, what one host does not know is unknown, each stays by name."""
    divided = _divided()
    accounts = [
        HostAccount(major_faults=1, cpu_mhz=2000.0),
        HostAccount(major_faults=2, cpu_mhz=3000.0),
        HostAccount(major_faults=4),
    ]
    played = [replace(one, host=a) for one, a in zip(_play(divided), accounts, strict=True)]
    host = merge(divided, _outcomes(played), START_NS).host
    assert host is not None
    assert host.major_faults == 7
    assert host.cpu_mhz is None
    assert [name for name, _ in host.parts] == ["h0", "h1", "h2"]
    assert [part for _, part in host.parts] == accounts


@pytest.mark.parametrize("split", ["random", "round-robin"])
def test_hosts_without_queries_are_idle(split) -> None:
    """With fewer queries than hosts some have none, and the account is whole."""
    divided = _divided(2, 5, split)
    service = SimulatedService(0.001)
    parts = [divided.part(host) for host in range(5)]
    played = [part and VirtualPool(service, Queue(2)).run(part.schedule) for part in parts]
    merged = merge(divided, _outcomes(played), START_NS)
    assert merged.completed == 2
    assert len(merged.workers) == 10

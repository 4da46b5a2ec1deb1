"""A host without a cluster around it: its pool plays parts when it is told to."""

import math
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from mlbench.cluster.host import Failed, Host, Opened
from mlbench.cluster.split import Part
from mlbench.contracts.backend import WorkerSpec
from mlbench.contracts.errors import RequestError
from mlbench.host.clock import now_ns
from mlbench.pool.coordinator import WorkerPool
from mlbench.pool.local import LocalLauncher
from mlbench.trial.schedule import make_schedule

MS = 1_000_000


def _open(_paths, _number, _query_s, _tell) -> Opened:
    specs = [WorkerSpec(n, "", "simulated", options={"service_ms": "1"}) for n in (0, 1)]
    return Opened(WorkerPool(specs, LocalLauncher(), warm_up_s=0.05), None)


def _refuse(_paths, _number, _query_s, tell) -> Opened:
    tell("it began")
    raise RequestError("device cuda:7: this machine shows no NVIDIA GPU")


def _part(queries: int = 100, qps: float = 500.0) -> Part:
    schedule = make_schedule("linear", qps, queries, seed=1)
    return Part(schedule, np.zeros(queries, np.uint32))


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A host whose pool is open; somebody keeps asking whether it lives."""
    one, over = Host(), threading.Event()

    def beat_on() -> None:
        while not over.wait(0.5):
            one.beat()

    threading.Thread(target=beat_on, daemon=True).start()
    one.open(_open, 0, None)
    yield one
    one.close()
    over.set()


def _playing(host: Host, trial: int, part: Part) -> "Future[object]":
    pool = ThreadPoolExecutor(1)
    future = pool.submit(host.play, trial, part, math.inf)
    pool.shutdown(wait=False)
    return future


def test_a_part_starts_when_it_is_told_to(host) -> None:
    """Nothing is served before the start that all agreed on, and everything after it."""
    playing = _playing(host, 1, _part())
    host.ready(1)
    start_ns = now_ns() + 100 * MS
    assert host.go(1, start_ns) == 0
    played = playing.result(timeout=20)
    assert played.start_of_trial_ns == start_ns
    assert played.completed == 100
    assert played.start_ns.min() >= start_ns


def test_a_late_word_is_told(host) -> None:
    """A start that is over already is now, and it is told by how much it is late."""
    playing = _playing(host, 2, _part(10))
    host.ready(2)
    assert 50 * MS <= host.go(2, now_ns() - 50 * MS) < 10_000 * MS
    assert playing.result(timeout=20).completed == 10


def test_a_part_ends_early_without_a_fault(host) -> None:
    """Told to end, a host returns what was due by then, as a trial that was cut short."""
    playing = _playing(host, 3, _part(100_000))
    host.ready(3)
    host.go(3, now_ns())
    host.end(3)
    played = playing.result(timeout=20)
    assert played.cut_short
    assert played.faults == ()
    assert len(played.status) < 100_000


def test_a_part_may_end_before_it_starts(host) -> None:
    """When another host is lost before the start, the part is over without one."""
    playing = _playing(host, 4, _part())
    host.ready(4)
    host.end(4)
    assert playing.result(timeout=20).cut_short


def test_a_wrong_request_is_told_in_words() -> None:
    """What a host cannot do comes back as its message, and what it told before with a beat."""
    host = Host()
    try:
        answer = host.open(_refuse, 0, None)
        assert answer == Failed("request", "device cuda:7: this machine shows no NVIDIA GPU")
        assert host.beat().told == ("it began",)
        assert host.beat().told == ()
    finally:
        host.close()


def test_hosts_tell_their_versions() -> None:
    """What has to be the same everywhere is told: mlbench, Python, and the runtime of a backend."""
    host = Host()
    try:
        versions = host.facts("onnxruntime").versions
        assert versions.keys() == {"mlbench", "python", "onnxruntime"}
        assert host.facts("simulated").versions.keys() == {"mlbench", "python"}
    finally:
        host.close()

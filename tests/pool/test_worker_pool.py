import signal

import numpy as np
import pytest

from mlbench.contracts.backend import WorkerSpec
from mlbench.contracts.errors import MlbenchError, RequestError
from mlbench.host.signals import Ended
from mlbench.pool.events import TrialUnderWay
from mlbench.pool.local import LocalHandle
from mlbench.pool.trial_play import TrialPlay
from mlbench.queueing.line import Queue
from mlbench.records import HostAccount
from mlbench.trial.replay import send_lag_ns
from mlbench.trial.schedule import make_schedule

MS = 1_000_000


@pytest.fixture
def samples(tmp_path):
    """Return a function that saves samples for an input and returns the feeds."""

    def save(name, values):
        np.save(tmp_path / f"{name}.npy", values)
        return {name: str(tmp_path / f"{name}.npy")}

    return save


def _onnx_spec(model, feeds, count, **fields):
    return WorkerSpec(
        0, "", "onnxruntime", model=str(model), feeds=feeds, sample_count=count, **fields
    )


@pytest.mark.parametrize("batch_size", [1, 3])
def test_samples_are_drawn_by_the_seed(start_pool, models, samples, batch_size):
    """Samples go around from one that the seed draws, and each query is answered for its own."""
    scores = np.eye(4, dtype=np.float32)[[2, 0, 3, 1]]
    spec = _onnx_spec(models["classifier"], samples("scores", scores), 4, batch_size=batch_size)
    pool, firsts = start_pool([spec]), set()
    for seed in range(8):
        completions = pool.run(make_schedule("linear", 5_000.0, 42, seed))
        assert completions.completed == 42
        first = int(completions.sample[0])
        firsts.add(first)
        assert completions.sample.tolist() == [(first + i) % 4 for i in range(42)]
        assert completions.prediction.tolist() == [(2, 0, 3, 1)[i] for i in completions.sample]
    assert len(firsts) > 1


def test_each_sample_can_be_served_once(start_pool, models, samples):
    """What each query serves can be told instead of drawn, as the accuracy stage does."""
    scores = np.eye(4, dtype=np.float32)[[2, 0, 3, 1]]
    pool = start_pool([_onnx_spec(models["classifier"], samples("scores", scores), 4)])
    schedule = make_schedule("linear", 5_000.0, 4, seed=0)
    completions = pool.run(schedule, samples=np.arange(4, dtype=np.uint32))
    assert completions.prediction.tolist() == [2, 0, 3, 1]


def test_a_query_that_raises_is_failed(start_pool, models, samples):
    """What the backend cannot compute counts as failed, and the worker goes on."""
    spec = _onnx_spec(models["lookup"], samples("index", np.array([1, 99])), 2)
    pool = start_pool([spec])
    completions = pool.run(make_schedule("linear", 500.0, 20, seed=0))
    assert (completions.completed, completions.failed, completions.lost) == (10, 10, 0)
    assert (completions.prediction[completions.sample == 0] == 11).all()
    assert completions.faults == ()


def test_a_model_that_cannot_be_loaded_is_a_bad_request(start_pool, tmp_path):
    """A worker that cannot load its model says why, and the pool never opens."""
    (tmp_path / "garbage.onnx").write_bytes(b"no model")
    with pytest.raises(RequestError, match=r"garbage\.onnx: it is damaged, or no ONNX file"):
        start_pool([_onnx_spec(tmp_path / "garbage.onnx", {}, 1)])


def test_a_model_that_fails_at_its_first_query_says_why(start_pool, models, samples):
    """A model that cannot answer even the warm-up ends with the runtime's own reason."""
    spec = _onnx_spec(models["lookup"], samples("index", np.array([99])), 1)
    with pytest.raises(MlbenchError, match="Gather"):
        start_pool([spec])


def test_nobody_watches_the_host_after_a_trial(start_pool, simulated_specs, monkeypatch):
    """Whatever ends a trial, the watching that began with it ends, too."""
    told = []

    def begin(_pids):
        told.append("begin")
        return lambda: told.append("end") or HostAccount(major_faults=3)

    pool = start_pool(simulated_specs(), host_account=begin)
    schedule = make_schedule("linear", 1_000.0, 10, seed=0)
    assert pool.run(schedule).host == HostAccount(major_faults=3)

    def interrupted(_play):
        raise Ended(signal.SIGINT)

    monkeypatch.setattr(TrialPlay, "play", interrupted)
    with pytest.raises(Ended):
        pool.run(schedule)
    assert told == ["begin", "end"] * 2


def test_backends_describe_themselves_to_the_pool(start_pool, simulated_specs):
    """The pool knows what every worker runs."""
    pool = start_pool(simulated_specs(workers=2, service_ms="2,4"))
    assert [pool.backends[i]["service_ms"] for i in (0, 1)] == [2.0, 4.0]
    assert pool.service_ns == [2.0 * MS, 4.0 * MS]
    assert pool.saturated_qps == pytest.approx(750.0)


def test_mixed_speeds_get_what_they_can_serve(shared_pools):
    """At 90 % of what a slow and a fast worker can do together, neither gets more than it can."""
    pool = shared_pools(workers=2, service_ms="1,4")
    completions = pool.run(make_schedule("linear", 1_125.0, 1_125, seed=0))
    fast, slow = (account.queries for account in completions.workers)
    assert completions.completed == 1_125
    assert fast <= 1_010
    assert slow <= 260


def test_two_workers_are_one_line(shared_pools):
    """Two workers of 2 ms do as an ideal queue with two servers does with the same arrivals."""
    pool = shared_pools(workers=2, service_ms=2)
    completions = pool.run(make_schedule("exponential", 700.0, 1_400, seed=4))
    taken_ns = completions.done_ns - completions.due_ns - send_lag_ns(completions, Queue(2))
    assert np.percentile(taken_ns, 99) <= 1.01 * np.percentile(_one_line(completions), 99)


def test_one_line_beats_taking_turns(shared_pools, start_pool, simulated_specs):
    """Where one worker is four times slower, taking turns makes the slowest queries slower."""
    schedule = make_schedule("exponential", 350.0, 350, seed=4)
    turns = start_pool(simulated_specs(workers=2, service_ms="1,4"), round_robin=True)
    line = shared_pools(workers=2, service_ms="1,4")
    late_s = [np.percentile(pool.run(schedule).latency_s, 99) for pool in (line, turns)]
    assert late_s[0] < late_s[1]


def _one_line(completions):
    """Return the times that an ideal queue with two servers takes for the very same queries."""
    free_ns, taken_ns = [0, 0], []
    for due_ns in completions.due_ns.tolist():
        done_ns = max(due_ns, free_ns[0]) + 2 * MS
        free_ns = sorted([free_ns[1], done_ns])
        taken_ns.append(done_ns - due_ns)
    return taken_ns


def test_a_partial_batch_waits_for_the_timeout_and_no_longer(shared_pools):
    """A batch that does not fill starts when its oldest query has waited for the timeout."""
    timeout_ns = 30 * MS
    pool = shared_pools(batch_size=8, timeout_ns=timeout_ns, service_ms=1)
    completions = pool.run(make_schedule("linear", 100.0, 40, seed=0))
    starts_ns, first = np.unique(completions.start_ns, return_index=True)
    lag_ns = send_lag_ns(completions, Queue(1, 8, timeout_ns * 1e-9))
    assert (completions.batch == 4).all()
    assert (starts_ns - completions.due_ns[first] - lag_ns[first] == timeout_ns).all()


def test_a_full_batch_does_not_wait(shared_pools):
    """A batch that is full starts at once, however long the timeout is."""
    pool = shared_pools(batch_size=4, timeout_ns=20_000 * MS, service_ms=1)
    completions = pool.run(make_schedule("linear", 1_000.0, 40, seed=0))
    assert (completions.batch == 4).all()
    assert completions.latency_s.max() < 10


def test_a_trial_accounts_for_itself(shared_pools):
    """Frames, the coordinator's and the workers' busy fractions and return times are told."""
    completions = shared_pools(service_ms=2).run(make_schedule("linear", 250.0, 100, seed=0))
    assert 0 < completions.frames <= 100
    assert 0 < completions.coordinator_busy <= 1
    (account,) = completions.workers
    assert account.queries == 100
    assert account.busy_fraction == pytest.approx(0.5, abs=0.1)
    assert (completions.returned_ns >= completions.done_ns).all()


def test_the_host_is_watched_during_each_trial(start_pool, simulated_specs):
    """The account of the host begins with the workers' pids and ends with the trial."""
    told = []

    def watch(pids):
        told.append(list(pids))
        return lambda: "the account"

    pool = start_pool(simulated_specs(service_ms=1), host_account=watch)
    completions = pool.run(make_schedule("linear", 100.0, 5, seed=0))
    assert told == [pool.pids]
    assert completions.host == "the account"


def test_cores_are_the_workers_own(start_pool):
    """A worker that is given a core runs there and nowhere else."""
    import os

    core = max(os.sched_getaffinity(0))
    pool = start_pool([WorkerSpec(0, "", "null", cores=(core,))])
    assert os.sched_getaffinity(pool.pids[0]) == {core}


def test_workers_have_one_deadline_to_leave(start_pool, simulated_specs, monkeypatch):
    """However many workers hang, closing a pool takes no longer than for one."""
    stop, deadlines = LocalHandle.stop, []

    def noting(handle, deadline_ns):
        deadlines.append(deadline_ns)
        stop(handle, deadline_ns)

    monkeypatch.setattr(LocalHandle, "stop", noting)
    start_pool(simulated_specs(workers=3)).close()
    assert len(deadlines) == 3
    assert len(set(deadlines)) == 1


def test_a_trial_is_told_while_it_is_played(start_pool, simulated_specs):
    """A few times a second, with figures that grow, and nothing is told of it afterwards."""
    told = []
    pool = start_pool(simulated_specs(workers=2, service_ms=2), tell=told.append)
    pool.run(make_schedule("linear", 200.0, 200, seed=1))
    seen = [event for event in told if isinstance(event, TrialUnderWay)]
    assert 2 <= len(seen) <= 6
    answered = [event.answered for event in seen]
    assert answered == sorted(answered)
    assert {(event.queries, len(event.busy)) for event in seen} == {(200, 2)}
    assert seen[-1].latency_s.min() > 0

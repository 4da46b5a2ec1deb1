"""Saved trials: what was saved comes back, and what is damaged is refused."""

from dataclasses import replace

import numpy as np
import pytest

from mlbench.arrivals.exponential import Exponential
from mlbench.bench.sweep.trial_file import SavedTrial, load_trial, save_trial
from mlbench.contracts.errors import RequestError
from mlbench.contracts.findings import Finding
from mlbench.host.clock import now_ns
from mlbench.outcomes import TrialRequest
from mlbench.pool.virtual import SimulatedService, VirtualPool
from mlbench.records import CoreShare, GpuAccount, HostAccount
from mlbench.trial.schedule import make_schedule

REQUEST = TrialRequest(Exponential(), 100.0, 300, 7, 0.05, 0.5)


@pytest.fixture
def trial():
    """A trial of 300 queries with an account of the host, as a real pool gives."""
    pool = VirtualPool(SimulatedService(0.005, cv=0.3))
    pool._now_ns = now_ns()
    completions = pool.run(make_schedule(REQUEST.kind, REQUEST.target_qps, 300, REQUEST.seed))
    host = HostAccount(
        all_cores=CoreShare((0, 1), 0.1),
        device_cores=(CoreShare((0,), 0.2, 0.1),),
        cpu_mhz=2_500.5,
        gpus=(GpuAccount(0, 60, 1_500, 1 << 30, ("heat",), 1_400, 61, 5, 1),),
    )
    faults = (Finding("worker_paused", {"worker": 1, "device": "cpu"}),)
    return SavedTrial(3, REQUEST, replace(completions, host=host, faults=faults, frames=5))


def test_a_trial_comes_back_as_it_was(tmp_path, trial):
    """Columns, host, faults and request are those saved; only the start is counted anew."""
    save_trial(tmp_path / "1.npz", trial)
    back = load_trial(tmp_path / "1.npz", [Exponential()])
    assert (back.round, back.request) == (3, REQUEST)
    one, two = trial.completions, back.completions
    for name in ("worker", "batch", "status"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    np.testing.assert_array_equal(one.schedule.due_ns, two.schedule.due_ns)
    np.testing.assert_allclose(one.latency_s, two.latency_s)
    np.testing.assert_array_equal(one.done_ns - one.start_ns, two.done_ns - two.start_ns)
    assert (one.host, one.faults, one.frames, one.workers) == (
        two.host,
        two.faults,
        two.frames,
        two.workers,
    )
    assert (two.sample, two.returned_ns, two.cut_short) == (None, None, False)


def test_after_a_restart_of_the_machine_a_trial_is_as_long_ago(tmp_path, trial, monkeypatch):
    """Trials are placed on the monotonic clock by the wall clock, for the former begins anew."""
    save_trial(tmp_path / "1.npz", trial)
    ago_ns = now_ns() - trial.completions.start_of_trial_ns
    monkeypatch.setattr("mlbench.bench.sweep.trial_file.now_ns", lambda: 1_000)
    back = load_trial(tmp_path / "1.npz", [Exponential()]).completions
    assert 1_000 - back.start_of_trial_ns == pytest.approx(ago_ns, abs=2e9)


def test_a_damaged_trial_is_refused(tmp_path, trial):
    """A file that was cut or changed is one line that says which, whatever is wrong with it."""
    path = tmp_path / "1.npz"
    save_trial(path, trial)
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes(255 - b for b in content[middle : middle + 9])
    for damaged in (b"", b"PK", content[:middle], flipped + content[middle + 9 :]):
        path.write_bytes(damaged)
        with pytest.raises(RequestError, match=r"1\.npz: damaged"):
            load_trial(path, [Exponential()])


def test_columns_of_other_lengths_are_refused(tmp_path, trial):
    """Columns that do not belong together are no trial."""
    path = tmp_path / "1.npz"
    save_trial(path, trial)
    with np.load(path) as file:
        columns = dict(file)
    for wrong in (columns["worker"][:-1], columns["worker"].astype(float)):
        np.savez(path, **{**columns, "worker": wrong})
        with pytest.raises(RequestError, match="damaged"):
            load_trial(path, [Exponential()])

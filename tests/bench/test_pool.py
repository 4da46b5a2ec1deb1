from types import SimpleNamespace

import pytest

from mlbench.bench import pool
from mlbench.bench.settings import TrialSettings, make_settings
from mlbench.contracts.backend import WorkerSpec
from mlbench.contracts.device import Device
from mlbench.records import BusyProcess, CoreShare, HostAccount

HOG = BusyProcess(41, "hog", 0.9)


@pytest.fixture
def open_watched(monkeypatch):
    """Open a pool of two workers whose host does as told; return its watch and what it asked."""

    def open_(host, backend="null"):
        asked = []
        monkeypatch.setattr(pool, "WorkerPool", lambda *_, **options: options["host_account"])
        monkeypatch.setattr(pool, "whole_cores", lambda cores: (*cores, 9))
        monkeypatch.setattr(pool, "watch_host", lambda *what: asked.append(what) or (lambda: host))
        monkeypatch.setattr(pool, "name_busy", lambda *what: asked.append(what) or (HOG,))
        specs = (
            WorkerSpec(0, "", backend, device=Device("cpu:1", cpus=(1,)), cores=(1,)),
            WorkerSpec(1, "", backend, device=Device("cuda:0", 0)),
        )
        settings = make_settings(TrialSettings, {"qps": 1.0, "backend": backend}, {})
        return pool.open_pool(SimpleNamespace(specs=specs), settings, print), asked

    return open_


def test_workers_and_gpus_are_watched(open_watched):
    """Each worker's process is watched with the whole cores that it is pinned to, if it is."""
    quiet = HostAccount(CoreShare((0, 1, 9), 0.2), (CoreShare((1, 9), 0.1),))
    watch, asked = open_watched(quiet)
    assert watch([70, 71])() == quiet
    assert asked == [({70: (1, 9), 71: None}, {0})]


def test_busy_programs_are_named_after_a_disturbed_trial(open_watched):
    """They are looked for on the cores that were disturbed, and only then."""
    watch, asked = open_watched(HostAccount(CoreShare((0, 1), 0.1), (CoreShare((1,), 0.5),)))
    assert watch([70, 71])().busy_processes == (HOG,)
    assert asked[1:] == [((1,), [70, 71])]


def test_a_device_with_its_own_clockwork_is_not_watched(open_watched):
    """Whatever else the host does, it is as quick as before."""
    watch, _ = open_watched(HostAccount(), backend="simulated")
    assert watch is None

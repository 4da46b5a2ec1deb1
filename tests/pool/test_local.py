import sys

import pytest

from mlbench.contracts.backend import WorkerSpec
from mlbench.contracts.device import Device
from mlbench.pool import local

TELL = "import os; print('sees', os.environ.get('CUDA_VISIBLE_DEVICES'))"


@pytest.mark.parametrize(
    ("device", "sees"), [(Device("cuda:0", 0), "2"), (Device("cuda:1", 1), "GPU-8f1c")]
)
def test_a_worker_sees_only_its_own_gpu(monkeypatch, capfd, device, sees):
    """The worker of the second GPU that is shown gets that one alone, by the name CUDA knows."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-8f1c")
    monkeypatch.setattr(local, "_COMMAND", [sys.executable, "-c", TELL])
    # A stand-in that pytest's capture cannot redirect would have no file number.
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    handle = local.LocalLauncher().start(WorkerSpec(0, "", "null", device=device))
    handle.stop()
    assert f"sees {sees}\n" in capfd.readouterr().err

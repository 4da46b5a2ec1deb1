from pathlib import Path

import pytest

from mlbench.host import energy
from mlbench.host.energy import EnergyMeter
from mlbench.host.nvml import NotToldError
from mlbench.records import Energy


def _play_back(monkeypatch, readings: dict[int, list[float]]) -> None:
    """Let each GPU's counter tell these joules, one after the other."""
    left = {index: iter(joules) for index, joules in readings.items()}
    monkeypatch.setattr(energy, "read_energy_j", lambda index: next(left[index]))


def test_cpus_and_gpus_are_added_up(powercap, set_uj, monkeypatch):
    """Each source has its joules, those of all GPUs in use together."""
    _play_back(monkeypatch, {0: [100.0, 160.0], 3: [7.0, 27.5]})
    meter = EnergyMeter([0, 3], powercap)
    assert meter.must_look
    set_uj("intel-rapl:0", 11_000_000)
    meter.look()
    set_uj("intel-rapl:0", 21_000_000)
    set_uj("intel-rapl:1:0", 9_000_000)
    read = meter.read()
    assert (read.package_j, read.dram_j, read.gpu_j) == pytest.approx((20.0, 2.0, 80.5))
    assert read.total_j == pytest.approx(102.5)
    assert (read.why_no_cpu, read.why_no_gpu) == (None, None)
    assert read.measured_s > 0


def test_without_a_gpu_the_cpus_are_all(powercap, set_uj):
    """That no GPU is in use needs no reason."""
    meter = EnergyMeter([], powercap)
    set_uj("intel-rapl:0", 3_000_000)
    read = meter.read()
    assert (read.total_j, read.gpu_j, read.why_no_gpu) == (2.0, None, None)


def test_a_gpu_alone_is_told_with_what_is_missing(tmp_path, monkeypatch):
    """In a virtual machine only the GPU counts, and the reason says that the CPU does not."""
    _play_back(monkeypatch, {0: [50.0, 60.0]})
    meter = EnergyMeter([0], tmp_path)
    assert not meter.must_look
    read = meter.read()
    assert (read.total_j, read.package_j) == (10.0, None)
    assert "no RAPL counters" in (read.why_no_cpu or "")


def test_a_gpu_that_does_not_tell_leaves_no_total(powercap, monkeypatch):
    """Joules without those of the device in use would look like little."""

    def refuse(index: int) -> float:
        raise NotToldError(f"GPU {index} has none")

    monkeypatch.setattr(energy, "read_energy_j", refuse)
    read = EnergyMeter([2], powercap).read()
    assert (read.total_j, read.package_j, read.gpu_j) == (None, 0.0, None)
    assert read.why_no_gpu == "GPU 2 has none"


def test_nothing_known_is_no_zero(tmp_path: Path):
    """A machine that tells nothing has no total, and says why."""
    read = EnergyMeter([], tmp_path).read()
    assert read.total_j is None
    assert read.why_no_cpu
    assert Energy(1.0).total_j is None

import sys
from types import SimpleNamespace

import pytest

from mlbench.host import nvml
from mlbench.records import GpuState


class FakeNvml(SimpleNamespace):
    """As much of NVIDIA's library as is asked; handles are what they were found by."""

    NVMLError = RuntimeError
    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_SM = 1

    def __init__(self):
        super().__init__(
            nvmlDeviceGetHandleByIndex=lambda index: index,
            nvmlDeviceGetHandleByUUID=lambda uuid: {"GPU-a": 3}[uuid],
            nvmlDeviceGetTemperature=lambda gpu, _kind: 40 + gpu,
            nvmlDeviceGetClockInfo=lambda _gpu, _kind: 1500,
            nvmlDeviceGetCurrentClocksThrottleReasons=lambda _gpu: 0,
            nvmlDeviceGetTotalEnergyConsumption=lambda gpu: 1_234_567 + gpu,
            nvmlSystemGetDriverVersion=lambda: "570.1",
            nvmlDeviceGetCount=lambda: 1,
            nvmlDeviceGetName=lambda _gpu: "Fake GPU",
            nvmlDeviceGetMemoryInfo=lambda gpu: SimpleNamespace(
                total=1 << 30, used=1 << 29, free=(1 << 29) + gpu
            ),
        )


@pytest.mark.parametrize(("visible", "temperature"), [(None, 41), ("5,2", 42), ("5,GPU-a", 43)])
def test_gpus_are_numbered_as_cuda_does(monkeypatch, visible, temperature):
    """CUDA_VISIBLE_DEVICES renumbers the GPUs; `cuda:1` is the second that it lists."""
    monkeypatch.setattr(nvml, "_nvml", FakeNvml)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert nvml.read_gpu(1) == GpuState(1, temperature, 1500, 1 << 29)


@pytest.mark.parametrize(
    ("reasons", "throttled_by"),
    [
        (0x04, ()),
        (0x20, ("software thermal slowdown",)),
        (0x88, ("hardware slowdown", "power brake")),
    ],
)
def test_what_slows_a_gpu_down_is_named(monkeypatch, reasons, throttled_by):
    """Heat and power brakes are trouble; the power cap, at which a busy GPU runs, is none."""
    library = FakeNvml()
    library.nvmlDeviceGetCurrentClocksThrottleReasons = lambda _gpu: reasons
    monkeypatch.setattr(nvml, "_nvml", lambda: library)
    state = nvml.read_gpu(0)
    assert state is not None
    assert state.throttled_by == throttled_by


def test_gpus_are_described(monkeypatch):
    """Each GPU's model, driver and memory are among the machine's facts."""
    monkeypatch.setattr(nvml, "_nvml", FakeNvml)
    (gpu,) = nvml.describe_gpus()
    assert gpu == {"index": 0, "model": "Fake GPU", "driver": "570.1", "memory_bytes": 1 << 30}


def test_a_gpus_free_memory_is_told_by_cudas_number(monkeypatch):
    """Of the GPU that CUDA_VISIBLE_DEVICES puts at this place; without the library nothing is."""
    monkeypatch.setattr(nvml, "_nvml", FakeNvml)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,3")
    assert nvml.free_gpu_bytes(1) == (1 << 29) + 3
    monkeypatch.setattr(nvml, "_nvml", lambda: None)
    assert nvml.free_gpu_bytes(1) is None


def test_a_gpus_energy_is_in_joules(monkeypatch):
    """NVML counts millijoules; which GPU, CUDA's numbers say."""
    monkeypatch.setattr(nvml, "_nvml", FakeNvml)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,3")
    assert nvml.read_energy_j(1) == 1234.570


def test_a_gpu_without_an_energy_counter_says_so(monkeypatch):
    """Older GPUs and slices of one have none."""
    library = FakeNvml()

    def refuse(_gpu: int) -> int:
        raise FakeNvml.NVMLError("Not Supported")

    library.nvmlDeviceGetTotalEnergyConsumption = refuse
    monkeypatch.setattr(nvml, "_nvml", lambda: library)
    with pytest.raises(nvml.NotToldError, match=r"GPU 0 has no energy counter .*Not Supported"):
        nvml.read_energy_j(0)


@pytest.mark.parametrize(
    ("installed", "why"), [(None, r"mlbench-coordinator\[gpu\]"), (object(), "nvidia-smi")]
)
def test_without_nvml_the_reason_tells_what_to_do(monkeypatch, installed, why):
    """Either the package is missing or the driver's library does not start."""
    monkeypatch.setitem(sys.modules, "pynvml", installed)
    monkeypatch.setattr(nvml, "_nvml", lambda: None)
    with pytest.raises(nvml.NotToldError, match=why):
        nvml.read_energy_j(0)

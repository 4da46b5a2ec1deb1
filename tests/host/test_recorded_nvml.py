"""What a GPU told during trials, as it was recorded, told again by a library of the same shape."""

import sys
import types
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from mlbench.host import nvml
from mlbench.host.energy import EnergyMeter
from mlbench.host.gpu_watch import GpuWatch

# Degrees, MHz, reasons of the clock, bytes in use; a look at rest, four at work, one at the end.
# Recorded on an H200, but for the third reason of the clock, which heat would give.
LOOKS = [
    (34, 345, 0x01, 0),
    (36, 1980, 0x00, 1_558_052_864),
    (36, 1980, 0x00, 1_558_052_864),
    (37, 1905, 0x24, 1_558_052_864),
    (36, 1980, 0x00, 1_558_052_864),
    (36, 1980, 0x01, 1_558_052_864),
]
ENERGY_MJ = [91_806_512, 92_318_941]


class Recorded(types.ModuleType):
    """Plays the looks and the energy readings back, one after the other."""

    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_SM = 1

    class NVMLError(Exception):
        """What the library raises."""

    def __init__(self) -> None:
        super().__init__("pynvml")
        self._looks, self._energy_mj = iter(LOOKS), iter(ENERGY_MJ)

    def nvmlInit(self) -> None:  # noqa: N802 - the library's name
        """Start."""

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        """Return a handle."""
        return index

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, _gpu: int) -> int:  # noqa: N802
        """Begin the next look: it is what the reader asks for first."""
        try:
            self._now = next(self._looks)
        except StopIteration:
            raise self.NVMLError("GPU is lost") from None
        return self._now[2]

    def nvmlDeviceGetTemperature(self, _gpu: int, _sensor: int) -> int:  # noqa: N802
        """Degrees of the look."""
        return self._now[0]

    def nvmlDeviceGetClockInfo(self, _gpu: int, _kind: int) -> int:  # noqa: N802
        """Megahertz of the look."""
        return self._now[1]

    def nvmlDeviceGetMemoryInfo(self, _gpu: int) -> SimpleNamespace:  # noqa: N802
        """Bytes of the look."""
        return SimpleNamespace(used=self._now[3], total=150_754_820_096)

    def nvmlDeviceGetTotalEnergyConsumption(self, _gpu: int) -> int:  # noqa: N802
        """Millijoules, of the next reading."""
        return next(self._energy_mj)


@pytest.fixture(autouse=True)
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the recording stand for NVIDIA's library."""
    monkeypatch.setitem(sys.modules, "pynvml", Recorded())
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    nvml._nvml.cache_clear()
    yield
    nvml._nvml.cache_clear()


def test_a_recorded_trial_is_told(tmp_path):
    """Its looks are put together, heat in its middle included, and its energy is a difference."""
    meter, watch = EnergyMeter([0], tmp_path), GpuWatch([0])
    for _ in LOOKS:
        watch.look()
    (gpu,) = watch.accounts
    assert (gpu.looks, gpu.throttled_looks) == (6, 1)
    assert gpu.throttled_by == ("software thermal slowdown",)
    assert (gpu.lowest_clock_mhz, gpu.clock_mhz) == (345, 1980)
    assert (gpu.highest_temperature_c, gpu.temperature_c) == (37, 36)
    assert meter.read().total_j == pytest.approx(512.429)


def test_a_gpu_that_is_lost_on_the_way_keeps_what_was_seen():
    """Looks that the library refuses count for nothing."""
    watch = GpuWatch([0])
    for _ in range(len(LOOKS) + 3):
        watch.look()
    assert [gpu.looks for gpu in watch.accounts] == [len(LOOKS)]

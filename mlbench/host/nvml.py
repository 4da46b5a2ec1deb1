"""The state of GPUs, as NVIDIA's management library tells it."""

import functools
from typing import Any

from mlbench.contracts.errors import install_command
from mlbench.host.gpus import gpu_name
from mlbench.records import GpuState

_THROTTLES = {
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
"""NVML clock event reasons that mean trouble. The power cap is left out: it is how a GPU that is
kept busy normally runs."""


class NotToldError(Exception):
    """A GPU does not tell what it was asked; the message says why."""


@functools.cache
def _nvml() -> Any | None:
    """Return NVIDIA's management library, started; None without the package or the driver."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def _gpu_handle(nvml: Any, cuda_index: int) -> Any:
    """Return the handle of the GPU that CUDA calls `cuda_index`, which renumbers what it shows."""
    name = gpu_name(cuda_index)
    if name.isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(name))
    return nvml.nvmlDeviceGetHandleByUUID(name)


def read_gpu(index: int) -> GpuState | None:
    """Return the state of the GPU that CUDA numbers `index`; None where nothing tells it."""
    nvml = _nvml()
    if nvml is None:
        return None
    try:
        gpu = _gpu_handle(nvml, index)
        reasons = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu)
        return GpuState(
            index=index,
            temperature_c=nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
            clock_mhz=nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM),
            memory_used_bytes=nvml.nvmlDeviceGetMemoryInfo(gpu).used,
            throttled_by=tuple(text for bit, text in _THROTTLES.items() if reasons & bit),
        )
    except nvml.NVMLError:
        return None


def free_gpu_bytes(index: int) -> int | None:
    """Return the free memory of the GPU that CUDA numbers `index`; None where nothing tells it."""
    nvml = _nvml()
    if nvml is None:
        return None
    try:
        return int(nvml.nvmlDeviceGetMemoryInfo(_gpu_handle(nvml, index)).free)
    except nvml.NVMLError:
        return None


def read_energy_j(index: int) -> float:
    """Return the joules that the GPU of this CUDA index has consumed since its driver was loaded.

    GPUs from Volta on count them. Raises NotToldError.
    """
    nvml = _nvml()
    if nvml is None:
        raise NotToldError(_why_no_nvml())
    try:
        millijoules: int = nvml.nvmlDeviceGetTotalEnergyConsumption(_gpu_handle(nvml, index))
    except nvml.NVMLError as error:
        raise NotToldError(
            f"GPU {index} has no energy counter that NVML can read: {error}"
        ) from None
    return millijoules / 1e3


def _why_no_nvml() -> str:
    try:
        import pynvml  # noqa: F401 - only whether it is there
    except ImportError:
        return f"the package nvidia-ml-py is missing: {install_command('gpu')}"
    return "NVIDIA's management library does not start: see 'nvidia-smi'"


def describe_gpus() -> list[dict[str, Any]]:
    """Return model, driver and memory of each GPU as plain JSON values."""
    nvml = _nvml()
    if nvml is None:
        return []
    driver = nvml.nvmlSystemGetDriverVersion()
    gpus = []
    for index in range(nvml.nvmlDeviceGetCount()):
        gpu = nvml.nvmlDeviceGetHandleByIndex(index)
        gpus.append(
            {
                "index": index,
                "model": nvml.nvmlDeviceGetName(gpu),
                "driver": driver,
                "memory_bytes": nvml.nvmlDeviceGetMemoryInfo(gpu).total,
            }
        )
    return gpus

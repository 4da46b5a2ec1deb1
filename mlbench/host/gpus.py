"""Which NVIDIA GPUs CUDA shows to a process, and how to show it one; without any package.

Only this module reads and names CUDA_VISIBLE_DEVICES. The variable lists the GPUs that CUDA numbers
0, 1, ..., each by the driver's number or by its UUID.
"""

import os
from collections.abc import Mapping
from pathlib import Path

_VARIABLE = "CUDA_VISIBLE_DEVICES"


def visible_gpus(
    environment: Mapping[str, str] = os.environ,
    driver: Path = Path("/proc/driver/nvidia/gpus"),
    nodes: Path = Path("/dev"),
) -> list[str]:
    """Return the names of the GPUs that CUDA numbers 0, 1, ...: what the variable takes.

    Empty without a driver. As CUDA does it, the first name in the variable that is no GPU ends the
    list.
    """
    found = _count(driver, nodes)
    shown = _shown(environment)
    if shown is None:
        return [str(number) for number in range(found)]
    names: list[str] = []
    for name in shown:
        is_number = name.lstrip("-").isdigit()
        if not name or (is_number and not 0 <= int(name) < found):
            break
        names.append(name)
    return names if found else []


def _count(driver: Path, nodes: Path) -> int:
    """Return how many GPUs the driver has; some sandboxes show its device files alone."""
    try:
        return sum(1 for _ in driver.iterdir())
    except OSError:
        return sum(1 for _ in nodes.glob("nvidia[0-9]*"))


def gpu_name(index: int, environment: Mapping[str, str] = os.environ) -> str:
    """Return the driver's number or the UUID of the GPU that CUDA numbers `index`."""
    shown = _shown(environment) or []
    return shown[index] if index < len(shown) else str(index)


def only_gpu(index: int, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables that show a process this one GPU, which it will number 0."""
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", _VARIABLE: gpu_name(index, environment)}


def _shown(environment: Mapping[str, str]) -> list[str] | None:
    """Return the names in the variable, None where it is not set."""
    text = environment.get(_VARIABLE)
    return None if text is None else [name.strip() for name in text.split(",")]

"""Which NVIDIA GPUs the driver shows to this process, without any package."""

import os
from collections.abc import Mapping
from pathlib import Path


def visible_gpus(
    environment: Mapping[str, str] = os.environ, driver: Path = Path("/proc/driver/nvidia/gpus")
) -> list[str]:
    """Return the names of the GPUs that CUDA numbers 0, 1, ...: what CUDA_VISIBLE_DEVICES takes.

    Empty without a driver. As CUDA does it, the first name in CUDA_VISIBLE_DEVICES that is no GPU
    ends the list.
    """
    try:
        found = sum(1 for _ in driver.iterdir())
    except OSError:
        return []
    shown = environment.get("CUDA_VISIBLE_DEVICES")
    if shown is None:
        return [str(number) for number in range(found)]
    names: list[str] = []
    for name in map(str.strip, shown.split(",")):
        is_number = name.lstrip("-").isdigit()
        if not name or (is_number and not 0 <= int(name) < found):
            break
        names.append(name)
    return names if found else []

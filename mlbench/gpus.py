"""How many NVIDIA GPUs the driver shows, without any package."""

from pathlib import Path


def gpu_count(driver: Path = Path("/proc/driver/nvidia/gpus")) -> int:
    """Return the number of GPUs that the NVIDIA driver lists; 0 when there is no driver."""
    try:
        return sum(1 for _ in driver.iterdir())
    except OSError:
        return 0

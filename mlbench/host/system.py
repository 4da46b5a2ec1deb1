"""What this machine is."""

import os
import platform
from pathlib import Path
from typing import Any

import psutil

from mlbench.host.cgroup import cpu_quota
from mlbench.host.kernel_files import kernel_text
from mlbench.host.nvml import describe_gpus


def describe_system() -> dict[str, Any]:
    """Return the machine's facts as plain JSON values; None where the machine does not say."""
    return {
        "cpu": {
            "model": _cpu_model(),
            "architecture": platform.machine(),
            "cores": psutil.cpu_count(),
            "physical_cores": psutil.cpu_count(logical=False),
            "affinity": sorted(os.sched_getaffinity(0)),
            "quota_cores": cpu_quota(),
            "governor": kernel_text(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        },
        "memory_bytes": psutil.virtual_memory().total,
        "kernel": platform.release(),
        "os": _os_name(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "container": _in_container(),
        "gpus": describe_gpus(),
    }


def _cpu_model() -> str | None:
    lines = (kernel_text(Path("/proc/cpuinfo")) or "").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, None)


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _in_container() -> bool:
    marks = (Path("/.dockerenv"), Path("/run/.containerenv"))
    return "container" in os.environ or any(mark.exists() for mark in marks)

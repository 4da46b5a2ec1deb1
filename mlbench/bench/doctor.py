"""What this machine can run, what is missing, and the command that mends it."""

import importlib.metadata
from dataclasses import asdict
from typing import Any

from mlbench import __version__
from mlbench.bench.calibration import calibrate
from mlbench.bench.host_look import look_at_host
from mlbench.contracts.errors import RequestError, install_command
from mlbench.contracts.registry import backend_names, find_backend, missing_runtime
from mlbench.host.gpus import visible_gpus
from mlbench.host.monitor import watch_host
from mlbench.host.system import describe_system

_LOOK_S = 0.8  # a second in all: other programs come and go


def examine() -> dict[str, Any]:
    """Return backends, devices and versions as plain JSON values, and what the machine does now.

    `load` is what other programs do to our cores; `throttling` how often a CPU quota or heat
    stopped us while the generator was measured. What that is good for, `generator`, is a finding.
    Takes about five seconds.
    """
    load = look_at_host(_LOOK_S)
    account = watch_host({})
    generator = calibrate().finding
    busy = account()
    return {
        "version": __version__,
        "system": describe_system(),
        "backends": {name: _backend(name) for name in backend_names()},
        "gpus": len(visible_gpus()),
        "load": {
            "other_cpu_fraction": load.all_cores.other_cpu_fraction,
            "steal_fraction": load.all_cores.steal_fraction,
            "processes": [asdict(process) for process in load.busy_processes],
        },
        "throttling": {
            "quota_throttles": busy.quota_throttles,
            "heat_throttles": busy.heat_throttles,
        },
        "generator": generator,
    }


def examine_cluster(
    address: str, hosts: int | None = None, *, insecure: bool = False
) -> list[dict[str, Any]]:
    """Return what the hosts of a Ray cluster are, as plain JSON values; see `survey`."""
    from mlbench.cluster.survey import survey

    return survey(address, hosts, insecure=insecure)


def _backend(name: str) -> dict[str, str | None]:
    try:
        backend = find_backend(name)
    except RequestError as error:
        return {"state": "broken", "why": str(error)}
    extra = missing_runtime(backend)
    if extra is not None:
        return {"state": "missing", "mend": install_command(extra)}
    return {"state": "ready", "version": _version(backend.RUNTIME[0]) if backend.RUNTIME else None}


def _version(module: str) -> str | None:
    packages = importlib.metadata.packages_distributions().get(module, [])
    return f"{packages[0]} {importlib.metadata.version(packages[0])}" if packages else None

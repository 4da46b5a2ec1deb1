"""What `doctor` found, as JSON and for people. Pure."""

from collections.abc import Mapping
from typing import Any

from mlbench.contracts.findings import Finding
from mlbench.report.sentences import sentence


def doctor_document(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of `mlbench.bench.doctor.examine` as plain JSON."""
    generator: Finding = found["generator"]
    return {**found, "generator": {**generator.figures, "sentence": sentence(generator)}}


def doctor_page(found: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return (title, lines) of each part, from the result of `mlbench.bench.doctor.examine`."""
    system = [f"{key}: {value}" for key, value in found["system"].items() if value]
    backends = []
    for name, state in found["backends"].items():
        if state["state"] == "ready":
            backends.append(
                f"{name}: ready" + (f" ({state['version']})" if state["version"] else "")
            )
        elif state["state"] == "broken":
            backends.append(f"{name}: broken: {state['why']}")
        else:
            backends.append(f"{name}: not installed; mend it with: {state['mend']}")
    return [
        (f"mlbench {found['version']}", []),
        ("system", system),
        ("backends", backends),
        ("GPUs", [_gpus(found["gpus"])]),
        ("generator", [sentence(found["generator"])]),
        *([("cluster", [_host(host) for host in found["cluster"]])] if "cluster" in found else []),
    ]


def _host(host: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{what} {version}" for what, version in host["versions"].items())
    return (
        f"{host['name']} ({host['host_name']}): {host['cpus']} CPUs, {host['gpus']} GPUs, "
        f"{versions}, clock known to {host['clock_error_s'] * 1e3:.3g} ms"
    )


def _gpus(count: int) -> str:
    if count:
        return f"{count} NVIDIA GPU{'s' * (count > 1)}: --device gpu"
    return "none: no NVIDIA driver is loaded; --device gpu will refuse"

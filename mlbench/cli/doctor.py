"""`mlbench-coordinator doctor`: what this machine can run, and how to mend what it cannot."""

import importlib.metadata
import json
from typing import Any

import click

from mlbench import __version__
from mlbench.bench.calibration import calibrate
from mlbench.contracts.errors import install_command
from mlbench.contracts.registry import backend_names, find_backend, missing_runtime
from mlbench.host.gpus import visible_gpus
from mlbench.host.system import describe_system


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(as_json: bool) -> int:
    """Show what this machine can run, what is missing, and the command that mends it.

    \b
    Example:
        mlbench-coordinator doctor
    """
    findings = examine()
    if as_json:
        click.echo(json.dumps(findings))
        return 0
    for title, lines in _tell(findings):
        click.echo(title)
        for line in lines:
            click.echo(f"  {line}")
    return 0


def examine() -> dict[str, Any]:
    """Return backends, devices, versions and the generator's limits, as plain JSON values."""
    generator = calibrate()
    return {
        "version": __version__,
        "system": describe_system(),
        "backends": {name: _backend(name) for name in backend_names()},
        "gpus": len(visible_gpus()),
        "generator": {**vars(generator), "sentence": generator.sentence},
    }


def _backend(name: str) -> dict[str, str | None]:
    backend = find_backend(name)
    extra = missing_runtime(backend)
    if extra is not None:
        return {"state": "missing", "mend": install_command(extra)}
    return {"state": "ready", "version": _version(backend.RUNTIME[0]) if backend.RUNTIME else None}


def _version(module: str) -> str | None:
    packages = importlib.metadata.packages_distributions().get(module, [])
    return f"{packages[0]} {importlib.metadata.version(packages[0])}" if packages else None


def _tell(findings: dict[str, Any]) -> list[tuple[str, list[str]]]:
    system = [f"{key}: {value}" for key, value in findings["system"].items() if value]
    backends = []
    for name, state in findings["backends"].items():
        if state["state"] == "ready":
            backends.append(
                f"{name}: ready" + (f" ({state['version']})" if state["version"] else "")
            )
        else:
            backends.append(f"{name}: not installed; mend it with: {state['mend']}")
    return [
        (f"mlbench {findings['version']}", []),
        ("system", system),
        ("backends", backends),
        ("GPUs", [_gpus(findings["gpus"])]),
        ("generator", [findings["generator"]["sentence"]]),
    ]


def _gpus(count: int) -> str:
    if count:
        return f"{count} NVIDIA GPU{'s' * (count > 1)}: --device gpu"
    return "none: no NVIDIA driver is loaded; --device gpu will refuse"

"""What `doctor` found, as JSON and as a page for people. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mlbench.contracts.findings import Finding
from mlbench.contracts.text import printable
from mlbench.report.fitness import check_all, verdict
from mlbench.report.sentences import sentence

_MARKS = {"good": ("ok", "green"), "doubtful": ("!", "yellow"), "bad": ("no", "red")}


def doctor_document(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of `mlbench.bench.doctor.examine` as plain JSON, with a verdict.

    `fit`: whether the machine is fit to measure; `verdict` says so in words, and `checks` why.
    """
    generator: Finding = found["generator"]
    checks = check_all(found)
    return {
        **found,
        "generator": {**generator.figures, "sentence": sentence(generator)},
        "fit": not any(check.state == "bad" for check in checks),
        "verdict": verdict(checks),
        "checks": [
            {key: value for key, value in asdict(check).items() if key != "why"} for check in checks
        ],
    }


def doctor_page(found: Mapping[str, Any]) -> RenderableType:
    """Return the page, from the result of `mlbench.bench.doctor.examine`."""
    checks = check_all(found)
    states = {check.state for check in checks}
    worst = "bad" if "bad" in states else "doubtful" if "doubtful" in states else "good"
    looked_at = Table.grid(padding=(0, 2))
    for check in checks:
        looked_at.add_row(
            Text(f" {_MARKS[check.state][0]}", _MARKS[check.state][1]),
            check.title,
            Text(check.text),
        )
    return Group(
        Text(f"mlbench {found['version']}: {verdict(checks)}", f"bold {_MARKS[worst][1]}"),
        Text(),
        looked_at,
        Text("\nbackends", "bold"),
        *_backends(found["backends"]),
        Text("\nmachine", "bold"),
        _rows(_machine(found["system"])),
        *_cluster(found.get("cluster", ())),
    )


def _cluster(hosts: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    if hosts:
        yield Text("\ncluster", "bold")
        yield _rows((f"{host['name']} ({host['host_name']})", _host(host)) for host in hosts)


def _host(host: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{what} {version}" for what, version in host["versions"].items())
    return (
        f"{host['cpus']} CPUs, {host['gpus']} GPUs, {versions}, clock known to "
        f"{host['clock_error_s'] * 1e3:.3g} ms"
    )


def _rows(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for title, text in rows:
        table.add_row(Text(f" {printable(title)}", "dim"), Text(printable(text)))
    return table


def _backends(found: Mapping[str, Any]) -> Iterator[Text]:
    """Yield a line for each; none is broken, so that commands can be copied."""
    width = max(map(len, found), default=0)
    for name, state in found.items():
        title = (f" {printable(name):<{width}}  ", "dim")
        words = printable(_backend(state))
        yield Text.assemble(title, words, no_wrap=True, overflow="ignore")


def _backend(state: Mapping[str, Any]) -> str:
    match state["state"]:
        case "ready":
            return "ready" + (f" ({state['version']})" if state["version"] else "")
        case "broken":
            return f"broken: {state['why']}"
        case _:
            return f"not installed; mend it with: {state['mend']}"


def _machine(system: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    cpu = system["cpu"]
    yield "CPU", f"{cpu['model'] or 'unknown'}, {cpu['architecture']}"
    physical = f", {cpu['physical_cores']} physical" if cpu["physical_cores"] else ""
    governor = f", governor {cpu['governor']}" if cpu["governor"] else ""
    yield "cores", f"{cpu['cores']} logical{physical}{governor}"
    yield "memory", f"{system['memory_bytes'] / 2**30:.1f} GiB"
    for gpu in system["gpus"] or ():
        memory = f"{gpu['memory_bytes'] / 2**30:.0f} GiB"
        yield f"GPU {gpu['index']}", f"{gpu['model']}, driver {gpu['driver']}, {memory}"
    yield "system", f"{system['os']}, kernel {system['kernel']}"
    yield "Python", system["python"]
    if system["container"]:
        yield "container", "yes"

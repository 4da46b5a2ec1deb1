"""The engine beside its peers, in one run: interleaved, repeated, with the spread of what was seen.

    python tools/bench_engine.py --repeats 3 --output bench.json --plot bench.png
    python tools/bench_engine.py --section lag --section rate
    python tools/bench_engine.py --section turns --section capacity --section loadgen_device

Sections that are repeated: rate, lag (both beside MLPerf LoadGen: pip install mlcommons-loadgen),
model (the pool beside a bare ONNX Runtime loop), bound (the rate that `run` finds beside the queue
model of a bare session), dispatch, scale.

Studies of what the harness costs the device, with 95 % intervals, about five minutes each: turns
and capacity (beside bare processes that know the schedule), loadgen_device (beside LoadGen with the
session in its process). Nothing else should run on the machine.
"""

import json
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import click
from engine_bench.device import capacity, turns
from engine_bench.duel import Finding, Log, Plan
from engine_bench.pairs import Estimate
from engine_bench.peers import loadgen_device
from engine_bench.sections import SECTIONS
from engine_bench.systems import shapes

from mlbench.host.system import describe_system

STUDIES = {study.__name__: study for study in (turns, capacity, loadgen_device)}
Measured = dict[tuple[str, str], list[float]]


@click.command(help=__doc__)
@click.option("--section", "chosen", multiple=True, type=click.Choice([*SECTIONS, *STUDIES]))
@click.option("--repeats", default=3, show_default=True)
@click.option(
    "--pairs", default=60, show_default=True, help="Of a study, over all shapes and rates."
)
@click.option("--seconds", default=3.0, show_default=True, help="Length of a block of a pair.")
@click.option("--trial-seconds", default=5.0, show_default=True, help="Beside LoadGen.")
@click.option("--shape", "named", multiple=True, type=click.Choice(list(shapes())))
@click.option("--output", type=click.Path(path_type=Path), help="Write all figures as JSON.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the figures (matplotlib).")
def main(
    chosen: Sequence[str],
    repeats: int,
    pairs: int,
    seconds: float,
    trial_seconds: float,
    named: Sequence[str],
    output: Path | None,
    plot: Path | None,
) -> None:
    """Measure, print tables, and write what was asked for."""
    chosen = chosen or [*SECTIONS, *STUDIES]
    measured = _repeated([name for name in chosen if name in SECTIONS], repeats)
    log = Log()
    plan = Plan([shapes()[n] for n in named or shapes()], pairs, seconds, trial_seconds, repeats)
    found = _studied([name for name in chosen if name in STUDIES], plan, log)
    if measured:
        click.echo(_table(_summarised(measured), "median | lowest | highest"))
    if found:
        click.echo(_table(found, "value | 95 % from | to"))
    if output is not None:
        output.write_text(json.dumps(_document(measured, found, log), indent=1))
    if plot is not None:
        _draw([*_summarised(measured), *found], plot)


def _repeated(names: Sequence[str], repeats: int) -> Measured:
    measured: Measured = defaultdict(list)
    for repeat in range(repeats):
        for name in names:
            for metric, system, value in SECTIONS[name](repeat):
                measured[metric, system].append(value)
                click.echo(f"[{repeat + 1}/{repeats}] {metric}: {system}: {value:,.4g}", err=True)
    return measured


def _studied(names: Sequence[str], plan: Plan, log: Log) -> list[Finding]:
    found = []
    for name in names:
        for metric, system, estimate in STUDIES[name](plan, log):
            found.append((metric, system, estimate))
            click.echo(f"[{name}] {metric}: {system}: {_cells(estimate)}", err=True)
    return found


def _summarised(measured: Measured) -> list[Finding]:
    """Return medians with the lowest and highest of the repeats."""
    return [
        (metric, system, Estimate(statistics.median(values), min(values), max(values)))
        for (metric, system), values in measured.items()
    ]


def _table(findings: Sequence[Finding], columns: str) -> str:
    """Return a Markdown table."""
    lines = [f"| figure | system | {columns} |", "|---|---|---:|---:|---:|"]
    lines += [f"| {metric} | {system} | {_cells(one)} |" for metric, system, one in findings]
    return "\n".join(lines)


def _cells(estimate: Estimate) -> str:
    values = (estimate.value, estimate.low, estimate.high)
    return " | ".join("-" if math.isnan(value) else f"{value:,.4g}" for value in values)


def _document(measured: Measured, found: Sequence[Finding], log: Log) -> dict[str, object]:
    rows = [{"metric": m, "system": s, "values": v} for (m, s), v in measured.items()]
    findings = [
        {"metric": metric, "system": system}
        | {name: None if math.isnan(value) else value for name, value in vars(one).items()}
        for metric, system, one in found
    ]
    machine = {"system": describe_system(), "command": sys.argv}
    return machine | {"rows": rows, "findings": findings, "blocks": log.blocks}


def _draw(findings: Sequence[Finding], path: Path) -> None:
    import matplotlib.pyplot as plt  # only for --plot

    metrics = list(dict.fromkeys(metric for metric, _, _ in findings))
    figure, axes = plt.subplots(len(metrics), figsize=(8, 1.6 * len(metrics)), squeeze=False)
    for axis, metric in zip(axes[:, 0], metrics, strict=True):
        for _, system, one in (finding for finding in findings if finding[0] == metric):
            axis.barh(system, one.value)
            axis.plot([one.low, one.high], [system, system], "k|-")
        axis.set_title(metric, fontsize=9)
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()

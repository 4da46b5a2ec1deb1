"""The engine beside its peers, in one run: interleaved, repeated, reported as medians.

    python tools/bench_engine.py --repeats 3 --output bench.json --plot bench.png
    python tools/bench_engine.py --section lag --section rate

Sections: rate, lag (both beside MLPerf LoadGen: pip install mlcommons-loadgen), model (the pool
beside a bare ONNX Runtime loop), bound (the rate that `run` finds beside the queue model of a bare
session), dispatch, scale. Nothing else should run on the machine.
"""

import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path

import click
from engine_bench.sections import SECTIONS

from mlbench.system import describe_system

Measured = dict[tuple[str, str], list[float]]


@click.command(help=__doc__)
@click.option("--section", "sections", multiple=True, type=click.Choice(list(SECTIONS)))
@click.option("--repeats", default=3, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="Write all figures as JSON.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the medians (matplotlib).")
def main(sections: tuple[str, ...], repeats: int, output: Path | None, plot: Path | None) -> None:
    """Measure, print a table, and write what was asked for."""
    measured: Measured = defaultdict(list)
    for repeat in range(repeats):
        for name in sections or SECTIONS:
            for metric, system, value in SECTIONS[name](repeat):
                measured[metric, system].append(value)
                click.echo(f"[{repeat + 1}/{repeats}] {metric}: {system}: {value:,.4g}", err=True)
    click.echo(table(measured))
    if output is not None:
        output.write_text(json.dumps(_document(measured), indent=1))
    if plot is not None:
        _draw(measured, plot)


def table(measured: Measured) -> str:
    """Return a Markdown table of medians with the lowest and highest of the repeats."""
    lines = ["| figure | system | median | lowest | highest |", "|---|---|---|---|---|"]
    for (metric, system), values in measured.items():
        cells = (statistics.median(values), min(values), max(values))
        lines.append(f"| {metric} | {system} | " + " | ".join(f"{v:,.4g}" for v in cells) + " |")
    return "\n".join(lines)


def _document(measured: Measured) -> dict[str, object]:
    rows = [{"metric": m, "system": s, "values": v} for (m, s), v in measured.items()]
    return {"system": describe_system(), "command": sys.argv, "rows": rows}


def _draw(measured: Measured, path: Path) -> None:
    import matplotlib.pyplot as plt  # only for --plot

    metrics = list(dict.fromkeys(metric for metric, _ in measured))
    figure, axes = plt.subplots(len(metrics), figsize=(8, 1.6 * len(metrics)), squeeze=False)
    for axis, metric in zip(axes[:, 0], metrics, strict=True):
        bars = {s: statistics.median(v) for (m, s), v in measured.items() if m == metric}
        axis.barh(list(bars), list(bars.values()))
        axis.set_title(metric, fontsize=9)
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()

"""`mlbench-coordinator sweep`: many configurations, measured in turns."""

import json
from functools import partial
from pathlib import Path

import click

from mlbench.cli.terminal import say


@click.command(short_help="Measure many configurations in turns.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "folder", type=click.Path(path_type=Path), required=True, help="The folder."
)
@click.option(
    "--tune",
    type=click.IntRange(min=2),
    metavar="N",
    help="Draw at most N configurations from the grid (Optuna), and race them.",
)
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@click.option("--json", "as_json", is_flag=True, help="Print sweep.json instead of the table.")
def sweep(file: Path, folder: Path, tune: int | None, quiet: bool, as_json: bool) -> int:
    """Measure the configurations of a YAML file in turns; started again, it goes on.

    \b
    Example:
        mlbench-coordinator sweep batches.yaml -o batches
    with batches.yaml:
        base: {max_latency: [0.05], arrivals: [exponential], budget: 60}
        grid: {batch_size: [1, 2, 4, 8], workers_per_device: [1, 2]}
    """
    from mlbench.bench.sweep.sweep import sweep as measure
    from mlbench.report.progress import Progress
    from mlbench.report.sweep_files import SweepFiles
    from mlbench.report.sweep_table import SweepLines, sweep_table

    files = SweepFiles()
    lines = SweepLines(partial(say, err=True) if not quiet else lambda _: None)
    with Progress(quiet=quiet) as progress:
        found = measure(file, folder, [files, lines, progress], tune)
    if as_json:
        say(json.dumps(files.document, allow_nan=False))
    for line in () if as_json else sweep_table(found):
        say(line)
    return 0 if found.complete else 1

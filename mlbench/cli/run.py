"""`mlbench-coordinator run`: the whole benchmark."""

import json
from functools import partial
from typing import Any

import click

from mlbench.cli.help import GroupedCommand
from mlbench.cli.options import given_only, run_options
from mlbench.cli.terminal import say
from mlbench.contracts.errors import RunError


@click.command(
    cls=GroupedCommand, short_help="Find the highest rate that keeps each latency limit."
)
@run_options
def run(quiet: bool, as_json: bool, **options: Any) -> int:
    """Run the whole benchmark: accuracy, then the highest rate for each latency limit.

    \b
    Examples:
        mlbench-coordinator run
        mlbench-coordinator run --model my.onnx --dataset synthetic
        mlbench-coordinator run --arrivals exponential --max-latency 0.02,0.1
        mlbench-coordinator run --backend simulated --backend-option service_ms=2
    """
    from mlbench import run as benchmark
    from mlbench.report.loglines import LogLines
    from mlbench.report.progress import Progress
    from mlbench.report.results import ResultFile

    file = ResultFile()
    lines = LogLines(partial(say, err=as_json))
    with Progress(quiet=quiet) as progress:
        result = benchmark([file, lines, progress], **given_only(options))
    if as_json:
        say(json.dumps(json.loads(file.text)))
    if result.lost_workers:
        raise RunError("; ".join(result.lost_workers))
    return 0 if result.complete else 1

"""`mlbench-coordinator run`: the whole benchmark."""

import json
from functools import partial
from typing import Any

import click

from mlbench.cli.options import given_only, run_options
from mlbench.contracts.errors import RunError


@click.command()
@run_options
def run(quiet: bool, as_json: bool, **options: Any) -> int:
    """Run the whole benchmark: accuracy, then the highest rate for each latency limit.

    \b
    Example:
        mlbench-coordinator run --model my.onnx --dataset synthetic
    """
    from mlbench import run as benchmark
    from mlbench.report.loglines import LogLines
    from mlbench.report.progress import Progress
    from mlbench.report.results import ResultFile

    file = ResultFile()
    lines = LogLines(partial(click.echo, err=as_json))
    result = benchmark([file, lines, Progress(quiet=quiet)], **given_only(options))
    if as_json:
        click.echo(json.dumps(json.loads(file.text)))
    if result.lost_workers:
        raise RunError("; ".join(result.lost_workers))
    return 0 if result.complete else 1

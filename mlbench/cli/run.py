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
@click.option(
    "--tune", is_flag=True, help="Race workers, threads and batch sizes; answer with the best."
)
def run(quiet: bool, as_json: bool, tune: bool, **options: Any) -> int:
    """Run the whole benchmark: accuracy, then the highest rate for each latency limit.

    \b
    Examples:
        mlbench-coordinator run
        mlbench-coordinator run --model my.onnx --dataset synthetic
        mlbench-coordinator run --arrivals exponential --max-latency 0.02,0.1
        mlbench-coordinator run --backend simulated --backend-option service_ms=2
    """
    if tune:
        return _tune(given_only(options), quiet=quiet, as_json=as_json)
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


def _tune(options: dict[str, Any], *, quiet: bool, as_json: bool) -> int:
    from mlbench.bench.sweep.machine import best_answers, tune_run
    from mlbench.report.loglines import LogLines
    from mlbench.report.progress import Progress
    from mlbench.report.sweep_files import SweepFiles
    from mlbench.report.sweep_table import SweepLines, sweep_table
    from mlbench.report.tune_file import TunedFile

    file, lines = TunedFile(), LogLines(partial(say, err=as_json))
    turns = SweepLines(lambda line: None if quiet else say(line, err=True))
    with Progress(quiet=quiet) as progress:
        found = tune_run(options, [SweepFiles(), file, lines, turns, progress])
    for line in () if quiet else sweep_table(found):
        say(line, err=True)
    if as_json:
        say(json.dumps(file.document, allow_nan=False))
    answers = [answer for answer, _ in best_answers(found)]
    missed = [one.accuracy for one in found.configurations if one.accuracy]
    is_right = all(accuracy.target_met is not False for _, accuracy in missed)
    return 0 if answers and is_right and not any(one.no_verdict for one in answers) else 1

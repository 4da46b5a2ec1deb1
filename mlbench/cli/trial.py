"""`mlbench-coordinator trial`: one trial at a fixed rate."""

import json
from typing import Any

import click

from mlbench.cli.help import GroupedCommand
from mlbench.cli.options import given_only, trial_options
from mlbench.cli.terminal import say
from mlbench.contracts.errors import RunError


@click.command(cls=GroupedCommand, short_help="Run one trial at a fixed rate.")
@trial_options
def trial(quiet: bool, as_json: bool, **options: Any) -> int:
    """Run one trial at a fixed rate; prints a table, or JSON with --json.

    \b
    Examples:
        mlbench-coordinator trial --qps 100 --duration 5 --max-latency 0.05
        mlbench-coordinator trial --qps 40 --model my.onnx --dataset synthetic
        mlbench-coordinator trial --qps 100 --json --raw queries.npz
    """
    from mlbench import run_trial
    from mlbench.report.progress import Progress
    from mlbench.report.raw import RawFile
    from mlbench.report.sentences import sentences
    from mlbench.report.trial_json import trial_document

    with Progress(quiet=quiet) as progress:
        done = run_trial([RawFile(), progress], **given_only(options))
    document = trial_document(done.completions, done.lag_ns, done.judgement)
    if as_json:
        say(json.dumps(document, allow_nan=False))
    else:
        _print_table(document)
    if faults := done.lost_workers or sentences(done.completions.faults):
        raise RunError("; ".join(faults))
    return 0 if done.judgement is None or done.judgement.verdict == "pass" else 1


def _print_table(document: dict[str, Any]) -> None:
    from mlbench.report.trial_table import trial_rows

    rows = trial_rows(document)
    width = max(len(title) for title, _ in rows)
    for title, value in rows:
        say(f"{title:<{width}}  {value}")

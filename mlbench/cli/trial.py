"""`mlbench-coordinator trial`: one trial at a fixed rate."""

import json
import os
from typing import Any

import click

from mlbench.bench.job import prepare
from mlbench.bench.runner import open_pool, shape_of
from mlbench.bench.settings import TrialSettings, make_settings
from mlbench.cli.console import Reporter
from mlbench.cli.options import given_only, trial_options
from mlbench.contracts.errors import RunError
from mlbench.host.files import check_writable
from mlbench.outcomes import Judgement, LatencyLimit
from mlbench.queueing.line import Queue
from mlbench.records import Completions
from mlbench.report.trial_json import save_raw, trial_document
from mlbench.report.trial_table import trial_rows
from mlbench.trial.schedule import make_schedule, query_count
from mlbench.trial.verdict import judge


@click.command()
@trial_options
def trial(quiet: bool, as_json: bool, **options: Any) -> int:
    """Run one trial at a fixed rate; prints a table, or JSON with --json.

    \b
    Example:
        mlbench-coordinator trial --qps 100 --duration 5 --max-latency 0.05
    """
    settings = make_settings(TrialSettings, given_only(options), os.environ)
    reporter = Reporter(quiet)
    if settings.raw is not None:
        check_writable(settings.raw)
    job = prepare(settings, reporter.progress)
    queries = query_count(settings.qps, settings.duration)
    schedule = make_schedule(settings.kind, settings.qps, queries, settings.seed)
    with open_pool(job, settings) as pool:
        completions = pool.run(schedule)
        queue, dead = shape_of(pool, settings), "; ".join(pool.dead.values())
    judgement = _judge(settings, completions, queue)
    if settings.raw is not None:
        save_raw(settings.raw, completions)
    _print(trial_document(completions, queue, judgement), as_json)
    if dead:
        raise RunError(dead)
    return 0 if judgement is None or judgement.verdict == "pass" else 1


def _judge(settings: TrialSettings, completions: Completions, queue: Queue) -> Judgement | None:
    if settings.max_latency is None:
        return None
    return judge(completions, LatencyLimit(settings.percentile, settings.max_latency), queue)


def _print(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(document, allow_nan=False))
        return
    rows = trial_rows(document)
    width = max(len(title) for title, _ in rows)
    for title, value in rows:
        click.echo(f"{title:<{width}}  {value}")

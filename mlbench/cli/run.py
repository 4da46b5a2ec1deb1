"""`mlbench-coordinator run`: the whole benchmark."""

import json
import os
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from mlbench import __version__
from mlbench.bench.calibration import calibrate
from mlbench.bench.job import prepare
from mlbench.bench.runner import check_accuracy, open_pool, search_rates
from mlbench.bench.settings import RunSettings, make_settings
from mlbench.cli.console import Reporter
from mlbench.cli.options import given_only, run_options
from mlbench.host.system import describe_system
from mlbench.outcomes import Answer, Summary, Trial
from mlbench.report import loglines
from mlbench.report.accuracy import Accuracy
from mlbench.report.results import ResultStore, RunHead


@click.command()
@run_options
def run(quiet: bool, as_json: bool, **options: Any) -> int:
    """Run the whole benchmark: accuracy, then the highest rate for each limit.

    \b
    Example:
        mlbench-coordinator run --model my.onnx --dataset synthetic
    """
    settings = make_settings(RunSettings, given_only(options), os.environ)
    reporter = Reporter(quiet)
    store = ResultStore(settings.output, _head(settings))
    job = prepare(settings, reporter.progress)
    listener = _Saved(store, reporter, settings.percentile, silent=as_json)
    synthetic = job.model_says.get("weights") == "synthetic"
    if synthetic:
        note = f"this is not a trained model: {job.model_says.get('description', 'no description')}"
        store.add_note(note)
        reporter.warn(note)
    if job.layout:
        store.add_note(job.layout)
    generator = calibrate().sentence
    store.add_note(generator)
    reporter.say(generator)
    with open_pool(job, settings) as pool:
        why = _why_no_accuracy(settings, job.samples.labels is not None)
        if why is None:
            target = None if synthetic else settings.accuracy_target
            listener.accuracy(*check_accuracy(pool, job.samples, pool.saturated_qps, target))
        else:
            store.add_note(f"accuracy skipped: {why}")
            reporter.say(f"accuracy skipped: {why}")
        answers = search_rates(pool, settings, listener)
    if as_json:
        click.echo(json.dumps(json.loads(Path(store.path).read_text())))
    return _status(answers, listener.accuracy_missed)


class _Saved:
    """Saves everything as it comes, and prints the log lines."""

    def __init__(
        self, store: ResultStore, reporter: Reporter, percentile: float, *, silent: bool
    ) -> None:
        self._store = store
        self._reporter = reporter
        self._percentile = percentile
        self._silent = silent
        self.accuracy_missed = False

    def _print(self, line: str | None) -> None:
        if line is not None and not self._silent:
            click.echo(line)
            sys.stdout.flush()

    def accuracy(self, summary: Summary, accuracy: Accuracy) -> None:
        self._store.add_accuracy(summary, accuracy)
        self.accuracy_missed = accuracy.target_met is False
        for line in loglines.accuracy_lines(summary, accuracy):
            self._print(line)
        self._reporter.say(accuracy.remark)
        for skipped in accuracy.skipped_images:
            self._reporter.warn(f"left out: {skipped}")

    def trial(self, trial: Trial, *, taken: bool) -> None:
        self._store.add_trial(trial)
        self._print(loglines.trial_line(trial))
        if taken:
            self._print(loglines.taken_line())
        judgement = trial.judgement
        self._reporter.say(f"  {judgement.verdict}: {'; '.join(judgement.reasons)}")

    def answers(self, answers: Sequence[Answer]) -> None:
        self._store.set_answers(answers)
        for answer in answers:
            self._print(loglines.chosen_line(answer))
            self._print(loglines.result_line(answer, self._percentile))
            self._reporter.say(_estimate(answer))
        self._print(loglines.final_line(answers))


def _head(settings: RunSettings) -> RunHead:
    return RunHead(
        started=datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
        cmdline=shlex.join(sys.argv),
        version=__version__,
        settings=settings.model_dump(mode="json"),
        system=describe_system(),
    )


def _why_no_accuracy(settings: RunSettings, has_labels: bool) -> str | None:
    if settings.skip_accuracy:
        return "--skip-accuracy"
    if settings.dataset == "synthetic":
        return "synthetic data has no true answers"
    if not has_labels:
        return "the samples have no labels"
    return None


def _estimate(answer: Answer) -> str:
    head = f"  {answer.kind} {answer.max_latency_s:g} s:"
    if answer.capacity_qps is None or answer.capacity_ci95 is None:
        body = " no estimate"
    else:
        low, high = answer.capacity_ci95
        body = f" capacity {answer.capacity_qps:.1f} qps, 95 % interval {low:.1f} to {high:.1f}"
    return head + body + "".join(f"; {note}" for note in answer.notes)


def _status(answers: Sequence[Answer], accuracy_missed: bool) -> int:
    return 1 if accuracy_missed or any(answer.no_verdict for answer in answers) else 0

"""The whole benchmark: accuracy, then the highest rate for each latency limit."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlbench.bench.accuracy import check_accuracy
from mlbench.bench.calibration import calibrate
from mlbench.bench.events import AccuracyMeasured, Listener, Noted, RunEnded, RunStarted, to_all
from mlbench.bench.job import Job, prepare
from mlbench.bench.pool import open_pool
from mlbench.bench.search import search_rates
from mlbench.bench.settings import RunSettings, make_settings
from mlbench.contracts.findings import Finding
from mlbench.models.metadata import model_metadata
from mlbench.outcomes import Accuracy, Answer
from mlbench.pool.coordinator import WorkerPool


@dataclass(frozen=True)
class RunResult:
    """What a run found out; `accuracy` is None where that stage was skipped."""

    settings: RunSettings
    accuracy: Accuracy | None
    answers: Sequence[Answer]

    @property
    def complete(self) -> bool:
        """Whether every answer has a verdict, and no accuracy that was asked for was missed."""
        missed = self.accuracy is not None and self.accuracy.target_met is False
        return not missed and not any(answer.no_verdict for answer in self.answers)


def run(listeners: Sequence[Listener] = (), **options: Any) -> RunResult:
    """Run the whole benchmark and return what it found; listeners hear of everything on the way.

    `options` are those of `mlbench-coordinator run`, with underscores: `max_latency=[0.05]`,
    `devices=["cpu:0-3"]`, `backend_options={"service_ms": "2"}`. Nothing is printed or saved unless
    a listener does it. Raises RequestError for what cannot be done, before anything is measured,
    and RunError when a worker dies.
    """
    settings = make_settings(RunSettings, options, os.environ)
    tell = to_all(listeners)
    try:
        tell(RunStarted(settings))
        return _run(settings, tell)
    finally:
        tell(RunEnded())


def _run(settings: RunSettings, tell: Listener) -> RunResult:
    job = prepare(settings, tell)
    says = model_metadata(job.model) if job.model else {}
    trained = says.get("weights") != "synthetic"
    if not trained:
        figures = {"description": says.get("description", "no description")}
        tell(Noted(Finding("synthetic_model", figures), warning=True))
    tell(Noted(calibrate().finding))
    with open_pool(job, settings) as pool:
        target = settings.accuracy_target if trained else None
        accuracy = _accuracy_stage(pool, job, settings, target, tell)
        return RunResult(settings, accuracy, search_rates(pool, settings, tell))


def _accuracy_stage(
    pool: WorkerPool, job: Job, settings: RunSettings, target: float | None, tell: Listener
) -> Accuracy | None:
    why = _why_no_accuracy(settings, job)
    if why is not None:
        tell(Noted(Finding("accuracy_skipped", {"why": why})))
        return None
    summary, accuracy = check_accuracy(pool, job.samples, pool.saturated_qps, target, tell)
    tell(AccuracyMeasured(summary, accuracy))
    return accuracy


def _why_no_accuracy(settings: RunSettings, job: Job) -> str | None:
    if settings.skip_accuracy:
        return "--skip-accuracy"
    if settings.dataset == "synthetic":
        return "synthetic data has no true answers"
    if job.samples.labels is None:
        return "the samples have no labels"
    return None

"""The whole benchmark: accuracy, then the highest rate for each latency limit."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlbench.bench.accuracy import check_accuracy
from mlbench.bench.calibration import calibrate
from mlbench.bench.events import (
    AccuracyMeasured,
    Listener,
    Noted,
    RunEnded,
    RunStarted,
    SearchEnded,
    StageBegan,
    to_all,
)
from mlbench.bench.failover import on_workers
from mlbench.bench.host_look import look_at_host
from mlbench.bench.job import Job, prepare
from mlbench.bench.pool import Pool, is_unmoved
from mlbench.bench.search import RateSearch
from mlbench.bench.settings import RunSettings, make_settings
from mlbench.contracts.findings import Finding
from mlbench.host.signals import held
from mlbench.models.metadata import model_metadata
from mlbench.outcomes import Accuracy, Answer
from mlbench.trial.host import host_busy_before


@dataclass(frozen=True)
class RunResult:
    """What a run found out; `accuracy` is None where that stage was skipped.

    `lost_workers`: how workers failed that the run went on without.
    """

    settings: RunSettings
    accuracy: Accuracy | None
    answers: Sequence[Answer]
    lost_workers: tuple[str, ...] = ()

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
    and RunError when a worker keeps failing.
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
    _look_for_others(settings, tell)
    tell(StageBegan("generator"))
    tell(Noted(calibrate().finding))
    stages = _Stages(job, settings, tell, settings.accuracy_target if trained else None)
    try:
        _, lost_workers = on_workers(job, settings, tell, stages.go_on)
    finally:
        stages.tell_answers()
    return RunResult(settings, stages.accuracy, stages.search.answers(), lost_workers)


class _Stages:
    """The stages of a run, which go on where they were when they get another pool."""

    def __init__(
        self, job: Job, settings: RunSettings, tell: Listener, accuracy_target: float | None
    ) -> None:
        self._samples = job.samples
        self._accuracy_target = accuracy_target
        self._label_offset = settings.label_offset
        self._tell = tell
        self.accuracy: Accuracy | None = None
        self.search = RateSearch(settings, tell)
        why = why_no_accuracy(settings, job)
        self._is_accuracy_due = why is None
        if why is not None:
            tell(Noted(Finding("accuracy_skipped", {"why": why})))

    def go_on(self, pool: Pool) -> None:
        """Do on this pool what is not done yet."""
        if self._is_accuracy_due:
            target = self._accuracy_target
            self._tell(StageBegan("accuracy"))
            summary, self.accuracy = check_accuracy(
                pool, self._samples, target, self._tell, self._label_offset
            )
            self._is_accuracy_due = False
            self._tell(AccuracyMeasured(summary, self.accuracy))
        self.search.on(pool)

    def tell_answers(self) -> None:
        """Tell the answers known by now, unless the search has not begun."""
        with held():
            if answers := self.search.answers():
                self._tell(SearchEnded(answers))


def _look_for_others(settings: RunSettings, tell: Listener) -> None:
    """Warn of busy programs before anything is measured, where they can slow the device down."""
    if not is_unmoved(settings) and (found := host_busy_before(look_at_host())):
        tell(Noted(found, warning=True))


def why_no_accuracy(settings: RunSettings, job: Job) -> str | None:
    """Return why the accuracy is not measured; None where it is."""
    if settings.skip_accuracy:
        return "--skip-accuracy"
    if settings.dataset == "synthetic":
        return "synthetic data has no true answers"
    if job.samples.labels is None:
        return "the samples have no labels"
    return None

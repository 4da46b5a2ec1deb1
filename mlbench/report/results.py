"""results.json, in which nothing measured is ever lost."""

import shlex
import sys
from collections.abc import Container, Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from mlbench import __version__
from mlbench.bench.events import (
    AccuracyMeasured,
    Event,
    Noted,
    Prepared,
    RunEnded,
    RunStarted,
    SearchEnded,
    TrialFinished,
)
from mlbench.bench.settings import RunSettings
from mlbench.contracts.findings import Finding
from mlbench.host.clock import now_ns
from mlbench.host.files import check_writable, numbered, real_path, replacing
from mlbench.host.system import describe_system
from mlbench.outcomes import Accuracy, Answer, Summary, Trial
from mlbench.report import documents
from mlbench.report.journal import Journal, encode, merge, read_whole
from mlbench.report.notation import trial_key
from mlbench.report.sentences import sentence

SCHEMA_VERSION = 1


class ResultFile:
    """Saves a run in the file that its settings name, `output`.

    Raises RequestError as the run starts when the path cannot be written, or another run writes
    there; each save raises RunError when the disk refuses.
    """

    def __init__(self) -> None:
        self._store: ResultStore | None = None

    @property
    def text(self) -> str:
        """The file's content."""
        return self._open_store.path.read_text()

    @property
    def _open_store(self) -> "ResultStore":
        if self._store is None:
            raise RuntimeError("no run has started")
        return self._store

    def __call__(self, event: Event) -> None:
        """Save what an event tells."""
        match event:
            case RunStarted(settings):
                self._store = ResultStore(settings.output, run_head(settings))
            case Prepared(served):
                self._open_store.know(asdict(served))
            case Noted(finding):
                self._open_store.add_finding(finding)
            case AccuracyMeasured(summary, accuracy):
                self._open_store.add_accuracy(summary, accuracy)
            case TrialFinished(trial):
                self._open_store.add_trial(trial)
            case SearchEnded(answers):
                self._open_store.set_answers(answers)
            case RunEnded() if self._store is not None:
                self._store.close()


def run_head(settings: RunSettings) -> documents.Document:
    """Return what is known of a run before it measures, as JSON."""
    return {
        "started": datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
        "cmdline": shlex.join(sys.argv),
        "version": __version__,
        "settings": settings.model_dump(mode="json"),
        "system": describe_system(),
    }


class ResultStore:
    """Keeps one run's results in the file `path`, or in what a link of that name leads to.

    `head`: what is known before the run, as JSON. Raises RequestError at once when the path cannot
    be written or is another run's, ValueError or TypeError when `head` is not JSON. With the first
    thing that is saved an earlier file is kept as `<path>.1`, or under the first number that is
    free. What follows goes to the journal, until `close` writes all of it into the file. Each
    raises RunError when the disk refuses. `runtime` counts from the store's construction.
    """

    def __init__(self, path: str | Path, head: documents.Document) -> None:
        self.path = real_path(path)
        self._started_ns = now_ns()
        self._document = empty_document(head)
        encode(self._document)
        check_writable(self.path)
        self._journal = Journal(self.path)
        self._has_saved = False

    def know(self, served: documents.Document) -> None:
        """Take note of what is served; that alone is nothing to save."""
        self._document["served"] = served

    def add_accuracy(self, summary: Summary, accuracy: Accuracy) -> None:
        """Save the accuracy stage."""
        self._save({"check_accuracy": documents.accuracy_document(summary, accuracy)})

    def add_trial(self, trial: Trial) -> None:
        """Save a finished trial; a key that is there already gets #2, #3, ..."""
        kind = trial.request.kind.name
        key = free_key(trial_key(trial.request), self._document["scan"].get(kind, {}))
        self._save({"scan": {kind: {key: documents.trial_entry(trial)}}})

    def set_answers(self, answers: Iterable[Answer]) -> None:
        """Save all answers known so far, in place of the earlier ones."""
        answers = list(answers)
        results = documents.results(answers)
        self._save({"results": results, "final_results": documents.final_results(answers)})

    def add_finding(self, finding: Finding) -> None:
        """Save a finding about the whole run, such as why accuracy was skipped."""
        (document,) = documents.finding_documents([finding])
        self._save({"notes": [sentence(finding)], "findings": [document]})

    def close(self) -> None:
        """Write the file whole, if anything was saved, and let others have it."""
        try:
            if self._has_saved:
                self._write()
                self._journal.clear()
        finally:
            self._journal.close()

    def _save(self, change: documents.Document) -> None:
        change = {"runtime": (now_ns() - self._started_ns) / 1e9, **change}
        merge(self._document, change)
        if self._has_saved:
            self._journal.append(change)
            return
        self._keep_earlier()
        self._journal.begin(self._write())
        self._has_saved = True

    def _keep_earlier(self) -> None:
        if self.path.exists():
            earlier = read_whole(self.path)
            with replacing(numbered(self.path)) as file:
                file.write(earlier)

    def _write(self) -> bytes:
        content = encode(self._document)
        with replacing(self.path) as file:
            file.write(content)
        return content


def free_key(key: str, taken: Container[str]) -> str:
    """Return `key`, or `key#2`, `key#3`, ... whichever is not among `taken`."""
    candidate, repeat = key, 1
    while candidate in taken:
        repeat += 1
        candidate = f"{key}#{repeat}"
    return candidate


def empty_document(head: documents.Document) -> documents.Document:
    """Return results in which nothing was measured yet."""
    return {
        "schema_version": SCHEMA_VERSION,
        "runtime": 0.0,
        **head,
        "served": None,
        "notes": [],
        "findings": [],
        "check_accuracy": None,
        "results": {},
        "final_results": {},
        "scan": {},
    }

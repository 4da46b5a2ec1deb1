"""results.json, rewritten whole after every trial so that nothing measured is ever lost."""

import json
import shlex
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from mlbench import __version__
from mlbench.bench.events import (
    AccuracyMeasured,
    Event,
    Noted,
    RunStarted,
    SearchEnded,
    TrialFinished,
)
from mlbench.bench.settings import RunSettings
from mlbench.contracts.errors import RequestError
from mlbench.contracts.findings import Finding
from mlbench.host.clock import now_ns
from mlbench.host.files import check_writable, replacing
from mlbench.host.system import describe_system
from mlbench.outcomes import Accuracy, Answer, Summary, Trial
from mlbench.report import documents
from mlbench.report.notation import trial_key
from mlbench.report.sentences import sentence

SCHEMA_VERSION = 1


class ResultFile:
    """Saves a run in the file that its settings name, `output`.

    Raises RequestError as the run starts when the path cannot be written. The first write keeps an
    earlier file as `<path>.1`; each write raises RunError when the disk refuses.
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
                self._store = ResultStore(settings.output, _head(settings))
            case Noted(finding):
                self._open_store.add_finding(finding)
            case AccuracyMeasured(summary, accuracy):
                self._open_store.add_accuracy(summary, accuracy)
            case TrialFinished(trial):
                self._open_store.add_trial(trial)
            case SearchEnded(answers):
                self._open_store.set_answers(answers)


def _head(settings: RunSettings) -> documents.Document:
    return {
        "started": datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
        "cmdline": shlex.join(sys.argv),
        "version": __version__,
        "settings": settings.model_dump(mode="json"),
        "system": describe_system(),
    }


class ResultStore:
    """Keeps one run's results in the file `path`.

    `head`: what is known before the run, as JSON. Raises RequestError at once when the path cannot
    be written, ValueError or TypeError when `head` is not JSON. The first write keeps an earlier
    file as `<path>.1`; each write raises RunError when the disk refuses. `runtime` counts from the
    store's construction.
    """

    def __init__(self, path: str | Path, head: documents.Document) -> None:
        self.path = Path(path).absolute()
        check_writable(self.path)
        self._keep_as: Path | None = self.path.with_name(f"{self.path.name}.1")
        if self._keep_as.is_dir():
            raise RequestError(
                f"cannot keep an earlier {self.path} as {self._keep_as}: that is a folder; move it"
            )
        self._started_ns = now_ns()
        self._document = _empty_document(head)
        _encode(self._document)

    def add_accuracy(self, summary: Summary, accuracy: Accuracy) -> None:
        """Save the accuracy stage."""
        self._document["check_accuracy"] = documents.accuracy_document(summary, accuracy)
        self._write()

    def add_trial(self, trial: Trial) -> None:
        """Save a finished trial; a key that is there already gets #2, #3, ..."""
        trials = self._document["scan"].setdefault(trial.request.kind.name, {})
        key = free_key(trial_key(trial.request), trials)
        trials[key] = documents.trial_entry(trial)
        self._write()

    def set_answers(self, answers: Iterable[Answer]) -> None:
        """Save all answers known so far, in place of the earlier ones."""
        answers = list(answers)
        self._document["results"] = documents.results(answers)
        self._document["final_results"] = documents.final_results(answers)
        self._write()

    def add_finding(self, finding: Finding) -> None:
        """Save a finding about the whole run, such as why accuracy was skipped."""
        self._document["notes"].append(sentence(finding))
        self._document["findings"] += documents.finding_documents([finding])
        self._write()

    def _write(self) -> None:
        self._document["runtime"] = (now_ns() - self._started_ns) / 1e9
        content = _encode(self._document)
        with replacing(self.path, keep_as=self._keep_as) as file:
            file.write(content)
        self._keep_as = None


def free_key(key: str, taken: Iterable[str]) -> str:
    """Return `key`, or `key#2`, `key#3`, ... whichever is not among `taken`."""
    names = set(taken)
    candidate, repeat = key, 1
    while candidate in names:
        repeat += 1
        candidate = f"{key}#{repeat}"
    return candidate


def _empty_document(head: documents.Document) -> documents.Document:
    return {
        "schema_version": SCHEMA_VERSION,
        "runtime": 0.0,
        **head,
        "notes": [],
        "findings": [],
        "check_accuracy": None,
        "results": {},
        "final_results": {},
        "scan": {},
    }


def _encode(document: documents.Document) -> bytes:
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()

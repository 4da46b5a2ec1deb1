"""results.json, rewritten whole after every trial so that nothing measured is ever lost."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlbench.contracts.errors import RequestError
from mlbench.host.clock import now_ns
from mlbench.host.files import check_writable, replacing
from mlbench.outcomes import Answer, Summary, Trial
from mlbench.report import documents
from mlbench.report.accuracy import Accuracy
from mlbench.report.notation import trial_key

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class RunHead:
    """What is known before a run: `started` is ISO 8601 with its zone, the dicts are plain JSON."""

    started: str
    cmdline: str
    version: str
    settings: dict[str, Any]
    system: dict[str, Any]


class ResultStore:
    """Keeps one run's results in the file `path`.

    Raises RequestError at once when the path cannot be written, ValueError or TypeError when `head`
    is not JSON. The first write keeps an earlier file as `<path>.1`; each write raises RunError
    when the disk refuses. `runtime` counts from the store's construction.
    """

    def __init__(self, path: str | Path, head: RunHead) -> None:
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

    def add_note(self, note: str) -> None:
        """Save a finding about the whole run, such as why accuracy was skipped."""
        self._document["notes"].append(note)
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


def _empty_document(head: RunHead) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "started": head.started,
        "runtime": 0.0,
        "version": head.version,
        "cmdline": head.cmdline,
        "settings": head.settings,
        "system": head.system,
        "notes": [],
        "check_accuracy": None,
        "results": {},
        "final_results": {},
        "scan": {},
    }


def _encode(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()

"""The results of `run --tune`: each answer is the winner's, with its settings."""

import math

from mlbench.bench.events import Event, RunStarted, SweepProgress
from mlbench.bench.settings import RunSettings
from mlbench.bench.sweep.machine import best_answers
from mlbench.bench.sweep.standing import Standing, SweepStanding
from mlbench.host.files import numbered, replacing
from mlbench.report import documents
from mlbench.report.documents import Document
from mlbench.report.journal import encode, read_whole
from mlbench.report.notation import plain, trial_key
from mlbench.report.results import empty_document, free_key, run_head
from mlbench.report.sweep_json import winner_entry


class TunedFile:
    """Writes the results of `run --tune` in the file that the settings name, after each turn.

    An earlier file is kept under a number. Raises RunError when the disk refuses.
    """

    def __init__(self) -> None:
        self._settings: RunSettings | None = None
        self._head: Document = {}
        self._has_saved = False
        self.document: Document = {}

    def __call__(self, event: Event) -> None:
        """Save what an event tells."""
        match event:
            case RunStarted(settings):
                self._settings, self._head = settings, run_head(settings)
            case SweepProgress(sweep) if self._settings is not None and sweep.measured_s:
                self.document = tuned_document(sweep, self._head)
                self._write(self._settings)

    def _write(self, settings: RunSettings) -> None:
        path = settings.output
        if not self._has_saved and path.exists():
            earlier = read_whole(path)
            with replacing(numbered(path)) as file:
                file.write(earlier)
        with replacing(path) as file:
            file.write(encode(self.document))
        self._has_saved = True


def tuned_document(sweep: SweepStanding, head: Document) -> Document:
    """Return results.json with the winner's answer for each limit, and the winners' trials."""
    best = best_answers(sweep)
    answers = [answer for answer, _ in best]
    results = documents.results(answers)
    for answer, one in best:
        entry = results[answer.kind][plain(answer.max_latency_s)]
        entry["settings"] = one.configuration.settings.model_dump(mode="json")
        rates = one.rates.get((answer.kind, answer.max_latency_s), {})
        entry["rounds"] = [
            {"round": number, "capacity_qps": math.exp(rates[number])} for number in sorted(rates)
        ]
    accuracy = next((one.accuracy for one in sweep.configurations if one.accuracy), None)
    return {
        **empty_document(head),
        "runtime": sweep.measured_s,
        "check_accuracy": accuracy and documents.accuracy_document(*accuracy),
        "results": results,
        "final_results": documents.final_results(answers),
        "scan": _scan(list({one.name: one for _, one in best}.values())),
        "tune": {
            "folder": sweep.folder.name,
            "configurations": {one.name: one.state for one in sweep.configurations},
            "winners": {
                f"{kind}/{plain(limit_s)}": winner_entry(winner)
                for (kind, limit_s), winner in sweep.winners.items()
            },
        },
    }


def _scan(standings: list[Standing]) -> dict[str, dict[str, Document]]:
    scan: dict[str, dict[str, Document]] = {}
    for one in standings:
        for trial, number in one.trials:
            own = scan.setdefault(trial.request.kind.name, {})
            key = free_key(trial_key(trial.request), own)
            entry = documents.trial_entry(trial)
            own[key] = {**entry, "round": number, "configuration": one.name}
    return scan

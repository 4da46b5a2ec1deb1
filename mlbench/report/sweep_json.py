"""A sweep as the plain dicts that its files are made of. Pure."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from mlbench import __version__
from mlbench.bench.sweep.standing import Standing, SweepStanding, Winner
from mlbench.outcomes import Answer
from mlbench.report import documents
from mlbench.report.documents import Document, finite
from mlbench.report.notation import plain, trial_key
from mlbench.report.results import empty_document, free_key
from mlbench.report.sentences import sentences

SCHEMA_VERSION = 1


def sweep_document(sweep: SweepStanding, system: Document) -> Document:
    """Return `sweep.json`; `system` is what the machine is."""
    winners: dict[str, dict[str, Document]] = {}
    for (kind, limit_s), winner in sweep.winners.items():
        winners.setdefault(kind, {})[plain(limit_s)] = winner_entry(winner)
    return {
        "schema_version": SCHEMA_VERSION,
        "id": sweep.id,
        "started": sweep.started,
        "version": __version__,
        "system": system,
        "file": dict(sweep.content),
        "budget_s": sweep.budget_s,
        "measured_s": sweep.measured_s,
        "configurations": [_configuration(one) for one in sweep.configurations],
        "winners": winners,
        **({} if sweep.tuning is None else {"tune": asdict(sweep.tuning)}),
    }


def _configuration(standing: Standing) -> Document:
    answers: dict[str, dict[str, Document]] = {}
    for answer in standing.answers:
        answers.setdefault(answer.kind, {})[plain(answer.max_latency_s)] = _answer(answer)
    return {
        "name": standing.name,
        "options": dict(standing.configuration.options),
        "state": standing.state,
        "reason": standing.reason,
        "results": f"{standing.name}/results.json",
        "rounds": standing.rounds,
        "measured_s": standing.measured_s,
        "answers": answers,
    }


def _answer(answer: Answer) -> Document:
    entry = documents.answer_entry(answer)
    keys = ("qps", "capacity_qps", "capacity_ci95", "energy_per_query_j", "notes")
    return {key: entry.get(key) for key in keys}


def winner_entry(winner: Winner) -> Document:
    """Return a winner, with the sentence that people read."""
    ratio = winner.ratio
    return {
        "name": winner.name,
        "runner_up": winner.runner_up,
        "ratio": None if ratio is None else finite(ratio.ratio),
        "ratio_ci95": None if ratio is None else [finite(ratio.low), finite(ratio.high)],
        "more_than_noise": winner.more_than_noise,
        "text": winner_sentence(winner),
    }


def winner_sentence(winner: Winner) -> str:
    """Return in words who won, by how much, and whether that is more than noise."""
    ratio = winner.ratio
    if ratio is None:
        return f"{winner.name}: no other has a rate"
    by = f"{_percent(ratio.ratio)} over {winner.runner_up}"
    if math.isfinite(ratio.high) and ratio.low > 0:
        by += f" (95 % interval {_percent(ratio.low)} to {_percent(ratio.high)}"
        by += f", {ratio.rounds} common rounds)" if winner.paired else ", no common rounds)"
    noise = "more than noise" if winner.more_than_noise else "it may be noise"
    return f"{winner.name}: {by}, {noise}"


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"


def results_document(sweep_id: str, standing: Standing, head: Document) -> Document:
    """Return the `results.json` of a configuration: that of a run, with its rounds."""
    scan: dict[str, dict[str, Document]] = {}
    for trial, number in standing.trials:
        own = scan.setdefault(trial.request.kind.name, {})
        key = free_key(trial_key(trial.request), own)
        own[key] = {**documents.trial_entry(trial), "round": number}
    accuracy = standing.accuracy
    results = documents.results(standing.answers)
    for answer in standing.answers:
        entry = results[answer.kind][plain(answer.max_latency_s)]
        entry["rounds"] = _rounds(standing, (answer.kind, answer.max_latency_s))
    return {
        **empty_document(head),
        "runtime": standing.measured_s,
        "served": standing.served and asdict(standing.served),
        "notes": sentences(standing.findings),
        "findings": documents.finding_documents(standing.findings),
        "check_accuracy": accuracy and documents.accuracy_document(*accuracy),
        "results": results,
        "final_results": documents.final_results(standing.answers),
        "scan": scan,
        "sweep": {"id": sweep_id, "name": standing.name},
    }


def _rounds(standing: Standing, key: tuple[str, float]) -> list[Document]:
    rates = standing.rates.get(key, {})
    return [
        {"round": number, "capacity_qps": finite(math.exp(rates[number]))}
        for number in sorted(rates)
    ]


def sweep_rows(sweep: SweepStanding) -> list[dict[str, Any]]:
    """Return the table: a row for each configuration and answer, all with the same columns."""
    options = dict.fromkeys(
        name for one in sweep.configurations for name in one.configuration.options
    )
    return [row for one in sweep.configurations for row in _rows(one, list(options), sweep)]


def _rows(standing: Standing, options: list[str], sweep: SweepStanding) -> Iterator[dict[str, Any]]:
    settings, known = standing.configuration.settings, standing.answer_by_key
    for kind in settings.arrivals:
        for limit_s in settings.max_latency:
            answer = known.get((kind, limit_s))
            winner = sweep.winners.get((kind, limit_s))
            entry = _answer(answer) if answer else {}
            low, high = entry.get("capacity_ci95") or (None, None)
            own = standing.configuration.options
            yield {
                "name": standing.name,
                **{name: _cell(own.get(name)) for name in options},
                "state": standing.state,
                "reason": standing.reason,
                "arrivals": kind,
                "max_latency_s": limit_s,
                "qps": entry.get("qps"),
                "capacity_qps": entry.get("capacity_qps"),
                "capacity_low_qps": low,
                "capacity_high_qps": high,
                "energy_per_query_j": entry.get("energy_per_query_j"),
                "rounds": standing.rounds,
                "measured_s": standing.measured_s,
                "is_winner": winner is not None and winner.name == standing.name,
            }


def _cell(value: Any) -> Any:
    """Return an option's value as a table has it: a list or a mapping as JSON."""
    return json.dumps(value) if isinstance(value, list | dict) else value

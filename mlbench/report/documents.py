"""Trials and answers as the plain dicts that results.json is made of. Pure."""

import math
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from mlbench.contracts.findings import Figure, Finding
from mlbench.outcomes import PERCENTILES, Accuracy, Answer, Judgement, Summary, Trial
from mlbench.records import HostAccount
from mlbench.report.notation import UNMET, plain, rate_number
from mlbench.report.sentences import sentence, sentences

Document = dict[str, Any]

_NOTHING_MEASURED: Document = {
    "mean": None,
    "runtime": None,
    "count": 0,
    "percentiles": dict.fromkeys(PERCENTILES),
}


def accuracy_document(summary: Summary, accuracy: Accuracy) -> Document:
    """Return `check_accuracy`: percentages, and the summary of the pass over the data."""
    document = {
        "accuacy": accuracy.percent,
        "accuracy": accuracy.percent,
        "accuracy_ci95": list(accuracy.ci95),
        "good_items": accuracy.good_items,
        "total_items": accuracy.total_items,
        **_summary(summary),
    }
    if accuracy.target is not None:
        document |= {"target": accuracy.target, "target_met": accuracy.target_met}
    if accuracy.skipped_images:
        document["skipped_images"] = list(accuracy.skipped_images)
    return document


def trial_entry(trial: Trial) -> Document:
    """Return one entry of `scan`."""
    request = trial.request
    return {
        **_summary(trial.summary),
        "target_latency": request.max_latency_s,
        "target_qps": request.target_qps,
        "offered_qps": finite(trial.offered_qps),
        "queries": request.queries,
        "seed": request.seed,
        **_judgement(trial.judgement),
        "judgements": {plain(at): _judgement(j) for at, j in trial.judgements.items()},
        "send_lag_s": {name: finite(value) for name, value in trial.send_lag_s.items()},
        "purpose": request.purpose,
        "queue_s": {name: finite(value) for name, value in trial.queue_s.items()},
        "service_s": {name: finite(value) for name, value in trial.service_s.items()},
        "host": host_document(trial.host),
        **energy_documents(trial.host, trial.summary.count),
        "notes": sentences(trial.findings),
        "findings": finding_documents([*trial.judgement.reasons, *trial.findings]),
    }


def answer_entry(answer: Answer) -> Document:
    """Return one entry of `results`; with qps -1 and no figures when the target is unmet."""
    trial = None if answer.qps is None else answer.trial
    ci95 = answer.capacity_ci95
    return {
        **(_summary(trial.summary) if trial else _NOTHING_MEASURED),
        "qps": UNMET if answer.qps is None else answer.qps,
        "target_latency": answer.max_latency_s,
        "capacity_qps": finite(answer.capacity_qps),
        "capacity_ci95": None if ci95 is None else [finite(end) for end in ci95],
        "meets_again": finite(answer.meets_again),
        "energy_per_query_j": energy_per_query_j(trial.host, trial.summary.count)
        if trial
        else None,
        "curve": [asdict(point) for point in answer.curve],
        "trials": answer.trials,
        "measured_s": answer.measured_s,
        "queries": answer.queries,
        "notes": sentences(answer.findings),
        "findings": finding_documents(answer.findings),
    }


def results(answers: Iterable[Answer]) -> dict[str, dict[str, Document]]:
    """Return `results`: arrivals -> target latency -> entry."""
    table: dict[str, dict[str, Document]] = {}
    for answer in answers:
        table.setdefault(answer.kind, {})[plain(answer.max_latency_s)] = answer_entry(answer)
    return table


def final_results(answers: Iterable[Answer]) -> dict[str, dict[str, int | float]]:
    """Return `final_results`: arrivals -> target latency -> rate rounded down, -1 when unmet."""
    table: dict[str, dict[str, int | float]] = {}
    for answer in answers:
        rates = table.setdefault(answer.kind, {})
        rates[plain(answer.max_latency_s)] = rate_number(answer.qps)
    return table


def finite(value: float | None) -> float | None:
    """Return `value` as JSON can hold it: None for what is unknown, infinite or not a number."""
    return float(value) if value is not None and math.isfinite(value) else None


def _summary(summary: Summary) -> Document:
    return {
        "qps": finite(summary.qps),
        "mean": finite(summary.mean_s),
        "runtime": finite(summary.runtime_s),
        "count": summary.count,
        "percentiles": {p: finite(value) for p, value in summary.percentiles.items()},
    }


def _judgement(judgement: Judgement) -> Document:
    return {
        "verdict": judgement.verdict,
        "reasons": sentences(judgement.reasons),
        "findings": finding_documents(judgement.reasons),
    }


def finding_documents(findings: Iterable[Finding]) -> list[Document]:
    """Return findings as objects of code, figures and text."""
    return [
        {
            "code": found.code,
            "figures": {name: _figure(value) for name, value in found.figures.items()},
            "text": sentence(found),
        }
        for found in findings
    ]


def _figure(value: Figure) -> Figure:
    return finite(value) if isinstance(value, float) else value


def host_document(host: HostAccount | None) -> Document | None:
    """Return what the host did during a trial; None where nobody watched it."""
    if host is None:
        return None
    document = asdict(replace(host, energy=None, parts=()))
    del document["energy"], document["parts"]  # energy stands beside the host
    if host.parts:
        parts = [{"name": name, "account": host_document(part)} for name, part in host.parts]
        document["hosts"] = parts
    return {**document.pop("all_cores"), **document}


def energy_documents(host: HostAccount | None, completed: int) -> Document:
    """Return the keys of a trial that tell its energy; `completed` queries shared it."""
    energy = host.energy if host else None
    parts = ("measured_s", "package_j", "dram_j", "gpu_j")
    return {
        "energy_j": finite(energy.total_j) if energy else None,
        "energy_per_query_j": energy_per_query_j(host, completed),
        "energy": {part: finite(getattr(energy, part)) for part in parts} if energy else None,
    }


def energy_per_query_j(host: HostAccount | None, completed: int) -> float | None:
    """Return the joules of a trial over its completed queries; None where one is not known."""
    total_j = host.energy.total_j if host and host.energy else None
    return finite(total_j / completed) if total_j is not None and completed else None

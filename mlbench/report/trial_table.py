"""A trial's document as a table for people."""

from collections.abc import Mapping
from typing import Any

from mlbench.report.notation import duration_text, joules_text


def trial_rows(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (title, value) rows in plain words and units, from `trial_document`'s result."""
    d = document
    rows = [
        ("arrivals", f"{d['arrivals']}, seed {d['seed']}"),
        (
            "rate",
            f"{d['target_qps']:,.2f} qps asked, {d['offered_qps']:,.2f} offered,"
            f" {d['achieved_qps']:,.2f} achieved",
        ),
        (
            "queries",
            f"{d['queries']:,}: {d['completed']:,} completed, {d['failed']:,} failed,"
            f" {d['lost']:,} lost, in {d['duration_s']:.2f} s",
        ),
        ("latency", _spread(d["latency_s"], "mean", "50", "90", "99", "99.9", "max")),
        ("waiting", _spread(d["queue_s"], "mean", "50", "99", "max")),
        ("service", _spread(d["service_s"], "mean", "50", "99", "max")),
        ("way back", _spread(d["return_s"], "mean", "50", "99", "max")),
        ("harness adds", _spread(d["send_lag_s"], "50", "99", "max")),
        ("mean batch", _number(d["batch_size_mean"], "queries")),
        (
            "coordinator",
            f"{d['coordinator_busy']:.1%} busy, {d['frames']:,} frames"
            f" of {_number(d['queries_per_frame_mean'], 'queries')}",
        ),
        *((f"worker {index}", _worker(worker)) for index, worker in enumerate(d["workers"])),
        ("energy", _energy(d)),
        ("verdict", d["verdict"] or "none, no limit was given"),
        *(("reason", reason) for reason in d["reasons"]),
    ]
    return [(title, value) for title, value in rows if value]


def _spread(spread: Mapping[str, float | None], *keys: str) -> str:
    """Name each figure that is known; an empty text when none is."""
    known = ((key, spread[key]) for key in keys)
    return ", ".join(
        f"{f'p{key}' if key[0].isdigit() else key} {duration_text(value)}"
        for key, value in known
        if value is not None
    )


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:,.2f} {unit}"


def _worker(worker: Mapping[str, Any]) -> str:
    return f"{worker['device']}: {worker['queries']:,} queries, busy {worker['busy_fraction']:.1%}"


def _energy(document: Mapping[str, Any]) -> str:
    """Return joules by their source; an empty text where the machine does not tell."""
    total_j, per_query_j = document["energy_j"], document["energy_per_query_j"]
    if total_j is None or per_query_j is None:
        return ""
    titles = {"package_j": "CPU packages", "dram_j": "DRAM", "gpu_j": "GPUs"}
    parts = [
        f"{title} {joules_text(joules)}"
        for key, title in titles.items()
        if (joules := document["energy"][key]) is not None
    ]
    watts = total_j / document["energy"]["measured_s"]
    return (
        f"{joules_text(per_query_j)} a query, {joules_text(total_j)} in all,"
        f" {watts:,.1f} W ({', '.join(parts)})"
    )

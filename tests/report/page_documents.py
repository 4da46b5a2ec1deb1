"""Documents that pages are made from: runs, trials and a sweep with known figures."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LIMITS_S = (0.02, 0.05, 0.1)
PERCENTILES = (("50", 0.3), ("80", 0.5), ("90", 0.7), ("95", 0.8), ("99", 1.0), ("99.9", 1.2))


def spread(p99_s: float) -> dict[str, float]:
    """Return the percentiles of a time with this 99th one."""
    return {key: share * p99_s for key, share in PERCENTILES}


def latency_s(qps: float, capacity_qps: float = 130.0) -> float:
    """Return the 99th percentile of a device that saturates a little above its capacity."""
    return 0.01 / max(1.08 - qps / capacity_qps, 0.005)


def run_document(trials: int = 12, speed: float = 1.0, **changed: Any) -> dict[str, Any]:
    """Return the results of a run of two kinds of arrivals, three limits, and so many trials."""
    kinds = ("linear", "exponential")
    document = {
        "schema_version": 1,
        "started": "2025-03-01T12:00:00+00:00",
        "runtime": 100.0,
        "version": "0.1.0",
        "cmdline": "/usr/bin/mlbench-coordinator run --model net.onnx",
        "settings": {
            "model": "models/net.onnx",
            "backend": "onnxruntime",
            "percentile": 99.0,
            "seed": 7,
            "devices": ["cpu"],
        },
        "system": {"cpu": {"model": "Some CPU", "cores": 2}, "memory_bytes": 2**34},
        "notes": ["workers: 2 of 1 thread"],
        "findings": [],
        "check_accuracy": accuracy(),
        "results": {kind: answers(speed) for kind in kinds},
        "final_results": {},
        "scan": {kind: scan(kind, trials // 2, speed) for kind in kinds},
    }
    return {**document, **changed}


def accuracy() -> dict[str, Any]:
    """Return an accuracy stage with 90 of 100 right."""
    return {
        "accuracy": 90.0,
        "accuracy_ci95": [82.6, 94.5],
        "good_items": 90,
        "total_items": 100,
    }


def answers(speed: float = 1.0) -> dict[str, Any]:
    """Return answers: none within 20 ms, and 100 and 120 qps (at speed 1) within the others."""
    found = {}
    for limit_s, qps in zip(LIMITS_S, (None, 100.0, 120.0), strict=True):
        capacity_qps = 1.05 * qps * speed if qps else 0.0
        found[f"{limit_s:g}"] = {
            "qps": qps * speed if qps else -1,
            "percentiles": spread(latency_s(qps)) if qps else dict.fromkeys(("50", "99")),
            "target_latency": limit_s,
            "capacity_qps": capacity_qps,
            "capacity_ci95": [0.97 * capacity_qps, 1.03 * capacity_qps],
            "meets_again": 0.9 if qps else None,
            "energy_per_query_j": 0.25 if qps else None,
            "trials": 4,
            "measured_s": 30.0,
            "queries": 3000,
            "curve": curve(speed) if qps else [],
            "notes": [] if qps else ["the service time's 99th percentile is over 20 ms"],
        }
    return found


def curve(speed: float) -> list[dict[str, float]]:
    """Return a model's curve of 16 points."""
    points = []
    for n in range(16):
        qps = (10 + 8 * n) * speed
        at_s = latency_s(qps / speed)
        points.append({"qps": qps, "latency_s": at_s, "low_s": 0.9 * at_s, "high_s": 1.1 * at_s})
    return points


def scan(kind: str, trials: int, speed: float) -> dict[str, Any]:
    """Return so many trials, from slow to fast, with every verdict among them."""
    verdicts = itertools.cycle(("pass", "pass", "undecided", "fail", "invalid"))
    found = {}
    for n, verdict in zip(range(trials), verdicts, strict=False):
        qps = (20 + 110 * n / max(trials - 1, 1)) * speed
        limit_s = LIMITS_S[n % len(LIMITS_S)]
        found[f"{kind}/{limit_s:g}/{math.floor(qps)}#{n + 2}"] = {
            "target_latency": limit_s,
            "target_qps": qps,
            "queries": 1000,
            "seed": n,
            "verdict": verdict,
            "reasons": [f"p99 {latency_s(qps / speed) * 1e3:.3g} ms, {verdict} of {limit_s:g}"],
            "percentiles": spread(latency_s(qps / speed)),
            "purpose": "search",
            "service_s": spread(0.008),
            "queue_s": spread(latency_s(qps / speed) - 0.008),
            "send_lag_s": {"50": 2e-5, "99": 9e-5, "max": 4e-4},
        }
    return found


def older(document: dict[str, Any]) -> dict[str, Any]:
    """Return the same results as a version without curves and parts of the latency wrote them."""
    for entries in document["results"].values():
        for entry in entries.values():
            del entry["curve"]
    for entries in document["scan"].values():
        for entry in entries.values():
            for key in ("purpose", "service_s", "queue_s"):
                del entry[key]
    return document


def trial_document() -> dict[str, Any]:
    """Return what `trial --json` prints, in its main parts."""
    return {
        "arrivals": "exponential",
        "target_qps": 80.0,
        "queries": 800,
        "completed": 799,
        "failed": 1,
        "lost": 0,
        "seed": 5,
        "latency_s": {"mean": 0.02, "max": 0.09, **spread(0.06)},
        "queue_s": {"mean": 0.01, "max": 0.07, **spread(0.05)},
        "service_s": {"mean": 0.01, "max": 0.02, **spread(0.012)},
        "send_lag_s": {"50": 2e-5, "99": 9e-5, "max": 4e-4},
        "energy_per_query_j": 0.125,
        "verdict": "fail",
        "reasons": ["p99 60 ms is over 50 ms: 12 of 799 were later"],
        "workers": [{"device": "cpu", "queries": 799, "busy_fraction": 0.8}],
        "host": {"other_cpu_fraction": 0.01},
    }


def sweep_document() -> dict[str, Any]:
    """Return a sweep over four batch sizes and two thread counts: b4-t2 wins, b8-t1 failed."""
    configurations = []
    for batch, threads in itertools.product((1, 2, 4, 8), (1, 2)):
        failed = (batch, threads) == (8, 1)
        qps = 100.0 * threads**0.5 * {1: 1.0, 2: 1.3, 4: 1.5, 8: 1.4}[batch]
        cell = {
            "qps": 0.95 * qps,
            "capacity_qps": qps,
            "capacity_ci95": [0.97 * qps, 1.03 * qps],
            "energy_per_query_j": 30.0 / qps,
            "notes": [],
        }
        configurations.append(
            {
                "name": f"b{batch}-t{threads}",
                "options": {"batch_size": batch, "threads": threads, "dataset": "synthetic"},
                "state": "failed" if failed else "measured",
                "reason": "worker 0 ended: out of memory" if failed else None,
                "results": f"b{batch}-t{threads}/results.json",
                "rounds": 0 if failed else 5,
                "measured_s": 60.0,
                "answers": {} if failed else {"exponential": {"0.05": cell}},
            }
        )
    winner = {
        "name": "b4-t2",
        "runner_up": "b8-t2",
        "ratio": 1.07,
        "ratio_ci95": [1.03, 1.12],
        "more_than_noise": True,
        "text": "b4-t2 is 1.07 times as fast as b8-t2",
    }
    return {
        "schema_version": 1,
        "id": "0f3a",
        "started": "2025-03-01T12:00:00+00:00",
        "version": "0.1.0",
        "system": {"cpu": {"model": "Some CPU", "cores": 2}},
        "file": {"base": {"dataset": "synthetic"}, "grid": {"batch_size": [1, 2, 4, 8]}},
        "budget_s": 480.0,
        "measured_s": 420.0,
        "configurations": configurations,
        "winners": {"exponential": {"0.05": winner}},
    }


def write_raw(
    path: Path,
    due_ns: NDArray[np.int64],
    start_ns: NDArray[np.int64],
    done_ns: NDArray[np.int64],
    status: NDArray[np.uint8],
) -> None:
    """Write what `trial --raw` saves of queries with these times."""
    ids = np.arange(len(due_ns), dtype=np.uint32)
    np.savez(
        path,
        id=ids,
        sample=ids,
        worker=np.zeros(len(ids), np.uint16),
        due_ns=due_ns,
        sent_ns=due_ns,
        start_ns=start_ns,
        done_ns=done_ns,
        status=status,
    )

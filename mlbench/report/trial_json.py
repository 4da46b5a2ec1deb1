"""One trial as JSON. Pure."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.outcomes import Judgement
from mlbench.records import Completions
from mlbench.report.documents import energy_documents, finding_documents, host_document
from mlbench.report.sentences import sentences
from mlbench.trial.host import host_notes
from mlbench.trial.summary import (
    completed_rows,
    queue_spread_s,
    send_lag_spread_s,
    service_spread_s,
    spread_s,
)

Spread = dict[str, float | None]


def trial_document(
    completions: Completions, lag_ns: NDArray[np.int64], judgement: Judgement | None = None
) -> dict[str, Any]:
    """Return a trial as plain JSON: rates in queries per second, times in seconds.

    `lag_ns` (n,) is what the load generator added to each query, from `mlbench.trial.replay`;
    `judgement` is None when there was no limit to judge by. All times are those of the completed
    queries; `return_s` holds nulls in virtual time. A percentile
    that too few queries can tell is null.
    """
    schedule, completed = completions.schedule, completions.completed
    sent = int(np.count_nonzero(completions.sent_ns))
    duration_s = completions.duration_s
    reasons = judgement.reasons if judgement else ()
    return {
        "arrivals": schedule.kind,
        "target_qps": schedule.target_qps,
        "offered_qps": schedule.offered_qps,
        "achieved_qps": completed / duration_s if duration_s else 0.0,
        "queries": len(schedule.due_ns),
        "completed": completed,
        "failed": completions.failed,
        "lost": completions.lost,
        "duration_s": duration_s,
        "seed": schedule.seed,
        "batch_size_mean": _batch_size_mean(completions),
        **_stages(completions, lag_ns),
        "coordinator_busy": completions.coordinator_busy,
        "frames": completions.frames,
        "queries_per_frame_mean": sent / completions.frames if completions.frames else None,
        "verdict": judgement.verdict if judgement else None,
        "reasons": sentences(reasons),
        "findings": finding_documents([*reasons, *host_notes(completions.host)]),
        "host": host_document(completions.host),
        **energy_documents(completions.host, completed),
        "workers": [
            {"device": w.device, "queries": w.queries, "busy_fraction": w.busy_fraction}
            for w in completions.workers
        ],
        **_of_hosts(completions),
    }


def _of_hosts(completions: Completions) -> dict[str, Any]:
    """Return the account of each host of a cluster; nothing where there is none."""
    if completions.on_host is None:
        return {}
    latency_ns, entries = completions.done_ns - completions.due_ns, []
    for name, own in zip(completions.hosts, completions.host_rows(), strict=True):
        status = completions.status[own]
        counts = np.bincount(status, minlength=3)
        served_ns = latency_ns[own[status == wire.COMPLETED]]
        entries.append(
            {
                "name": name,
                "queries": int(counts.sum()),
                "completed": int(counts[wire.COMPLETED]),
                "failed": int(counts[wire.FAILED]),
                "lost": int(counts[wire.LOST]),
                "latency_s": spread_s(served_ns),
            }
        )
    return {"hosts": entries}


def _stages(completions: Completions, lag_ns: NDArray[np.int64]) -> dict[str, Spread]:
    c, due_ns, no_times = completions, completions.due_ns, np.empty(0, np.int64)
    ok = completed_rows(c)
    return {
        "latency_s": spread_s((c.done_ns - due_ns)[ok]),
        "queue_s": queue_spread_s(c),
        "service_s": service_spread_s(c),
        "return_s": spread_s(
            no_times if c.returned_ns is None else (c.returned_ns - c.done_ns)[ok]
        ),
        "send_lag_s": send_lag_spread_s(c, lag_ns),
    }


def _batch_size_mean(completions: Completions) -> float | None:
    """Queries over batches: a batch of size b is b queries of 1/b batch each."""
    sizes = completions.batch[completions.status == wire.COMPLETED]
    if len(sizes) == 0:
        return None
    counts = np.bincount(sizes)
    batches = float(np.sum(counts[1:] / np.arange(1, len(counts))))
    return len(sizes) / batches

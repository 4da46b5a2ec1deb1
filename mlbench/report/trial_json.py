"""One trial as JSON, as a table for people, and as raw columns."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.host.files import replacing
from mlbench.outcomes import PERCENTILES, Judgement
from mlbench.queueing.line import Queue
from mlbench.records import Completions
from mlbench.stats.percentiles import percentiles
from mlbench.trial.replay import send_lag_ns

NS_PER_S = 1e9

Spread = dict[str, float | None]


def trial_document(
    completions: Completions, queue: Queue, judgement: Judgement | None = None
) -> dict[str, Any]:
    """Return a trial as plain JSON: rates in queries per second, times in seconds.

    `queue` is the shape of the pool, `judgement` None when there was no limit to judge by. All
    times are those of the completed queries; `return_s` holds nulls in virtual time. A percentile
    that too few queries can tell is null.
    """
    schedule, completed = completions.schedule, completions.completed
    sent = int(np.count_nonzero(completions.sent_ns))
    duration_s = completions.duration_s
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
        **_stages(completions, queue),
        "coordinator_busy": completions.coordinator_busy,
        "frames": completions.frames,
        "queries_per_frame_mean": sent / completions.frames if completions.frames else None,
        "verdict": judgement.verdict if judgement else None,
        "reasons": list(judgement.reasons) if judgement else [],
        "workers": [
            {"device": w.device, "queries": w.queries, "busy_fraction": w.busy_fraction}
            for w in completions.workers
        ],
    }


def save_raw(path: str | Path, completions: Completions) -> None:
    """Save every query of a trial as the columns of an .npz file, all of shape (n,).

    id, sample (uint32), worker (uint16), due_ns, sent_ns, start_ns, done_ns (int64, monotonic
    clock), status (uint8: 0 lost, 1 completed, 2 failed). Raises RunError when the file cannot be
    written.
    """
    ids = np.arange(len(completions.status), dtype=np.uint32)
    unknown = np.zeros(len(ids), np.uint32)
    with replacing(Path(path).absolute()) as file:
        np.savez(
            file,
            id=ids,
            sample=unknown if completions.sample is None else completions.sample,
            worker=completions.worker,
            due_ns=completions.due_ns,
            sent_ns=completions.sent_ns,
            start_ns=completions.start_ns,
            done_ns=completions.done_ns,
            status=completions.status,
        )


def _stages(completions: Completions, queue: Queue) -> dict[str, Spread]:
    c, due_ns, no_times = completions, completions.due_ns, np.empty(0, np.int64)
    ok = _rows(c.status == wire.COMPLETED)
    send_lag = _spread_s(send_lag_ns(c, queue)[ok])
    return {
        "latency_s": _spread_s((c.done_ns - due_ns)[ok]),
        "queue_s": _spread_s((c.start_ns - due_ns)[ok]),
        "service_s": _spread_s((c.done_ns - c.start_ns)[ok]),
        "return_s": _spread_s(
            no_times if c.returned_ns is None else (c.returned_ns - c.done_ns)[ok]
        ),
        "send_lag_s": {key: send_lag[key] for key in ("50", "99", "max")},
    }


def _rows(mask: NDArray[np.bool_]) -> slice | NDArray[np.bool_]:
    # A slice selects without a copy, which ten million queries would feel.
    return slice(None) if bool(mask.all()) else mask


def _spread_s(times_ns: NDArray[np.int64]) -> Spread:
    if len(times_ns) == 0:
        return dict.fromkeys(("mean", *PERCENTILES, "max"))
    at = {p: None if ns is None else ns / NS_PER_S for p, ns in percentiles(times_ns).items()}
    return {"mean": float(times_ns.mean()) / NS_PER_S, **at, "max": int(times_ns.max()) / NS_PER_S}


def _batch_size_mean(completions: Completions) -> float | None:
    """Queries over batches: a batch of size b is b queries of 1/b batch each."""
    sizes = completions.batch[completions.status == wire.COMPLETED]
    if len(sizes) == 0:
        return None
    counts = np.bincount(sizes)
    batches = float(np.sum(counts[1:] / np.arange(1, len(counts))))
    return len(sizes) / batches

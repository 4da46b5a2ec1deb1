"""One trial in a few numbers."""

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.outcomes import PERCENTILES, Summary
from mlbench.records import Completions
from mlbench.stats.percentiles import percentiles

NS_PER_S = 1e9


def summarise(completions: Completions, bounded: float = 99.0) -> Summary:
    """Put one trial in a few numbers; latencies count from the scheduled time.

    `bounded`: the percentile that is bounded, which is among those of the summary.
    """
    at = dict.fromkeys((*PERCENTILES, np.format_float_positional(bounded, trim="-")))
    latency_s = completions.latency_s
    runtime_s = completions.duration_s
    return Summary(
        qps=len(latency_s) / runtime_s if runtime_s else 0.0,
        mean_s=float(latency_s.mean()) if len(latency_s) else None,
        runtime_s=runtime_s,
        count=len(latency_s),
        percentiles=percentiles(latency_s, at),
        max_s=float(latency_s.max()) if len(latency_s) else None,
    )


def spread_s(times_ns: NDArray[np.int64]) -> dict[str, float | None]:
    """Return the mean, the usual percentiles and the maximum of times (n,), in seconds.

    None for a percentile that too few times can tell, and for all of no times.
    """
    if len(times_ns) == 0:
        return dict.fromkeys(("mean", *PERCENTILES, "max"))
    at = {p: None if ns is None else ns / NS_PER_S for p, ns in percentiles(times_ns).items()}
    return {"mean": float(times_ns.mean()) / NS_PER_S, **at, "max": int(times_ns.max()) / NS_PER_S}


def send_lag_spread_s(
    completions: Completions, lag_ns: NDArray[np.int64]
) -> dict[str, float | None]:
    """Return "50", "99" and "max" of what the load generator added to completed queries, seconds.

    `lag_ns` (n,) is from `mlbench.trial.replay`.
    """
    spread = spread_s(lag_ns[completed_rows(completions)])
    return {key: spread[key] for key in ("50", "99", "max")}


def queue_spread_s(completions: Completions) -> dict[str, float | None]:
    """Return the spread of the seconds from due to start of the completed queries."""
    waits_ns = completions.start_ns - completions.due_ns
    return spread_s(waits_ns[completed_rows(completions)])


def service_spread_s(completions: Completions) -> dict[str, float | None]:
    """Return the spread of the seconds from start to done of the completed queries."""
    service_ns = completions.done_ns - completions.start_ns
    return spread_s(service_ns[completed_rows(completions)])


def completed_rows(completions: Completions) -> slice | NDArray[np.bool_]:
    """Return what selects the completed queries from a column.

    A slice selects without a copy, which ten million queries would feel.
    """
    completed = completions.status == wire.COMPLETED
    return slice(None) if bool(completed.all()) else completed

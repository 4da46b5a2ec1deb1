"""One trial in a few numbers."""

from mlbench.outcomes import PERCENTILES, Summary
from mlbench.records import Completions
from mlbench.stats.percentiles import percentiles


def summarise(completions: Completions, bounded: float = 99.0) -> Summary:
    """Put one trial in a few numbers; latencies count from the scheduled time.

    `bounded`: the percentile that is bounded, which is among those of the summary.
    """
    at = dict.fromkeys((*PERCENTILES, f"{bounded:.10g}"))
    latency_s = completions.latency_s
    runtime_s = completions.duration_s
    return Summary(
        qps=len(latency_s) / runtime_s if runtime_s else 0.0,
        mean_s=float(latency_s.mean()) if len(latency_s) else None,
        runtime_s=runtime_s,
        count=len(latency_s),
        percentiles=percentiles(latency_s, at),
    )

"""What this machine's generator is good for, measured against a device that answers at once."""

from dataclasses import asdict, dataclass

from mlbench.arrivals.exponential import Exponential
from mlbench.bench.failover import play
from mlbench.contracts.backend import WorkerSpec
from mlbench.contracts.findings import Finding
from mlbench.pool.coordinator import WorkerPool
from mlbench.pool.local import LocalLauncher
from mlbench.queueing.line import Queue
from mlbench.records import Completions
from mlbench.stats.percentiles import percentile
from mlbench.trial.replay import send_lag_ns
from mlbench.trial.schedule import make_schedule, query_count

_MAX_LATENCY_S = 0.010
_LAG_QPS, _LAG_S = 1_000.0, 1.0
_RATES_QPS = (50_000.0, 100_000.0, 200_000.0, 400_000.0, 800_000.0)
_STEP_S = 0.25
_BATCH = 1024  # queries that a worker may answer at once, so that the generator is the limit


@dataclass(frozen=True)
class Calibration:
    """The generator's own limits.

    `lag_p50_s`, `lag_p99_s`: what it adds to a query at 1,000 queries per second. `held_qps`: the
    highest rate tried that kept the 99th percentile within 10 ms; 0 when none did.
    """

    lag_p50_s: float
    lag_p99_s: float
    held_qps: float

    @property
    def finding(self) -> Finding:
        """The same with the rate and the limit that it was measured at."""
        at = {"lag_qps": _LAG_QPS, "max_latency_s": _MAX_LATENCY_S}
        return Finding("generator", {**asdict(self), **at})


def calibrate() -> Calibration:
    """Measure against one null worker; takes about three seconds."""
    spec = WorkerSpec(0, "", "null", batch_size=_BATCH, sample_count=1 << 20)
    with WorkerPool([spec], LocalLauncher(), warm_up_s=0.1) as pool:
        p50, p99 = _lag_s(_play(pool, _LAG_QPS, _LAG_S))
        return Calibration(p50, p99, _highest_held(pool))


def _highest_held(pool: WorkerPool) -> float:
    held = 0.0
    for qps in _RATES_QPS:
        completions = _play(pool, qps, _STEP_S)
        if completions.lost or percentile(completions.latency_s, 99) > _MAX_LATENCY_S:
            break
        held = qps
    return held


def _play(pool: WorkerPool, qps: float, duration_s: float) -> Completions:
    return play(pool, make_schedule(Exponential(), qps, query_count(qps, duration_s), seed=1))


def _lag_s(completions: Completions) -> tuple[float, float]:
    lag_ns = send_lag_ns(completions, Queue(1, _BATCH))
    return percentile(lag_ns, 50) * 1e-9, percentile(lag_ns, 99) * 1e-9

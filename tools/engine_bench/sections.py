"""What is compared: each section yields rows (metric, system, value); higher-level code repeats."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from engine_bench.dispatch import Row, dispatch
from engine_bench.ours import (
    BOUND_S,
    highest_held,
    lag_s,
    null_pool,
    percentile_s,
    play,
    simulated_pool,
)
from engine_bench.systems import lite0_spec
from mlbench.outcomes import LatencyLimit
from mlbench.pool.coordinator import WorkerPool
from mlbench.pool.local import LocalLauncher
from mlbench.queueing.capacity import predict_capacity
from mlbench.queueing.line import Queue
from mlbench.queueing.service import ServiceTimes
from mlbench.report.notation import plain
from mlbench.trial.schedule import make_schedule

_HERE = Path(__file__).parent


def _script(name: str, *arguments: object) -> dict[str, Any]:
    """Run a script of this folder in a process of its own; return its line of JSON."""
    command = [sys.executable, str(_HERE / name), *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, start_new_session=True
    )
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def rate(repeat: int) -> Iterator[Row]:
    """Highest Poisson rate that keeps p99 within 10 ms on a null system."""
    metric = f"highest qps with p99 <= {BOUND_S * 1e3:.0f} ms"
    for sut, start_qps in (("threaded", 60_000), ("inline", 100_000)):

        def loadgen(qps: float, sut: str = sut) -> float:
            return _script("loadgen_trial.py", sut, qps, 1.0)["p99_s"]

        yield metric, f"LoadGen, {sut} Python SUT", highest_held(loadgen, start_qps)
    for batch_size, start_qps in ((1, 150_000), (1024, 400_000)):
        with null_pool(batch_size) as pool:

            def ours(qps: float, pool: WorkerPool = pool) -> float:
                return percentile_s(play(pool, qps, 1.0, repeat), 99)

            yield metric, f"mlbench, batch size {batch_size}", highest_held(ours, start_qps)


def lag(repeat: int) -> Iterator[Row]:
    """How late queries start: ours as measured; LoadGen's inline latency is an upper bound."""
    with null_pool(1) as pool:
        for qps in (1_000, 10_000):
            completions = play(pool, qps, 4.0, repeat)
            for p in (50, 99):
                metric = f"start less due, p{p} at {qps:,} qps (us)"
                yield metric, "mlbench", lag_s(completions, p) * 1e6
            peer = _script("loadgen_trial.py", "inline", qps, 4.0)
            for p in (50, 99):
                metric = f"start less due, p{p} at {qps:,} qps (us)"
                yield metric, "LoadGen (latency of an inline SUT)", peer[f"p{p}_s"] * 1e6
    with _lite0_pool(1, 1) as pool:
        completions = pool.run(make_schedule("linear", 20.0, 120, repeat))
    metric = "start less due, p50 at 20 qps, EfficientNet-Lite0 (us)"
    yield metric, "mlbench", lag_s(completions, 50) * 1e6
    with simulated_pool({"service_ms": "2"}, 1) as pool:
        begin_s, cpu_s = time.monotonic(), time.process_time()
        play(pool, 300.0, 10.0, repeat)
        cores = (time.process_time() - cpu_s) / (time.monotonic() - begin_s)
    yield "CPU of the coordinator's process at 300 qps (% of a core)", "mlbench", cores * 100


def model(repeat: int) -> Iterator[Row]:
    """The pool against the bare ONNX Runtime loop, EfficientNet-Lite0, same session settings."""
    for batch in (1, 8):
        bare = _script("bare.py", "saturated", batch, 1, 4.0)["qps"]
        yield f"saturated images/s, batch {batch}, one thread", "bare ONNX Runtime loop", bare
        with _lite0_pool(batch, 1) as pool:
            ours = _saturated_qps(pool, bare, repeat)
        yield f"saturated images/s, batch {batch}, one thread", "mlbench", ours
        yield f"saturated throughput, batch {batch}", "mlbench / bare", ours / bare
    metric = "unloaded latency p50 at 20 qps (us)"
    bare_us = _script("bare.py", "paced", 1, 1, 6.0, 20)["service_p50_s"] * 1e6
    yield metric, "bare session, paced", bare_us
    with _lite0_pool(1, 1) as pool:
        completions = pool.run(make_schedule("linear", 20.0, 120, repeat))
    yield metric, "mlbench", percentile_s(completions, 50) * 1e6


def _lite0_pool(batch_size: int, threads: int) -> WorkerPool:
    return WorkerPool([lite0_spec(threads, batch_size)], LocalLauncher())


def _saturated_qps(pool: WorkerPool, guess_qps: float, seed: int) -> float:
    completions = pool.run(make_schedule("linear", 3 * guess_qps, round(4 * guess_qps), seed))
    done_ns = np.sort(completions.done_ns)
    return (len(done_ns) - 1) / ((done_ns[-1] - done_ns[0]) * 1e-9)


def bound(repeat: int) -> Iterator[Row]:
    """The rate that `run` finds against the queue model of a bare session at that rate.

    The model gets the service times of the same session without a pool, called at Poisson times at
    that very rate. All cores, default settings.
    """
    threads = len(os.sched_getaffinity(0))
    for max_latency_s in (0.010, 0.050):
        answer = _run(max_latency_s, repeat)
        bare = _script("bare.py", "poisson", 1, threads, 10.0, answer["qps"])
        service = ServiceTimes.sampled(np.array(bare["service_s"]), block=10)
        ideal = predict_capacity(Queue(), service, "exponential", LatencyLimit(99.0, max_latency_s))
        metric = f"Poisson qps with p99 <= {max_latency_s * 1e3:.0f} ms, EfficientNet-Lite0"
        yield metric, "mlbench, met by a trial", answer["qps"]
        yield metric, "mlbench, capacity", answer["capacity_qps"]
        yield metric, "queue model of the bare session", ideal.qps
        yield f"{metric}: met / model", "mlbench", answer["qps"] / ideal.qps


def _run(max_latency_s: float, seed: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "results.json")
        options = (
            f"--arrivals exponential --max-latency {max_latency_s} --budget 45 --skip-accuracy"
        )
        command = [sys.executable, "-m", "mlbench", "run", *options.split(), "--quiet"]
        command += ["--seed", str(seed), "--output", str(output)]
        subprocess.run(command, capture_output=True, check=True)
        answers = json.loads(output.read_text())["results"]["exponential"]
    return dict(answers[plain(max_latency_s)])


def scale(repeat: int) -> Iterator[Row]:
    """One null worker against eight, and the cost of a query from 10^4 to 10^7 queries."""
    for workers in (1, 8):
        with null_pool(1024, workers) as pool:

            def ours(qps: float, pool: WorkerPool = pool) -> float:
                return percentile_s(play(pool, qps, 1.0, repeat), 99)

            held = highest_held(ours, 300_000)
        yield "highest qps with p99 <= 10 ms, batch size 1024", f"{workers} null workers", held
    with null_pool(1024) as pool:
        for power in (4, 5, 6, 7):
            completions = pool.run(make_schedule("exponential", 400_000.0, 10**power, repeat))
            cost_ns = completions.coordinator_busy * completions.duration_s * 1e9 / 10**power
            yield "coordinator's CPU time for a query (ns)", f"10^{power} queries", cost_ns
            wrong = 10**power - completions.completed + len(completions.faults)
            yield "queries lost, failed or counted twice", f"10^{power} queries", float(wrong)
            del completions
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield "coordinator's peak memory (MiB)", "after 10^7 queries", peak_mib


SECTIONS: dict[str, Callable[[int], Iterator[Row]]] = {
    section.__name__: section for section in (rate, lag, model, bound, dispatch, scale)
}

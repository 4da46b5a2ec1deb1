"""MLPerf LoadGen's server scenario with ONNX Runtime in its own process, trial after trial.

Started by `systems.LoadGen` with the spec of our worker as JSON on the first line of stdin and the
number of serving threads as argument. Says `ready`; then answers each line of JSON (qps, queries,
max_latency_s, seed) with one of p99_s,
offered_qps, served_qps and service_s.
"""

import json
import os
import queue
import re
import sys
import tempfile
import threading
from pathlib import Path

import mlperf_loadgen as lg
import numpy as np

from mlbench.contracts.backend import WorkerSpec
from mlbench.host.clock import now_ns, set_precise_sleep
from workers.backends.ort import OrtBackend

_WARM_UP_CALLS = 100  # half a second and more


class Served:
    """One session that threads share, with one line of queries in front."""

    def __init__(self, spec: WorkerSpec, threads: int) -> None:
        self._backend = OrtBackend(spec)
        ((name, path),) = spec.feeds.items()
        samples = np.load(path, mmap_mode="r")
        self._feeds = [{name: samples[i : i + 1]} for i in range(spec.sample_count)]
        self._line: queue.SimpleQueue[lg.QuerySample] = queue.SimpleQueue()
        self.services_ns: list[int] = []
        for i in range(_WARM_UP_CALLS):
            self._backend.predict(self._feeds[i % len(self._feeds)])
        for _ in range(threads):
            threading.Thread(target=self._serve, daemon=True).start()

    def issue(self, samples: "list[lg.QuerySample]") -> None:
        """Take what LoadGen sends."""
        for sample in samples:
            self._line.put(sample)

    def _serve(self) -> None:
        while True:
            sample = self._line.get()
            start_ns = now_ns()
            self._backend.predict(self._feeds[sample.index % len(self._feeds)])
            self.services_ns.append(now_ns() - start_ns)
            lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0)])


def main() -> None:
    """Load the model and play trials until stdin ends."""
    set_precise_sleep()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # LoadGen speaks on stdout
    spec = WorkerSpec.from_dict(json.loads(sys.stdin.readline()))
    served = Served(spec, int(sys.argv[1]))
    sut = lg.ConstructSUT(served.issue, lambda: None)
    count = spec.sample_count
    qsl = lg.ConstructQSL(count, count, lambda _: None, lambda _: None)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        served.services_ns.clear()
        found = _play(sut, qsl, json.loads(line))
        found["service_s"] = float(np.mean(served.services_ns)) * 1e-9
        print(json.dumps(found), file=answers, flush=True)


def _play(sut: int, qsl: int, order: dict[str, float]) -> dict[str, float]:
    logs = lg.LogSettings()
    logs.log_output.copy_summary_to_stdout = False
    logs.enable_trace = False
    with tempfile.TemporaryDirectory() as folder:
        logs.log_output.outdir = folder
        lg.StartTestWithLogSettings(sut, qsl, _settings(order), logs, "")
        summary = Path(folder, "mlperf_log_summary.txt").read_text()
    return {
        "p99_s": _number(r"99.00 percentile latency \(ns\)", summary) * 1e-9,
        "offered_qps": _number("Scheduled samples per second", summary),
        "served_qps": _number("Completed samples per second", summary),
    }


def _settings(order: dict[str, float]) -> "lg.TestSettings":
    settings = lg.TestSettings()
    settings.scenario = lg.TestScenario.Server
    settings.mode = lg.TestMode.PerformanceOnly
    settings.server_target_qps = order["qps"]
    settings.server_target_latency_ns = round(order["max_latency_s"] * 1e9)
    settings.server_target_latency_percentile = 0.99
    settings.min_duration_ms = 1  # a trial is as long as its queries
    settings.min_query_count = settings.max_query_count = int(order["queries"])
    seed = int(order["seed"])
    settings.schedule_rng_seed, settings.qsl_rng_seed = seed, seed + 1
    settings.sample_index_rng_seed = seed + 2
    return settings


def _number(name: str, summary: str) -> float:
    found = re.search(rf"{name}\s*:\s*([\d.]+)", summary)
    return float(found[1]) if found else float("inf")


if __name__ == "__main__":
    main()

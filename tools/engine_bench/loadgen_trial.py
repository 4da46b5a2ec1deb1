"""One server-scenario trial of MLPerf LoadGen on a null system, in a process of its own.

python tools/engine_bench/loadgen_trial.py threaded|inline QPS SECONDS prints a line of JSON:
p50_s and p99_s from the scheduled time, and whether LoadGen calls the trial valid.
"""

import json
import queue
import re
import sys
import tempfile
import threading
from pathlib import Path

import mlperf_loadgen as lg

_BOUND_NS = 10_000_000


def main() -> None:
    """Run one trial as the arguments say."""
    sut_kind, qps, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    with tempfile.TemporaryDirectory() as folder:
        _play(_THREADED if sut_kind == "threaded" else _INLINE, qps, seconds, folder)
        print(json.dumps(_read(Path(folder, "mlperf_log_summary.txt").read_text())))


def _answer(samples: "list[lg.QuerySample]") -> None:
    lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0) for sample in samples])


_QUEUE: "queue.SimpleQueue[list[lg.QuerySample] | None]" = queue.SimpleQueue()
_INLINE, _THREADED = _answer, _QUEUE.put


def _serve() -> None:
    while (samples := _QUEUE.get()) is not None:
        _answer(samples)


def _play(issue: object, qps: float, seconds: float, folder: str) -> None:
    thread = threading.Thread(target=_serve)
    thread.start()
    sut = lg.ConstructSUT(issue, lambda: None)
    qsl = lg.ConstructQSL(500, 500, lambda _: None, lambda _: None)
    logs = lg.LogSettings()
    logs.log_output.outdir = folder
    logs.log_output.copy_summary_to_stdout = False
    logs.enable_trace = False
    lg.StartTestWithLogSettings(sut, qsl, _settings(qps, seconds), logs, "")
    _QUEUE.put(None)
    thread.join()
    lg.DestroyQSL(qsl)
    lg.DestroySUT(sut)


def _settings(qps: float, seconds: float) -> "lg.TestSettings":
    settings = lg.TestSettings()
    settings.scenario = lg.TestScenario.Server
    settings.mode = lg.TestMode.PerformanceOnly
    settings.server_target_qps = qps
    settings.server_target_latency_ns = _BOUND_NS
    settings.server_target_latency_percentile = 0.99
    settings.min_duration_ms = settings.max_duration_ms = round(seconds * 1000)
    settings.min_query_count = settings.max_query_count = max(100, round(qps * seconds))
    return settings


def _read(summary: str) -> dict[str, object]:
    def latency_s(percentile: str) -> float:
        found = re.search(rf"{percentile} percentile latency \(ns\)\s*:\s*(\d+)", summary)
        return int(found[1]) * 1e-9 if found else float("inf")

    return {
        "p50_s": latency_s("50.00"),
        "p99_s": latency_s("99.00"),
        "valid": "Result is : VALID" in summary,
    }


if __name__ == "__main__":
    main()

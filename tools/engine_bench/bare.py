"""The bare ONNX Runtime loop, with the session settings of our backend, in a process of its own.

python tools/engine_bench/bare.py saturated|paced BATCH THREADS SECONDS [QPS] prints a line of JSON:
queries per second and the median service time.
"""

import json
import sys

import numpy as np

from mlbench.clock import now_ns, set_precise_sleep, sleep_until
from mlbench.contracts.backend import WorkerSpec
from mlbench.data.folders import cache_dir
from mlbench.models.lite0 import lite0_path
from workers.ort import OrtBackend


def main() -> None:
    """Measure as the arguments say."""
    mode, batch, threads, seconds = sys.argv[1], *map(float, sys.argv[2:5])
    qps = float(sys.argv[5]) if mode == "paced" else None
    print(json.dumps(measure(int(batch), int(threads), seconds, qps)))


def measure(batch: int, threads: int, seconds: float, qps: float | None) -> dict[str, float]:
    """Call the session in a loop, as fast as it goes or paced at `qps`."""
    set_precise_sleep()
    model = str(lite0_path("onnx", "NCHW", cache_dir()))
    backend = OrtBackend(WorkerSpec(0, "", "onnxruntime", model=model, threads=threads))
    images = np.random.default_rng(0).random((64, 3, 224, 224), np.float32) * 2 - 1
    feeds = [{"input_tensor:0": images[i : i + batch]} for i in range(0, 64, batch)]
    for feed in feeds[:20]:
        backend.predict(feed)
    times_ns: list[int] = []
    begin_ns = due_ns = now_ns()
    while now_ns() - begin_ns < seconds * 1e9:
        if qps is not None:
            due_ns += round(1e9 / qps)
            sleep_until(due_ns)
        start_ns = now_ns()
        backend.predict(feeds[len(times_ns) % len(feeds)])
        times_ns.append(now_ns() - start_ns)
    elapsed_s = (now_ns() - begin_ns) * 1e-9
    return {
        "qps": batch * len(times_ns) / elapsed_s,
        "service_p50_s": float(np.median(times_ns)) * 1e-9,
    }


if __name__ == "__main__":
    main()

"""The bare ONNX Runtime loop, with the session settings of our backend, in a process of its own.

python tools/engine_bench/bare.py saturated|paced|poisson BATCH THREADS SECONDS [QPS] prints a line
of JSON: queries per second, the median service time and all service times.
"""

import json
import sys

import numpy as np

from mlbench.contracts.backend import WorkerSpec
from mlbench.host.clock import now_ns, set_precise_sleep, sleep_until
from mlbench.host.folders import cache_dir
from mlbench.models.lite0 import lite0_path
from mlbench.stats.percentiles import percentile
from mlbench.trial.schedule import make_schedule, query_count
from workers.backends.ort import OrtBackend


def main() -> None:
    """Measure as the arguments say."""
    mode, batch, threads, seconds = sys.argv[1], *map(float, sys.argv[2:5])
    dues_ns = None
    if mode != "saturated":
        qps = float(sys.argv[5])
        kind = "linear" if mode == "paced" else "exponential"
        dues_ns = make_schedule(kind, qps, query_count(qps, seconds), seed=1).due_ns.tolist()
    print(json.dumps(measure(int(batch), int(threads), seconds, dues_ns)))


def measure(
    batch: int, threads: int, seconds: float, dues_ns: list[int] | None
) -> dict[str, object]:
    """Call the session in a loop, as fast as it goes for `seconds`, or at these due times."""
    set_precise_sleep()
    model = str(lite0_path("onnx", "NCHW", cache_dir()))
    backend = OrtBackend(WorkerSpec(0, "", "onnxruntime", model=model, threads=threads))
    images = np.random.default_rng(0).random((64, 3, 224, 224), np.float32) * 2 - 1
    feeds = [{"input_tensor:0": images[i : i + batch]} for i in range(0, 64, batch)]
    for feed in feeds[:20]:
        backend.predict(feed)
    times_ns: list[int] = []
    begin_ns = now_ns()
    while len(times_ns) < len(dues_ns) if dues_ns else now_ns() - begin_ns < seconds * 1e9:
        if dues_ns:
            sleep_until(begin_ns + dues_ns[len(times_ns)])
        start_ns = now_ns()
        backend.predict(feeds[len(times_ns) % len(feeds)])
        times_ns.append(now_ns() - start_ns)
    elapsed_s = (now_ns() - begin_ns) * 1e-9
    return {
        "qps": batch * len(times_ns) / elapsed_s,
        "service_p50_s": percentile(np.array(times_ns), 50) * 1e-9,
        "service_s": [ns * 1e-9 for ns in times_ns],
    }


if __name__ == "__main__":
    main()

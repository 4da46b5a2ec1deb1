"""How much memory N workers take together: the sample cache must count once, not N times.

    python tools/bench_memory.py --workers 4 --count 2000

Each worker serves the embedded default on `count` synthetic samples (0.6 MB each). Memory is the
proportional set size (PSS): a page that four processes share counts a quarter for each.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mlbench.contracts.backend import Signature, TensorSpec, WorkerSpec
from mlbench.data.synthetic import draw_samples
from mlbench.host.folders import cache_dir
from mlbench.models.lite0 import lite0_path
from mlbench.pool.coordinator import WorkerPool
from mlbench.pool.local import LocalLauncher
from mlbench.trial.schedule import make_schedule

_MIB = 1 << 20


def main() -> None:
    """Serve every sample on every worker, and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--count", type=int, default=2000)
    arguments = parser.parse_args()
    feeds = _samples(arguments.count)
    cache_mib = sum(path.stat().st_size for path in feeds.values()) / _MIB
    for workers in (1, arguments.workers):
        pss_mib = _pss_mib(feeds, arguments.count, workers)
        print(f"{workers} workers: {pss_mib:,.0f} MiB together, the cache is {cache_mib:,.0f} MiB")


def _samples(count: int) -> dict[str, Path]:
    image = TensorSpec("input_tensor:0", "float32", (None, 3, 224, 224))
    return draw_samples(Signature((image,), ()), count, cache_dir())


def _pss_mib(feeds: dict[str, Path], count: int, workers: int) -> float:
    specs = [
        WorkerSpec(
            index,
            "",
            "onnxruntime",
            model=str(lite0_path("onnx", "NCHW", cache_dir())),
            feeds={name: str(path) for name, path in feeds.items()},
            batch_size=8,
            sample_count=count,
        )
        for index in range(workers)
    ]
    with WorkerPool(specs, LocalLauncher(), round_robin=True) as pool:
        # Sample numbers move on by one from round to round, so that each worker meets them all.
        pool.sample_count = count - 1 if count % workers == 0 else count
        pool.run(make_schedule("linear", 1e5, count * workers, seed=0))
        return _total_pss_mib(pool.pids)


def _total_pss_mib(pids: Sequence[int]) -> float:
    kib = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                kib += int(line.split()[1])
    return kib / 1024


if __name__ == "__main__":
    main()

"""One of the bare processes that know the due times of a block and share one line.

Started by `systems.BareLine` with the spec of our worker as JSON on the first line of stdin and the
folder of the blocks as argument. Says `ready`; then, for each line with the time at which a block
begins, serves what it claims of `due.npy` and writes starts and ends into `times.npy`.
"""

import fcntl
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mlbench.contracts.backend import WorkerSpec
from mlbench.host.clock import now_ns, set_precise_sleep, sleep_until
from workers.backends.ort import OrtBackend

_WARM_UP_NS = 1_000_000_000  # as long as our pool's


def main() -> None:
    """Load the model, warm up, and serve blocks until stdin ends."""
    set_precise_sleep()
    spec, folder = WorkerSpec.from_dict(json.loads(sys.stdin.readline())), Path(sys.argv[1])
    if spec.cores is not None:
        os.sched_setaffinity(0, spec.cores)
    backend = OrtBackend(spec)
    ((name, path),) = spec.feeds.items()
    samples = np.load(path, mmap_mode="r")
    feeds = [{name: samples[i : i + 1]} for i in range(spec.sample_count)]
    end_ns = now_ns() + _WARM_UP_NS
    while now_ns() < end_ns:
        for feed in feeds:
            backend.predict(feed)
    print("ready", flush=True)
    for line in sys.stdin:
        _serve(backend, feeds, folder, int(line))
        print("served", flush=True)


def _serve(
    backend: OrtBackend, feeds: list[dict[str, np.ndarray]], folder: Path, begin_ns: int
) -> None:
    """Sleep until the next query is due, claim it, and call the session."""
    dues_ns = (np.load(folder / "due.npy") + begin_ns).tolist()
    start_ns, done_ns = np.load(folder / "times.npy", mmap_mode="r+")
    for i in _claims(folder / "claims.npy", dues_ns):
        begun_ns = now_ns()
        backend.predict(feeds[i % len(feeds)])
        start_ns[i], done_ns[i] = begun_ns, now_ns()


def _claims(path: Path, dues_ns: list[int]) -> Iterator[int]:
    """Yield the numbers of the queries that are ours, each when it is due.

    Whoever holds the lock sleeps until the next query is due, and passes the lock on.
    """
    taken = np.load(path, mmap_mode="r+")
    with path.open() as lock:
        while True:
            fcntl.flock(lock, fcntl.LOCK_EX)
            i = int(taken[0])
            if i < len(dues_ns):
                sleep_until(dues_ns[i])
                taken[0] = i + 1
            fcntl.flock(lock, fcntl.LOCK_UN)
            if i == len(dues_ns):
                return
            yield i


if __name__ == "__main__":
    main()

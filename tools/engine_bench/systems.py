"""What takes turns on the device: our pool, bare processes, and LoadGen, each kept loaded.

They run one at a time. Those whose turn it is not sleep.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine_bench.ideal import Floats
from mlbench.contracts.backend import WorkerSpec
from mlbench.host.clock import now_ns
from mlbench.host.folders import cache_dir
from mlbench.models.lite0 import lite0_path
from mlbench.pool.coordinator import WorkerPool
from mlbench.pool.local import LocalLauncher
from mlbench.records import Schedule
from mlbench.stats.percentiles import percentile

_HERE = Path(__file__).parent
_SAMPLES = 64
_LEAD_NS = 20_000_000  # the processes read a block's due times before it begins
_GOOD_BYE_S = 10.0


@dataclass(frozen=True)
class Shape:
    """How the cores are shared: `workers` of `threads` each; several are pinned to cores."""

    name: str
    workers: int
    threads: int

    def specs(self) -> list[WorkerSpec]:
        """Return what each worker gets; EfficientNet-Lite0 on random images."""
        cores = sorted(os.sched_getaffinity(0))
        spec = lite0_spec(self.threads)
        if self.workers == 1:
            return [replace(spec, cores=tuple(cores))]
        return [replace(spec, index=i, cores=(cores[i],)) for i in range(self.workers)]


def shapes() -> dict[str, Shape]:
    """Return one worker of all cores, and workers of one core each, by name."""
    cores = len(os.sched_getaffinity(0))
    found = (Shape(f"1x{cores}", 1, cores), Shape(f"{cores}x1", cores, 1))
    return {shape.name: shape for shape in found}


def lite0_spec(threads: int, batch_size: int = 1) -> WorkerSpec:
    """Return the spec of a worker with the embedded model and random images."""
    samples = cache_dir() / "bench-engine.npy"
    if not samples.exists():
        images = np.random.default_rng(0).random((_SAMPLES, 3, 224, 224), np.float32) * 2 - 1
        np.save(samples, images)
    return WorkerSpec(
        0,
        "",
        "onnxruntime",
        model=str(lite0_path("onnx", "NCHW", cache_dir())),
        feeds={"input_tensor:0": str(samples)},
        threads=threads,
        batch_size=batch_size,
        sample_count=_SAMPLES,
    )


@dataclass(frozen=True)
class Block:
    """What happened to the queries of a block, int64 nanoseconds of the monotonic clock, (n,)."""

    due_ns: NDArray[np.int64]
    start_ns: NDArray[np.int64]
    done_ns: NDArray[np.int64]

    @property
    def arrive_s(self) -> Floats:
        """Seconds from the first due time to each."""
        return (self.due_ns - self.due_ns[0]) * 1e-9

    @property
    def latency_s(self) -> Floats:
        """Seconds from due to done."""
        return (self.done_ns - self.due_ns) * 1e-9

    @property
    def service_s(self) -> Floats:
        """Seconds from start to done, in the order in which the queries started."""
        order = np.argsort(self.start_ns, kind="stable")
        return (self.done_ns - self.start_ns)[order] * 1e-9

    @property
    def p99_s(self) -> float:
        """The 99th percentile of the latency."""
        return percentile(self.latency_s, 99)

    @property
    def offered_qps(self) -> float:
        """Queries per second between the first and the last due time."""
        return (len(self.due_ns) - 1) / (int(self.due_ns[-1] - self.due_ns[0]) * 1e-9)

    @property
    def served_qps(self) -> float:
        """Answers per second between the first start and the last answer."""
        return len(self.due_ns) / (int(self.done_ns.max() - self.start_ns.min()) * 1e-9)


class System(Protocol):
    """Something that plays blocks."""

    def play(self, schedule: Schedule) -> Block:
        """Play the arrivals once; returns when all are answered."""


class OurPool(contextlib.ExitStack):
    """Our engine; use as a context manager."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self._pool = self.enter_context(WorkerPool(shape.specs(), LocalLauncher()))

    def play(self, schedule: Schedule) -> Block:
        """Play the arrivals once; raises RuntimeError unless every query is answered."""
        done = self._pool.run(schedule)
        if done.completed < len(schedule.due_ns):
            raise RuntimeError(f"{len(schedule.due_ns) - done.completed} queries got no answer")
        return Block(done.due_ns, done.start_ns, done.done_ns)


class BareLine(contextlib.ExitStack):
    """Bare processes that know the schedule and share one line; use as a context manager."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self._folder = Path(self.enter_context(tempfile.TemporaryDirectory()))
        self._processes = [
            self.enter_context(_Script("bare_line.py", spec, self._folder))
            for spec in shape.specs()
        ]
        for process in self._processes:
            process.hear()

    def play(self, schedule: Schedule) -> Block:
        """Play the arrivals once."""
        np.save(self._folder / "due.npy", schedule.due_ns)
        np.save(self._folder / "claims.npy", np.zeros(1, np.int64))
        np.save(self._folder / "times.npy", np.zeros((2, len(schedule.due_ns)), np.int64))
        begin_ns = now_ns() + _LEAD_NS
        for process in self._processes:
            process.tell(begin_ns)
        for process in self._processes:
            process.hear()
        start_ns, done_ns = np.load(self._folder / "times.npy")
        return Block(schedule.due_ns + begin_ns, start_ns, done_ns)


class LoadGen(contextlib.ExitStack):
    """LoadGen's server scenario around one session that threads share; a context manager."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        spec = replace(shape.specs()[0], cores=None)
        self._process = self.enter_context(_Script("loadgen_ort.py", spec, shape.workers))
        self._process.hear()

    def trial(self, qps: float, queries: int, max_latency_s: float, seed: int) -> dict[str, float]:
        """Play one trial; returns p99_s, service_s (the mean), offered_qps, served_qps."""
        order = {"qps": qps, "queries": queries, "max_latency_s": max_latency_s, "seed": seed}
        self._process.tell(json.dumps(order))
        return dict(json.loads(self._process.hear()))


class _Script:
    """A script of this folder that is told lines and answers each with one."""

    def __init__(self, name: str, spec: WorkerSpec, *arguments: object) -> None:
        command: Sequence[str] = [sys.executable, str(_HERE / name), *map(str, arguments)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # As our workers: the kernel shares a busy core between sessions, then within them.
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": str(spec.threads)},
        )
        self._name = name
        self.tell(json.dumps(spec.to_dict()))

    def __enter__(self) -> "_Script":
        return self

    def __exit__(self, *exc_info: Any) -> None:
        assert self._process.stdin is not None  # noqa: S101 - asked for above
        self._process.stdin.close()
        try:
            self._process.wait(_GOOD_BYE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def tell(self, line: object) -> None:
        """Send one line."""
        assert self._process.stdin is not None  # noqa: S101 - asked for above
        print(line, file=self._process.stdin, flush=True)

    def hear(self) -> str:
        """Wait for one line; raises RuntimeError when the process has ended."""
        assert self._process.stdout is not None  # noqa: S101 - asked for above
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} ended with status {self._process.wait()}")
        return line.strip()

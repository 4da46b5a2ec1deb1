"""Grids of simulated configurations on a machine whose speed walks, for a study of races."""

import math
from dataclasses import dataclass, field

import numpy as np

from mlbench.arrivals.exponential import Exponential
from mlbench.pool.virtual import Batch, Service
from mlbench.queueing.line import Floats, Queue
from study.systems import System, lognormal, mean_times

WORKERS, THREADS, BATCH_SIZES = (1, 2), (1, 2, 4), (1, 2, 4, 8)
MAX_LATENCY_S = 0.05
_WALK, _MEMORY_S = 0.1, 60.0  # of ln(speed): its standard deviation, and for how long it lasts
_LONGEST_S = 4 * 3600


@dataclass(frozen=True)
class Cell:
    """One configuration of a grid and the device that it makes."""

    workers: int
    threads: int
    batch_size: int
    system: System

    @property
    def name(self) -> str:
        """What it is called."""
        return f"workers={self.workers},threads={self.threads},batch_size={self.batch_size}"


@dataclass
class Machine:
    """The speed of the machine that all configurations share, a walk around 1."""

    seed: int
    level: Floats = field(init=False)

    def __post_init__(self) -> None:
        rng, keep = np.random.default_rng([self.seed, 2]), math.exp(-1 / _MEMORY_S)
        steps = rng.standard_normal(_LONGEST_S) * _WALK * math.sqrt(1 - keep**2)
        self.level = np.empty(_LONGEST_S)
        self.level[0] = now = _WALK * rng.standard_normal()
        for second in range(1, _LONGEST_S):
            now = keep * now + steps[second]
            self.level[second] = now

    def serve(self, system: System) -> Service:
        """Return a device whose service times follow the machine's speed."""
        own = system.service()

        def serve(rng: np.random.Generator, batch: Batch) -> float:
            return own(rng, batch) * math.exp(self.level[int(batch.start_s)])

        return serve


def make_grid(seed: int) -> list[Cell]:
    """Return 24 configurations of a machine that is drawn by the seed.

    A batch takes a fixed time and one for each query; threads shorten it by less than their number;
    workers slow each other down; and each configuration has something of its own.
    """
    rng = np.random.default_rng([seed, 1])
    base_s, per_item = rng.uniform(0.003, 0.010), rng.uniform(0.3, 0.95)
    speed_up, contention = rng.uniform(0.5, 0.9), rng.uniform(0.0, 0.8)
    cv = rng.uniform(0.1, 0.4)
    cells = []
    for workers in WORKERS:
        for threads in THREADS:
            for batch_size in BATCH_SIZES:
                own = math.exp(0.05 * rng.standard_normal())
                busy = 1 + contention * (workers * threads - 1) / 7
                one_s = base_s * threads**-speed_up * busy * own
                by_size = [one_s * (1 - per_item + per_item * n) for n in range(1, batch_size + 1)]
                name = f"{workers}x{threads}x{batch_size}"
                system = System(
                    name,
                    lognormal(cv),
                    max_latency_s=MAX_LATENCY_S,
                    kind=Exponential(),
                    queue=Queue(workers, batch_size),
                    mean_times=mean_times(*by_size),
                )
                cells.append(Cell(workers, threads, batch_size, system))
    return cells

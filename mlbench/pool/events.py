"""What a pool tells while it works."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class WorkersAwaited:
    """Workers, by name, have been busy starting for so long, of the seconds that they may take."""

    step: Literal["load", "warm up"]
    workers: tuple[str, ...]
    waited_s: float
    timeout_s: float


@dataclass(frozen=True)
class WorkerRestarted:
    """A worker, by name, failed and is started again: `restart` times by now, of `most`."""

    worker: str
    cause: str
    restart: int
    most: int


@dataclass(frozen=True)
class TrialUnderWay:
    """What the coordinator knows of a trial that is being played; told a few times a second.

    Of `queries`, which take `length_s` seconds, so many are `answered` after `elapsed_s`, and
    `waiting` are due that no worker has begun; where queries are dealt out in turn, that no worker
    has answered. `busy`: of each worker the fraction of this time that it worked. `latency_s`: from
    due to done of the latest answers, float64 (k,), k at most a few thousand.
    """

    elapsed_s: float
    length_s: float
    queries: int
    answered: int
    waiting: int
    busy: tuple[float, ...]
    latency_s: NDArray[np.float64] = field(compare=False)


PoolEvent = WorkersAwaited | WorkerRestarted | TrialUnderWay

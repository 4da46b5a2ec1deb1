"""What a pool tells while it works."""

from dataclasses import dataclass
from typing import Literal


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


PoolEvent = WorkersAwaited | WorkerRestarted

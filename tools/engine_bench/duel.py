"""Our pool and bare processes of one shape, who play the same arrivals in turns."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import click
import numpy as np

from engine_bench.pairs import Estimate
from engine_bench.systems import Block, Shape, System
from mlbench.trial.schedule import make_schedule, query_count

Finding = tuple[str, str, Estimate]
"""A figure, the system that it is of, and its value."""

Pair = tuple[Block, Block]
"""What our pool and the bare processes made of the same arrivals."""

_OVERLOAD = 3  # times the rate that a device serves keep it saturated
_FEW, _AT_ONCE_QPS = 100, 1e6  # queries, all due within 100 us


@dataclass(frozen=True)
class Plan:
    """How much a study plays.

    `pairs`: how many over all shapes and rates, each of two blocks of `seconds`. `trial_seconds`
    and `repeats`: of each rate of the grid beside LoadGen.
    """

    shapes: Sequence[Shape]
    pairs: int = 60
    seconds: float = 3.0
    trial_seconds: float = 5.0
    repeats: int = 3


@dataclass
class Log:
    """Every block that was played, as plain values, which are told on stderr as well."""

    blocks: list[dict[str, object]] = field(default_factory=list)

    def note(self, study: str, shape: Shape, system: str, qps: float, **seen: float) -> None:
        """Keep one block: the rate offered, and what was seen in seconds and per second."""
        head = {"study": study, "shape": shape.name, "system": system, "qps": qps}
        self.blocks.append({**head, **seen})
        figures = ", ".join(f"{name} {value:.4g}" for name, value in seen.items())
        click.echo(f"[{study}, {shape.name}] {system} at {qps:.4g} qps: {figures}", err=True)

    def block(self, study: str, shape: Shape, system: str, qps: float, block: Block) -> None:
        """Keep one block of a system that tells every query's times."""
        self.note(
            study,
            shape,
            system,
            qps,
            p99_s=block.p99_s,
            service_s=float(block.service_s.mean()),
            offered_qps=block.offered_qps,
            served_qps=block.served_qps,
        )


@dataclass
class Duel:
    """Plays pairs of blocks on fresh arrivals."""

    study: str
    shape: Shape
    ours: System
    bare: System
    log: Log

    def __post_init__(self) -> None:
        self._seeds = itertools.count(1)

    def pair(self, qps: float, seconds: float, number: int, kind: str = "exponential") -> Pair:
        """Play one block with each; who goes first alternates with the pair's number."""
        schedule = make_schedule(kind, qps, query_count(qps, seconds), next(self._seeds))
        played: dict[str, Block] = {}
        rivals = [("mlbench", self.ours), ("bare", self.bare)]
        for name, system in rivals if number % 2 else rivals[::-1]:
            played[name] = system.play(schedule)
            self.log.block(self.study, self.shape, name, qps, played[name])
        return played["mlbench"], played["bare"]

    def saturated_qps(self, seconds: float) -> float:
        """Return the rate at which bare processes serve what always waits; median of three."""
        guess_qps = rough_saturated_qps(self.bare)
        overload_qps = _OVERLOAD * guess_qps
        pairs = [
            self.pair(overload_qps, seconds / _OVERLOAD, number, "linear") for number in range(3)
        ]
        return float(np.median([bare.served_qps for _, bare in pairs]))


def rough_saturated_qps(system: System) -> float:
    """Return the rate at which a few queries are served that are all due at once; rough."""
    return system.play(make_schedule("linear", _AT_ONCE_QPS, _FEW, seed=0)).served_qps

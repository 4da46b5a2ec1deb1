"""How queries are divided among several hosts, each with a line of its own.

    random        each query goes to any host, whatever happened before: a Poisson process thinned
                  is again one, so that hosts are independent queues
    round-robin   hosts take turns: the gaps at each are sums of as many gaps as there are hosts,
                  which vary less

The same rules divide the schedule of a trial and the arrivals of the queue model.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mlbench.arrivals.kind import ArrivalKind, Floats

Split = Literal["random", "round-robin"]

_SAME = {("exponential", "random"), ("linear", "round-robin")}
"""Arrivals that stay what they are when they are divided so, at a lower rate."""


def split_of(asked: Split | None, kind: str) -> Split:
    """Return the rule for arrivals of a kind, by its name, where maybe none was asked for.

    Equal gaps stay equal when hosts take turns; all else is divided as independent users do it.
    """
    return asked or ("round-robin" if kind == "linear" else "random")


def deal(queries: int, hosts: int, split: Split, seed: int | list[int]) -> NDArray[np.uint16]:
    """Return the host of each query, uint16 (queries,)."""
    if split == "round-robin":
        return np.asarray(np.arange(queries) % hosts, dtype=np.uint16)
    return np.random.default_rng(seed).integers(hosts, size=queries, dtype=np.uint16)


def host_streams(
    kind: ArrivalKind, split: Split, hosts: int, seed: list[int], rows: int, n: int
) -> Floats:
    """Draw the arrivals at one of several hosts, float64 (rows, n), each sorted.

    The rate of all hosts together is 1, so that a host's is 1 / hosts. Each row is a host for
    itself, whose turn comes at a random place of the first round.
    """
    if hosts == 1:
        return kind.streams(np.random.default_rng(seed), rows, n)
    if (kind.name, split) in _SAME:
        return kind.streams(np.random.default_rng(seed), rows, n) * hosts
    rng, own = np.random.default_rng([*seed, 1]), np.empty((rows, n))
    for row in own:
        if split == "round-robin":
            places = np.arange(n) * hosts + rng.integers(hosts)
        else:
            places = np.cumsum(rng.geometric(1 / hosts, n)) - 1
        row[:] = kind.streams(rng, 1, int(places[-1]) + 1)[0, places]
    return own

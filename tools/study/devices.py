"""Devices that no queue of independent service times describes, with their true capacities.

A device is a function of a batch, as `mlbench.pool.virtual` takes it. Service times are 2 ms, and
the percentile is the 99th. Truths are from 8 million queries, to 0.1 %, unless they depend on what
the device became: then they follow from its level and `capacity_at`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from mlbench.pool.virtual import Batch, Service

_MEAN_S = 0.002
_LEVELS = np.linspace(-0.45, 0.45, 13)
_CAPACITIES_QPS = np.array(
    [557.1, 501.0, 449.1, 401.2, 356.8, 315.9, 278.1, 243.4, 211.4, 182.2, 155.5, 131.0, 109.2]
)


def capacity_at(level: float) -> float:
    """Return the capacity under 10 ms where service times of cv 0.1 are exp(level) x 2 ms."""
    return float(np.interp(level, _LEVELS, _CAPACITIES_QPS))


def lognormal_s(rng: np.random.Generator, cv: float = 0.1) -> float:
    """Draw a service time in seconds."""
    sigma = math.sqrt(math.log1p(cv**2))
    return _MEAN_S * math.exp(sigma * rng.standard_normal() - sigma**2 / 2)


@dataclass
class Pausing:
    """Stops for 20 ms at the beginning of each second, as garbage collection does."""

    pause_s: float = 0.020

    def __call__(self, _: np.random.Generator, batch: Batch) -> float:
        """Return the service time with the pauses in it."""
        now_s, left_s = batch.start_s, _MEAN_S
        while True:
            second = math.floor(now_s)
            now_s = max(now_s, second + self.pause_s)
            if now_s + left_s <= second + 1:
                return now_s + left_s - batch.start_s
            left_s -= second + 1 - now_s
            now_s = second + 1.0


@dataclass
class Heating:
    """Takes 2 ms when it was idle, 3 ms when it was busy for the last 50 ms or so."""

    busy: float = 0.0

    def __call__(self, _: np.random.Generator, batch: Batch) -> float:
        """Return the service time by the recent load."""
        self.busy *= math.exp(-batch.idle_s / 0.05)
        seconds = _MEAN_S * (1 + self.busy / 2)
        self.busy = 1 - (1 - self.busy) * math.exp(-seconds / 0.05)
        return seconds


@dataclass
class Stepping:
    """Becomes 15 % slower at some moment."""

    at_s: float

    def __call__(self, rng: np.random.Generator, batch: Batch) -> float:
        """Draw a service time."""
        return lognormal_s(rng) * (1.15 if batch.start_s > self.at_s else 1.0)


@dataclass
class Scattering:
    """Is another machine in each trial: its level varies by 10 %."""

    level: float = 0.0

    def __call__(self, rng: np.random.Generator, batch: Batch) -> float:
        """Draw a service time; a device that was idle for a second begins a trial."""
        if batch.idle_s > 0.99:
            self.level = 0.1 * float(rng.standard_normal())
        return lognormal_s(rng) * math.exp(self.level)


@dataclass
class Walking:
    """Its level is a random walk of 1 % a root second."""

    levels: list[float] = field(default_factory=lambda: [0.0])

    def level_at(self, rng: np.random.Generator, at_s: float) -> float:
        """Return the level at a moment; the walk goes on as far as is asked for."""
        place = int(at_s / 0.25)
        while len(self.levels) <= place:
            self.levels.append(self.levels[-1] + 0.005 * float(rng.standard_normal()))
        return self.levels[place]

    def __call__(self, rng: np.random.Generator, batch: Batch) -> float:
        """Draw a service time."""
        return lognormal_s(rng) * math.exp(self.level_at(rng, batch.start_s))


Truth = Callable[[Service, float, np.random.Generator], float]
"""The true capacity, from the device, the moment at which it was left, and random numbers."""


@dataclass(frozen=True)
class Device:
    """A kind of device: how one is made for a search of so many seconds, and what it can."""

    name: str
    make: Callable[[float], Service]
    truth: Truth
    max_latency_s: float = 0.010
    usual_qps: float = 278.1


def _always(qps: float) -> Truth:
    return lambda _device, _left_s, _rng: qps


def _walk_ahead(device: Service, left_s: float, rng: np.random.Generator) -> float:
    assert isinstance(device, Walking)  # noqa: S101 - the truth of this device alone
    ahead = [device.level_at(rng, left_s + 0.25 * step) for step in range(40)]
    return capacity_at(float(np.mean(ahead)))


DEVICES = (
    Device("pauses of 20 ms, 15 ms", lambda _: Pausing(), _always(43.7), 0.015, 43.7),
    Device("pauses of 20 ms, 30 ms", lambda _: Pausing(), _always(386.6), 0.030, 386.6),
    Device("slower with the recent load, 12 ms", lambda _: Heating(), _always(200.8), 0.012, 200.8),
    Device(
        "15 % slower from half-way",
        lambda budget_s: Stepping(budget_s / 2),
        _always(capacity_at(math.log(1.15))),
    ),
    Device(
        "trials that differ by 10 %",
        lambda _: Scattering(),
        lambda _device, _left_s, rng: capacity_at(0.1 * float(rng.standard_normal())),
    ),
    Device("a walk of 1 % a second", lambda _: Walking(), _walk_ahead),
    Device(
        "0.2 % slower each second",
        lambda _: lambda rng, batch: lognormal_s(rng) * (1 + 0.002 * batch.start_s),
        lambda _device, left_s, _rng: capacity_at(math.log1p(0.002 * left_s)),
    ),
)

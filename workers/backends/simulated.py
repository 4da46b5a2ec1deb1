"""A device of known speed, in device time: what the true answer is can be computed."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from mlbench.contracts.backend import Feed, Predictions, Signature, WorkerSpec, parse_options
from mlbench.contracts.errors import RequestError
from mlbench.host.clock import now_ns

_MOST = 1_000_000  # of any option: a quarter of an hour in ms, and far more than any ratio


class SimulatedBackend:
    """One device, which stamps with the times of its own clockwork (`SelfTimed`).

    A batch starts when the device is free and its requests were sent, and takes exactly its drawn
    time: service_ms, spread lognormally with the coefficient of variation cv, plus per_item_ms for
    each further item; with probability stall_p it takes stall_ms longer; drift_per_s makes it
    slower with the device's age; idle_slowdown makes a batch slower that found the device idle.
    """

    OPTIONS: ClassVar[Mapping[str, Any]] = {
        "service_ms": (2.0,),
        "cv": 0.0,
        "per_item_ms": 0.0,
        "stall_p": 0.0,
        "stall_ms": 0.0,
        "drift_per_s": 0.0,
        "idle_slowdown": 0.0,
        "seed": 1,
    }
    RUNTIME: ClassVar[tuple[str, str] | None] = None
    NEEDS_MODEL: ClassVar[bool] = False
    STAMPS_ITS_OWN_TIMES: ClassVar[bool] = True

    def __init__(self, spec: WorkerSpec) -> None:
        options = parse_options(spec.options, self.OPTIONS, "simulated")
        _check(options)
        services_ms = options["service_ms"]
        self._service_ns = services_ms[spec.number % len(services_ms)] * 1e6
        self._per_item_ns = options["per_item_ms"] * 1e6
        self._sigma = math.sqrt(math.log1p(options["cv"] ** 2))
        self._stall_p = options["stall_p"]
        self._stall_ns = options["stall_ms"] * 1e6
        self._drift_per_ns = options["drift_per_s"] * 1e-9
        self._idle_slowdown = options["idle_slowdown"]
        self._rng = np.random.default_rng([options["seed"], spec.number])
        self._born_ns = now_ns()
        self.free_ns = 0

    @classmethod
    def inspect(cls, model: str) -> Signature:  # noqa: ARG003 - any model will do
        """Return a signature without inputs."""
        return Signature((), ())

    def serve(self, start_ns: int, items: int) -> int:
        """Serve a batch from `start_ns` (not before the device is free); return when it is done."""
        service_ns = self._service_ns
        if self._sigma:
            # A lognormal of this mean has its median at mean * exp(-sigma^2 / 2).
            normal = self._rng.standard_normal()
            service_ns *= math.exp(self._sigma * normal - self._sigma**2 / 2)
        service_ns += self._per_item_ns * (items - 1)
        service_ns *= 1 + self._drift_per_ns * max(0, start_ns - self._born_ns)
        if start_ns > self.free_ns:
            service_ns *= 1 + self._idle_slowdown
        if self._stall_p and self._rng.random() < self._stall_p:
            service_ns += self._stall_ns
        self.free_ns = start_ns + round(service_ns)
        return self.free_ns

    def mean_service_ns(self, items: int) -> float:
        """Return the mean time of a batch without stalls, drift and idle slow-down."""
        return float(self._service_ns + self._per_item_ns * (items - 1))

    def predict(self, feed: Feed) -> Predictions | None:  # noqa: ARG002 - nothing is computed
        """Return at once; the worker's loop calls `serve` instead."""
        return None

    def describe(self) -> dict[str, Any]:
        """Return the backend's name and its mean service time."""
        return {"name": "simulated", "service_ms": self._service_ns / 1e6}


def _check(options: Mapping[str, Any]) -> None:
    if not all(0 < ms <= _MOST for ms in options["service_ms"]):
        raise RequestError(
            f"backend option service_ms must be above 0, and at most {_MOST}, for every worker"
        )
    for key in ("cv", "per_item_ms", "stall_ms", "idle_slowdown", "drift_per_s"):
        if not 0 <= options[key] <= _MOST:
            raise RequestError(f"backend option {key}={options[key]} must be within 0 and {_MOST}")
    if options["seed"] < 0:
        raise RequestError(f"backend option seed={options['seed']} must not be negative")
    if not 0 <= options["stall_p"] <= 1:
        raise RequestError(f"backend option stall_p={options['stall_p']} must be within 0 and 1")

"""A simulated device that breaks as it is told to, so that anybody can see what comes of it."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.contracts.backend import WorkerSpec, nearest, parse_options
from mlbench.contracts.errors import RequestError
from workers.backends.simulated import SimulatedBackend

_AGE_NS = 10**13
_EXIT_STATUS = 7
_FAULTS = ("die", "hang", "fail")

Rows = NDArray[np.void]

# What takes the place of some columns of COMPLETION records.
_FALSE_COLUMNS: Mapping[str, Callable[[Rows], Mapping[str, Any]]] = {
    "status": lambda _: {"status": 77},
    "early": lambda rows: {"start_ns": rows["start_ns"] - _AGE_NS},
    "backwards": lambda rows: {"done_ns": rows["start_ns"] - 1},
    "future": lambda rows: {"done_ns": rows["done_ns"] + _AGE_NS},
    "batch": lambda _: {"batch": 70_000},
    "class": lambda _: {"prediction": -7},
    "id": lambda _: {"id": 4_000_000_000},
}
# What takes the place of a whole frame.
_FALSE_FRAMES: Mapping[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "ragged": lambda frame: frame[:-3],
    "garbage": lambda frame: bytes(byte ^ 0xA5 for byte in frame),
    "trial": lambda frame: frame[:8] + b"\x77" + frame[9:],
    "version": lambda frame: frame[:3] + b"\x77" + frame[4:],
}
LIES = (*_FALSE_COLUMNS, *_FALSE_FRAMES)


class FaultyBackend(SimulatedBackend):
    """The simulated device, and options for what is to go wrong with it.

    `load`, `warm_up`: die, hang or fail there. `slow_start_s`: seconds more to load.
    `die_after`: at this query the process ends by the signal `die_by`, or by exit; `hang_after`:
    from this query on it serves nothing. `hang_p`, `fail_p`: probabilities of a batch to hang and
    to fail. `lie`: what its answers say falsely, from the query `lie_after` on. `leak_mb`: kept for
    each batch. `only_worker`: the number of the one that breaks, instead of all. `once`: a file
    that is made by the first fault; while it is there, there is no other.
    """

    OPTIONS: ClassVar[Mapping[str, Any]] = {
        **SimulatedBackend.OPTIONS,
        "load": "",
        "warm_up": "",
        "slow_start_s": 0.0,
        "die_after": 0,
        "die_by": "SIGKILL",
        "hang_after": 0,
        "hang_p": 0.0,
        "fail_p": 0.0,
        "lie": "",
        "lie_after": 1,
        "leak_mb": 0.0,
        "only_worker": -1,
        "once": "",
    }

    def __init__(self, spec: WorkerSpec) -> None:
        super().__init__(spec)
        self._options = parse_options(spec.options, self.OPTIONS, "faulty")
        _check(self._options)
        self._is_chosen = self._options["only_worker"] in (-1, spec.number)
        self._served = 0
        self._leaked: list[bytes] = []
        self._chance = np.random.default_rng([self._options["seed"], spec.number, 1])
        if self._options["lie"]:
            self._lie(self._options["lie"])
        time.sleep(self._options["slow_start_s"])
        self._break(self._options["load"])

    def mean_service_ns(self, items: int) -> float:
        """Return the mean time of a batch, unless the warm-up is to go wrong."""
        self._break(self._options["warm_up"])
        return super().mean_service_ns(items)

    def serve(self, start_ns: int, items: int) -> int:
        """Serve a batch as a simulated device does, unless something is to go wrong."""
        options = self._options
        self._served += items
        if options["leak_mb"]:
            self._leaked.append(b"\x01" * round(options["leak_mb"] * 2**20))
        if 0 < options["die_after"] <= self._served:
            self._break("die")
        if 0 < options["hang_after"] <= self._served or self._chance.random() < options["hang_p"]:
            self._break("hang")
        if self._chance.random() < options["fail_p"]:
            self._break("fail")
        return super().serve(start_ns, items)

    def describe(self) -> dict[str, Any]:
        """Return the backend's name and its mean service time."""
        return {**super().describe(), "name": "faulty"}

    def _is_time(self) -> bool:
        """Whether this worker is to break now."""
        if not self._is_chosen:
            return False
        if not self._options["once"]:
            return True
        try:
            os.close(os.open(self._options["once"], os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def _break(self, how: str) -> None:
        if not how or not self._is_time():
            return
        if how == "fail":
            raise OSError("a fault that was asked for")
        if how == "hang":
            while True:
                time.sleep(_AGE_NS * 1e-9)
        if self._options["die_by"] == "exit":
            os._exit(_EXIT_STATUS)
        os.kill(os.getpid(), signal.Signals[self._options["die_by"]])

    def _lie(self, kind: str) -> None:
        """Put false answers in place of those that leave this process."""
        honest = wire.pack_completions

        def pack(trial: int, completions: Rows) -> bytes:
            if self._served < self._options["lie_after"] or not self._is_time():
                return honest(trial, completions)
            if kind in _FALSE_FRAMES:
                return _FALSE_FRAMES[kind](honest(trial, completions))
            false = completions.copy()
            for name, values in _FALSE_COLUMNS[kind](completions).items():
                false[name] = values
            return honest(trial, false)

        wire.pack_completions = pack


def _check(options: Mapping[str, Any]) -> None:
    signals = [*(one.name for one in signal.Signals), "exit"]
    known = {"load": _FAULTS, "warm_up": _FAULTS, "die_by": signals, "lie": LIES}
    for key, words in known.items():
        word = options[key]
        if word not in ("", *words):
            hint = nearest(word, list(words)) or f"; one of {', '.join(words)}"
            raise RequestError(f"backend option {key}={word}: no such fault{hint}")
    for key in ("hang_p", "fail_p"):
        if not 0 <= options[key] <= 1:
            raise RequestError(f"backend option {key}={options[key]} must be within 0 and 1")
    for key in ("slow_start_s", "leak_mb", "die_after", "hang_after"):
        if not options[key] >= 0:
            raise RequestError(f"backend option {key}={options[key]} must not be negative")

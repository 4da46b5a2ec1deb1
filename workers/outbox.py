"""Answers on their way back: collected, and sent as one frame when it is time."""

import sys
from enum import Enum
from typing import Final

import numpy as np
import zmq
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.contracts.backend import Predictions


class Failure(Enum):
    """Stands where an answer should be."""

    FAILED = "failed"


FAILURE: Final = Failure.FAILED

_ROWS = 1024  # of answers at first; more rows are made where they are needed


class Outbox:
    """Gathers completions and flushes them to the coordinator.

    `hold_ns` is how long an answer waits here for others. Sending wakes threads beside the device,
    so it should be rare; nobody needs an answer soon, since it carries its own stamps.
    """

    def __init__(self, socket: "zmq.Socket[bytes]", hold_ns: int = 20_000_000) -> None:
        self._socket = socket
        self._rows = np.empty(_ROWS, wire.COMPLETION)
        self._count = 0
        self._oldest_ns = 0
        self.hold_ns = hold_ns
        self.trial = 0

    def begin(self, trial: int) -> None:
        """Gather the answers of a new trial; those of the one before are sent as its own."""
        self.flush()
        self.trial = trial

    def add_batch(
        self,
        ids: NDArray[np.uint32],
        start_ns: int,
        done_ns: int,
        predictions: Predictions | None,
        status: int,
    ) -> None:
        """Add the answers of one batch."""
        rows = self._append(ids, len(ids), status, done_ns)
        rows["prediction"] = -1 if predictions is None else predictions
        rows["start_ns"] = start_ns
        rows["done_ns"] = done_ns

    def add_singles(
        self,
        ids: NDArray[np.uint32],
        starts_ns: list[int],
        dones_ns: list[int],
        answers: list[Predictions | Failure | None],
    ) -> None:
        """Add answers that were each a batch of their own."""
        rows = self._append(ids, 1, wire.COMPLETED, dones_ns[0])
        rows["prediction"] = -1
        rows["start_ns"] = starts_ns
        rows["done_ns"] = dones_ns
        if answers.count(None) == len(answers):
            return
        for row, answer in enumerate(answers):
            if answer is FAILURE:
                rows["status"][row] = wire.FAILED
            elif answer is not None:
                rows["prediction"][row] = int(answer[0])

    def _append(
        self, ids: NDArray[np.uint32], batch: int, status: int, done_ns: int
    ) -> NDArray[np.void]:
        """Return new rows for these queries, a view that the caller completes."""
        if not self._count:
            self._oldest_ns = done_ns
        end = self._count + len(ids)
        if end > len(self._rows):
            self._rows = np.resize(self._rows, 2 * end)
        rows = self._rows[self._count : end]
        rows["id"] = ids
        rows["batch"] = batch
        rows["status"] = status
        self._count = end
        return rows

    def hold_left_ns(self, now_ns: int) -> int:
        """Return how long the oldest answer may still wait; for ever when there is none."""
        return self._oldest_ns + self.hold_ns - now_ns if self._count else sys.maxsize

    def flush_if_due(self, now_ns: int) -> bool:
        """Send what is there if the oldest answer has waited long enough; say whether it had."""
        is_due = self.hold_left_ns(now_ns) <= 0
        if is_due:
            self.flush()
        return is_due

    def flush(self) -> None:
        """Send what is there as one frame."""
        if self._count:
            self._socket.send(wire.pack_completions(self.trial, self._rows[: self._count]))
            self._count = 0

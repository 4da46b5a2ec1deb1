"""Answers on their way back: collected, and sent as one frame when it is time."""

import sys
from enum import Enum
from typing import Final, NamedTuple

import numpy as np
import zmq
from numpy.typing import NDArray

from mlbench.contracts import wire
from mlbench.contracts.backend import Predictions


class Failure(Enum):
    """Stands where an answer should be."""

    FAILED = "failed"


FAILURE: Final = Failure.FAILED


class _Part(NamedTuple):
    """Answers as they came: a number stands for all of them, a list or an array for each."""

    ids: NDArray[np.uint32]
    batch: int
    start_ns: int | list[int]
    done_ns: int | list[int]
    classes: int | list[int] | Predictions
    status: int | list[int]


class Outbox:
    """Gathers completions and flushes them to the coordinator.

    `hold_ns` is how long an answer waits here for others. Sending wakes threads beside the device,
    so it should be rare; nobody needs an answer soon, since it carries its own stamps. Records are
    made when they are sent: between two queries there is no time for it.
    """

    def __init__(self, socket: "zmq.Socket[bytes]", hold_ns: int = 20_000_000) -> None:
        self._socket = socket
        self._parts: list[_Part] = []
        self._waiting = 0  # answers, in all parts
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
        answer: Predictions | Failure | None,
    ) -> None:
        """Add the answers of one batch; a failure is that of all its queries."""
        self._make_room(len(ids), done_ns)
        status = wire.FAILED if answer is FAILURE else wire.COMPLETED
        classes = -1 if answer is None or isinstance(answer, Failure) else answer
        self._parts.append(_Part(ids.copy(), len(ids), start_ns, done_ns, classes, status))

    def add_singles(
        self,
        ids: NDArray[np.uint32],
        starts_ns: list[int],
        dones_ns: list[int],
        answers: list[Predictions | Failure | None],
    ) -> None:
        """Add answers that were each a batch of their own."""
        self._make_room(len(ids), dones_ns[0])
        classes: int | list[int] = -1
        status: int | list[int] = wire.COMPLETED
        if answers.count(None) < len(answers):
            classes = [_class_of(answer) for answer in answers]
            status = [wire.FAILED if a is FAILURE else wire.COMPLETED for a in answers]
        self._parts.append(_Part(ids.copy(), 1, starts_ns, dones_ns, classes, status))

    def _make_room(self, answers: int, done_ns: int) -> None:
        """Flush first where a frame would get too large; note when its oldest answer was done."""
        if self._waiting + answers > wire.MOST_ANSWERS:
            self.flush()
        self._waiting += answers
        if not self._parts:
            self._oldest_ns = done_ns

    def hold_left_ns(self, now_ns: int) -> int:
        """Return how long the oldest answer may still wait; for ever when there is none."""
        return self._oldest_ns + self.hold_ns - now_ns if self._parts else sys.maxsize

    def flush_if_due(self, now_ns: int) -> bool:
        """Send what is there if the oldest answer has waited long enough; say whether it had."""
        is_due = self.hold_left_ns(now_ns) <= 0
        if is_due:
            self.flush()
        return is_due

    def flush(self) -> None:
        """Send what is there as one frame."""
        if not self._parts:
            return
        rows, begin = np.empty(self._waiting, wire.COMPLETION), 0
        for part in self._parts:
            end = begin + len(part.ids)
            own = rows[begin:end]
            own["id"], own["batch"], own["status"] = part.ids, part.batch, part.status
            own["start_ns"], own["done_ns"] = part.start_ns, part.done_ns
            own["prediction"] = part.classes
            begin = end
        self._parts.clear()
        self._waiting = 0
        self._socket.send(wire.pack_completions(self.trial, rows))


def _class_of(answer: Predictions | Failure | None) -> int:
    return -1 if answer is None or isinstance(answer, Failure) else int(answer[0])

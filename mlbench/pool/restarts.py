"""How often workers may fail before it is enough. Pure."""

from collections import Counter
from typing import NamedTuple

from mlbench.contracts.errors import RunError

MOST_RESTARTS_EACH = 3
"""Of one worker: what a restart helps against, it helps at once; the others allow for accidents."""

MOST_RESTARTS = 10
"""Of all workers of a pool, so that a run does not last for many times as long as it should."""


class Failure(NamedTuple):
    """Why a worker failed, and the end of what it told on stderr."""

    cause: str
    last_words: str = ""

    def __str__(self) -> str:
        """Return both as a line."""
        return f"{self.cause}; its last words: {self.last_words}" if self.last_words else self.cause


class WorkerKeepsFailingError(RunError):
    """A worker was started again as often as it may be, and failed once more."""

    def __init__(self, worker: int, message: str) -> None:
        super().__init__(message)
        self.worker = worker


class Restarts:
    """Counts the failures of workers, and keeps their causes."""

    def __init__(self) -> None:
        self._causes: dict[int, list[str]] = {}

    def note(self, worker: int, name: str, failure: Failure) -> int:
        """Note why a worker failed; return how often it was started again, with this time.

        Raises WorkerKeepsFailingError, with all its causes, when it may not be.
        """
        causes = self._causes.setdefault(worker, [])
        causes.append(failure.cause)
        failures = sum(len(causes) for causes in self._causes.values())
        if len(causes) > MOST_RESTARTS_EACH or failures > MOST_RESTARTS:
            last = failure._replace(cause=_listed(causes))
            raise WorkerKeepsFailingError(worker, f"{name} keeps failing: {last}")
        return len(causes)


def _listed(causes: list[str]) -> str:
    """Return causes in a line, each once with its number."""
    return "; ".join(
        cause if count == 1 else f"{cause} ({count} times)"
        for cause, count in Counter(causes).items()
    )

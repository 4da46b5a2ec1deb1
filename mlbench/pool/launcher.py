"""How worker processes are started and watched."""

from typing import Protocol

from mlbench.contracts.backend import WorkerSpec


class Handle(Protocol):
    """One started worker."""

    pid: int

    def ended(self) -> str | None:
        """Return how the process ended, in words, or None while it runs."""

    def was_stopped(self) -> bool:
        """Whether the process was stopped by a signal, or went on after that, since last asked."""

    def last_words(self) -> str:
        """Return the end of what the process told on stderr, as a line; empty for nothing."""

    def kill(self) -> None:
        """End the process, and what it started, at once, whatever it does."""

    def stop(self, deadline_ns: int) -> None:
        """Wait until then for the process to leave, and end it when it has not."""


class Launcher(Protocol):
    """Starts workers somewhere."""

    def start(self, spec: WorkerSpec) -> Handle:
        """Start one worker; returns at once, before it is ready."""

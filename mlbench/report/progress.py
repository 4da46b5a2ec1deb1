"""Progress for people, on stderr: a live view on a terminal, otherwise a few plain lines."""

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from typing import Self, TextIO, cast

from rich.console import Console

from mlbench.bench.events import (
    AccuracyMeasured,
    EmbeddedModelChosen,
    Event,
    Noted,
    RunStarted,
    SearchEnded,
    TrialFinished,
)
from mlbench.cluster.events import FileSent, HostLost, HostsAwaited
from mlbench.contracts.findings import Finding
from mlbench.contracts.text import printable
from mlbench.data.events import ImagesStreamed
from mlbench.host.kept import FileAwaited, FileDamaged
from mlbench.outcomes import Accuracy
from mlbench.report.final_table import Ending, final_table
from mlbench.report.live.region import Above, Region, takes_more
from mlbench.report.live.view import LiveView
from mlbench.report.plain_lines import PlainLines
from mlbench.report.sentences import accuracy_sentence, sentence


class Progress:
    """Shows events on stderr; only warnings when quiet.

    Use as a context manager: inside, a terminal has a live view, and what is written to stdout and
    stderr appears above it. Whatever ends the block, nothing of it is left on the terminal.
    """

    def __init__(self, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet = quiet
        self._clock = clock
        self._console = Console(stderr=True, highlight=False, emoji=False)
        self._lines = PlainLines()
        self._ending = Ending()
        self._view: LiveView | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._open_view()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._close_view()

    def _open_view(self) -> None:
        """Show a live view, where there is a terminal for it."""
        stderr, stdout, console = sys.stderr, sys.stdout, self._console
        if self._quiet or console.is_dumb_terminal or stderr is None or not stderr.isatty():
            return
        region = Region(stderr, lambda: console.width, takes_more(stderr.fileno()))
        self._stack.enter_context(redirect_stderr(cast(TextIO, Above(stderr, region))))
        if stdout is not None and stdout.isatty():
            self._stack.enter_context(redirect_stdout(cast(TextIO, Above(stdout, region))))
        self._stack.callback(region.clear)
        self._view = LiveView(console, region, self._clock)

    def __call__(self, event: Event) -> None:
        """Show what an event tells."""
        self._tell(event)
        if self._view is not None:
            self._view(event)

    def _tell(self, event: Event) -> None:
        match event:
            case RunStarted(settings):
                self._close_view()  # of a run before this one
                self._open_view()
                self._lines = PlainLines(settings.percentile)
                self._ending = Ending(settings.percentile, settings.output)
            case FileAwaited(path):
                self._say(f"waiting for another process that prepares {path}")
            case FileDamaged(path):
                self._warn(f"{path} is damaged, or has no sums to check it by: built again")
            case HostsAwaited(hosts):
                self._say(f"cluster: starting workers on {hosts} hosts")
            case HostLost(host, reason):
                self._warn(f"host {host} {reason}")
            case FileSent(name, sent, size, hosts):
                self._say(f"sending {name} to {hosts} hosts: {sent / max(size, 1):.0%}")
            case EmbeddedModelChosen():
                self._say("model: the embedded default, EfficientNet-Lite0, trained on ImageNet")
            case ImagesStreamed(count, resident):
                self._say(
                    f"{count:,} images do not fit in memory: accuracy streams them, trials draw "
                    f"from the first {resident:,}"
                )
            case Noted(finding, warning):
                self._note(finding, warning=warning)
            case AccuracyMeasured(_, accuracy):
                self._accuracy(accuracy)
            case SearchEnded(answers):
                self._close_view()
                if not self._quiet:
                    self._console.print(final_table(answers, self._ending))
        if self._view is None:
            for line in self._lines.lines(event):
                self._say(line)
        if isinstance(event, TrialFinished):
            for found in self._ending.host.count(event.trial):
                if not self._quiet:
                    self._warn(f"{sentence(found)}; the table at the end tells how often")

    def _close_view(self) -> None:
        """Take the view off the terminal."""
        self._view = None
        self._stack.close()

    def _note(self, finding: Finding, *, warning: bool) -> None:
        if finding.code == "host_busy_before":
            self._ending.host.say("host_busy")
        (self._warn if warning else self._say)(sentence(finding))

    def _say(self, line: str) -> None:
        if not self._quiet:
            self._print(line)

    def _warn(self, line: str) -> None:
        self._print(f"warning: {line}", "yellow")

    def _print(self, line: str, style: str | None = None) -> None:
        is_piped = not self._console.is_terminal  # where no line is broken
        self._console.print(printable(line), style=style, markup=False, soft_wrap=is_piped)

    def _accuracy(self, accuracy: Accuracy) -> None:
        self._ending.accuracy = accuracy
        self._say(accuracy_sentence(accuracy))
        for skipped in accuracy.skipped_images:
            self._warn(f"left out: {skipped}")

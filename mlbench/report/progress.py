"""Progress for people, on stderr."""

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from mlbench.bench.events import (
    AccuracyMeasured,
    EmbeddedModelChosen,
    Event,
    Noted,
    SearchEnded,
    TrialFinished,
)
from mlbench.cluster.events import FileSent, HostLost, HostsAwaited
from mlbench.contracts.text import printable
from mlbench.data.events import ImagesPrepared, ImagesStreamed
from mlbench.host.kept import FileAwaited, FileDamaged
from mlbench.outcomes import Accuracy, Answer
from mlbench.pool.events import WorkersAwaited
from mlbench.report.sentences import accuracy_sentence, sentence, sentences


class Progress:
    """Turns events into lines and bars on stderr; only warnings when quiet.

    Use as a context manager: whatever ends the block, no bar is left on the terminal.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
        self._bar: Bar | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end_bar()

    def __call__(self, event: Event) -> None:
        """Show what an event tells."""
        match event:
            case ImagesPrepared(done, total):
                self._preparing(done, total)
            case FileAwaited(path):
                self._say(f"waiting for another process that prepares {path}")
            case FileDamaged(path):
                self._warn(f"{path} is damaged, or has no sums to check it by: built again")
            case WorkersAwaited():
                self._say(_awaited(event))
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
                (self._warn if warning else self._say)(sentence(finding))
            case AccuracyMeasured(_, accuracy):
                self._accuracy(accuracy)
            case TrialFinished(trial):
                judged = trial.judgement
                self._say(f"  {judged.verdict}: {'; '.join(sentences(judged.reasons))}")
            case SearchEnded(answers):
                for answer in answers:
                    self._say(_estimate(answer))

    def _say(self, line: str) -> None:
        if not self._quiet:
            self._print(line)

    def _warn(self, line: str) -> None:
        self._print(f"warning: {line}")

    def _print(self, line: str) -> None:
        self._console.print(printable(line), markup=False)

    def _accuracy(self, accuracy: Accuracy) -> None:
        self._say(accuracy_sentence(accuracy))
        for skipped in accuracy.skipped_images:
            self._warn(f"left out: {skipped}")

    def _preparing(self, done: int, total: int) -> None:
        if self._quiet:
            return
        if self._bar is None:
            columns = (TextColumn("preparing images"), BarColumn(), MofNCompleteColumn())
            self._bar = Bar(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task("images", total=total)
            self._bar.start()
            self._console.show_cursor()  # a process that is killed could not bring it back
        self._bar.update(self._task, completed=done)
        if done >= total:
            self._end_bar()

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _awaited(event: WorkersAwaited) -> str:
    names = ", ".join(event.workers)
    return f"waiting for {names} to {event.step}: {event.waited_s:.0f} of {event.timeout_s:g} s"


def _estimate(answer: Answer) -> str:
    head = f"  {answer.kind} {answer.max_latency_s:g} s:"
    if answer.capacity_qps is None or answer.capacity_ci95 is None:
        body = " no estimate"
    else:
        low, high = answer.capacity_ci95
        body = f" capacity {answer.capacity_qps:.1f} qps, 95 % interval {low:.1f} to {high:.1f}"
    return head + body + "".join(f"; {found}" for found in sentences(answer.findings))

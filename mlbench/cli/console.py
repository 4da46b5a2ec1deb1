"""Progress for people, on stderr."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn


class Reporter:
    """Turns progress events into lines and bars on stderr; silent when quiet."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def say(self, message: str) -> None:
        """Print one line unless quiet."""
        if not self._quiet:
            self._console.print(message, markup=False)

    def warn(self, message: str) -> None:
        """Print one line, always."""
        self._console.print(f"warning: {message}", markup=False)

    def progress(self, event: str, fields: dict[str, Any]) -> None:
        """Take a progress event of long work."""
        if self._quiet:
            return
        if event == "preprocess":
            self._preprocess(fields["done"], fields["total"])
        elif event == "embedded_model":
            self.say("model: the embedded default, EfficientNet-Lite0 with its ImageNet weights")
        elif event == "streamed":
            self.say(
                f"{fields['count']:,} images do not fit in memory: accuracy streams them, trials "
                f"draw from the first {fields['resident']:,}"
            )
        elif event == "layout":
            self.say(fields["sentence"])
        elif event == "cache_wait":
            self.say(f"waiting for another process that prepares {fields['path']}")

    def _preprocess(self, done: int, total: int) -> None:
        if self._bar is None:
            columns = (TextColumn("preparing images"), BarColumn(), MofNCompleteColumn())
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task("images", total=total)
            self._bar.start()
        assert self._task is not None  # noqa: S101 - made with the bar
        self._bar.update(self._task, completed=done)
        if done >= total:
            self._bar.stop()
            self._bar = None

"""Every query of a trial, saved as it ends."""

from pathlib import Path

from mlbench.bench.events import Event, SingleTrialFinished, SingleTrialStarted
from mlbench.records import Completions
from mlbench.report.export import QUERY_FORMS, check_form, save
from mlbench.report.queries import query_columns


class RawFile:
    """Saves a trial on its own in the file that its settings name, `raw`, if they do.

    Raises RequestError as the trial starts when the path cannot be written, or its ending names no
    form that `mlbench.report.export` knows.
    """

    def __init__(self) -> None:
        self._path: Path | None = None

    def __call__(self, event: Event) -> None:
        """Check the path, and save the trial when it has ended."""
        match event:
            case SingleTrialStarted(settings):
                self._path = settings.raw
                if self._path is not None:
                    check_form(self._path, QUERY_FORMS)
            case SingleTrialFinished(completions) if self._path is not None:
                save_raw(self._path, completions)


def save_raw(path: str | Path, completions: Completions) -> None:
    """Save every query of a trial, as .npz, .csv, .parquet or .hlog; the path's ending says which.

    `mlbench.report.queries.query_columns` has the columns. Raises RunError when the file cannot be
    written.
    """
    save(Path(path), query_columns(completions))

"""Every query of a trial, as columns in a file."""

from pathlib import Path

import numpy as np

from mlbench.bench.events import Event, SingleTrialFinished, SingleTrialStarted
from mlbench.host.files import check_writable, replacing
from mlbench.records import Completions


class RawFile:
    """Saves a trial on its own in the file that its settings name, `raw`, if they do.

    Raises RequestError as the trial starts when the path cannot be written.
    """

    def __init__(self) -> None:
        self._path: Path | None = None

    def __call__(self, event: Event) -> None:
        """Check the path, and save the trial when it has ended."""
        match event:
            case SingleTrialStarted(settings):
                self._path = settings.raw
                if self._path is not None:
                    check_writable(self._path)
            case SingleTrialFinished(completions) if self._path is not None:
                save_raw(self._path, completions)


def save_raw(path: str | Path, completions: Completions) -> None:
    """Save every query of a trial as the columns of an .npz file, all of shape (n,).

    id, sample (uint32), worker (uint16), due_ns, sent_ns, start_ns, done_ns (int64, monotonic
    clock), status (uint8: 0 lost, 1 completed, 2 failed). Raises RunError when the file cannot be
    written.
    """
    ids = np.arange(len(completions.status), dtype=np.uint32)
    unknown = np.zeros(len(ids), np.uint32)
    with replacing(Path(path).absolute()) as file:
        np.savez(
            file,
            id=ids,
            sample=unknown if completions.sample is None else completions.sample,
            worker=completions.worker,
            due_ns=completions.due_ns,
            sent_ns=completions.sent_ns,
            start_ns=completions.start_ns,
            done_ns=completions.done_ns,
            status=completions.status,
        )

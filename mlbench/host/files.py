"""Writing a file whole or not at all."""

import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mlbench.contracts.errors import RequestError, RunError
from mlbench.host.signals import temporary


def check_writable(path: Path) -> None:
    """Raise RequestError when a file cannot be put at `path`; changes nothing."""
    folder = path.parent
    if not folder.is_dir():
        raise RequestError(f"cannot write {path}: there is no folder {folder}; create it first")
    try:
        if path.exists() and not path.is_file():
            raise RequestError(f"cannot write {path}: it is not a plain file; give another path")
        draft = _draft(path)
        with temporary(draft):
            draft.touch()
    except OSError as error:
        raise RequestError(f"cannot write {path}: {error.strerror}; give another path") from error


@contextmanager
def replacing(path: Path, keep_as: Path | None = None) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the block ends without an exception.

    A reader sees the old file or the new one, never a part. An earlier file goes to `keep_as`, if
    given. Raises RunError when the disk refuses.
    """
    _sweep(path)
    draft = _draft(path)
    try:
        with temporary(draft):
            with draft.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if keep_as and path.exists():
                path.replace(keep_as)
            draft.replace(path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; mend that and run again") from error


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _sweep(path: Path) -> None:
    """Remove the drafts of `path` whose writers were killed."""
    for draft in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        writer = draft.suffixes[-2].removeprefix(".")
        if writer.isdecimal() and not Path("/proc", writer).exists():
            draft.unlink(missing_ok=True)

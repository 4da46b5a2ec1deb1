"""Writing a file whole or not at all. A link is followed: what it points to is written."""

import glob
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import BinaryIO

from mlbench.contracts.errors import RequestError, RunError
from mlbench.host.signals import temporary

_ROOM_BYTES = 1 << 20  # more than a run's results, so that a full disk is found before the run


def real_path(path: str | Path) -> Path:
    """Return the absolute path of what a path leads to, whether it exists or not."""
    return Path(os.path.realpath(path))


def check_writable(path: Path) -> None:
    """Raise RequestError when a file cannot be put at `path`; changes nothing."""
    path = real_path(path)
    folder = path.parent
    if not folder.is_dir():
        raise RequestError(f"cannot write {path}: there is no folder {folder}; create it first")
    try:
        kind = special_kind(path.lstat().st_mode) if os.path.lexists(path) else None
        if kind is not None:
            raise RequestError(f"cannot write {path}: it is {kind}; give another path")
        draft = _draft(path)
        with temporary(draft), draft.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, _ROOM_BYTES)
    except OSError as error:
        raise RequestError(f"cannot write {path}: {error.strerror}; give another path") from error


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the block ends without an exception.

    A reader sees the old file or the new one, never a part. Raises RunError when the disk refuses.
    """
    path = real_path(path)
    _sweep(path)
    draft = _draft(path)
    try:
        with temporary(draft):
            with draft.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; mend that and run again") from error


def numbered(path: Path) -> Path:
    """Return `path` with the first number behind it that no file has: PATH.1, PATH.2, ..."""
    names = (path.with_name(f"{path.name}.{number}") for number in count(1))
    return next(name for name in names if not os.path.lexists(name))


def why_unreadable(path: Path) -> str | None:
    """Return why a path cannot be read as a plain file or a folder; None when it can."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return str(error.strerror).lower()
    except ValueError:  # a name with a null character
        return "no such file or directory"
    kind = special_kind(mode)
    if kind and not stat.S_ISDIR(mode):
        return f"it is {kind}, not a plain file"
    return None if os.access(path, os.R_OK) else "permission denied"


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def special_kind(mode: int) -> str | None:
    """Return what a file of this `st_mode` is; None for a plain file. Links are followed first."""
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFLNK: "a link to itself",
    }
    return kinds.get(stat.S_IFMT(mode))


def _sweep(path: Path) -> None:
    """Remove the drafts of `path` whose writers were killed."""
    for draft in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        writer = draft.suffixes[-2].removeprefix(".")
        if writer.isdecimal() and not Path("/proc", writer).exists():
            draft.unlink(missing_ok=True)

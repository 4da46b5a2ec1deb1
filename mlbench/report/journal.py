"""What a run has found since its results were last written whole, a line for each change.

    results.json           whole: when the run begins to save, and when it ends
    results.json.journal   the changes since; locked while the run lasts, gone when it has ended

So saving a trial costs the same for the thousandth as for the first. The first line says by its
SHA-256 which results.json the changes belong to: whatever a run was doing when it was killed, the
two files together hold all that it had saved, and `read_whole` returns it.
"""

import errno
import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from mlbench.contracts.errors import RequestError, RunError
from mlbench.host.files import real_path
from mlbench.report.documents import Document


class Journal:
    """The journal of the results at `path`, which are this process's to write until it is closed.

    Raises RequestError while another run writes there, or when the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = _journal_of(path)
        self._end = 0
        try:
            self._descriptor = _open_locked(self._path)
        except BlockingIOError:
            raise RequestError(
                f"{path} is being written by another run; give another --output, or wait for it"
            ) from None
        except OSError as error:
            raise RequestError(f"cannot write {self._path}: {error.strerror}") from None

    def begin(self, content: bytes) -> None:
        """Begin anew, with changes to results that were just written whole."""
        self.clear()
        self.append({"of": _sha256(content)})

    def append(self, change: Document) -> None:
        """Save a change on disk, or raise RunError; what was saved before stays."""
        line = (json.dumps(change, allow_nan=False) + "\n").encode()
        try:
            if os.pwrite(self._descriptor, line, self._end) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._descriptor)
        except OSError as error:
            os.ftruncate(self._descriptor, self._end)
            raise RunError(
                f"cannot write {self._path}: {error.strerror}; mend that and run again"
            ) from error
        self._end += len(line)

    def clear(self) -> None:
        """Forget the changes: the results are whole without them."""
        os.ftruncate(self._descriptor, 0)
        self._end = 0

    def close(self) -> None:
        """Let others write the results. Changes that are nowhere else stay."""
        if os.fstat(self._descriptor).st_size == 0:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def merge(document: Document, change: Document) -> None:
    """Add to a document what a change says: trials to `scan`, items to lists, else new values."""
    for key, value in change.items():
        if key == "scan":
            for kind, trials in value.items():
                document[key].setdefault(kind, {}).update(trials)
        elif isinstance(value, list):
            document[key] += value
        else:
            document[key] = value


def encode(document: Document) -> bytes:
    """Return a document as results.json has it; raises ValueError for what JSON cannot hold."""
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()


def read_whole(path: Path) -> bytes:
    """Return the content of results, with what the journal of a run adds that has not ended.

    Raises OSError when the file cannot be read.
    """
    path = real_path(path)
    changes = _read_changes(path)  # first: results that are written whole meanwhile need none
    content = path.read_bytes()
    if not changes or changes[0] != {"of": _sha256(content)}:
        return content
    document = json.loads(content)
    for change in changes[1:]:
        merge(document, change)
    return encode(document)


def _read_changes(path: Path) -> list[Any]:
    """Return the journal's lines, up to one that a crash cut short."""
    changes: list[Any] = []
    try:
        for line in _journal_of(path).read_bytes().splitlines():
            changes.append(json.loads(line))
    except (FileNotFoundError, ValueError, RecursionError):
        pass
    return changes


def _journal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.journal")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _open_locked(path: Path) -> int:
    """Open and lock a file; raises BlockingIOError when another process has locked it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _lock(descriptor)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its last owner removed it between our two steps


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a file system without locks, where nobody can be told from anybody
        pass

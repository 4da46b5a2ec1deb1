"""Every query of a trial, as columns, and the .npz file that holds them."""

from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mlbench.contracts import wire
from mlbench.contracts.errors import RequestError
from mlbench.records import Completions
from mlbench.report.tables import Table

Columns = dict[str, NDArray[np.integer]]

DTYPES: dict[str, DTypeLike] = {
    "id": np.uint32,
    "sample": np.uint32,
    "worker": np.uint16,
    "due_ns": np.int64,
    "sent_ns": np.int64,
    "start_ns": np.int64,
    "done_ns": np.int64,
    "status": np.uint8,
}
_DAMAGE = (EOFError, LookupError, MemoryError, RuntimeError, TypeError, ValueError, BadZipFile)
"""What NumPy and zipfile raise, between them, for bytes that are no columns."""

_LATEST_NS = 2**62  # 146 years: differences of earlier times are no overflow


def query_columns(completions: Completions) -> Columns:
    """Return every query of a trial, in order of id, as columns of shape (n,).

    id, sample (uint32), worker (uint16), due_ns, sent_ns, start_ns, done_ns (int64, monotonic
    clock), status (uint8: 0 lost, 1 completed, 2 failed).
    """
    c, ids = completions, np.arange(len(completions.status), dtype=np.uint32)
    return {
        "id": ids,
        "sample": np.zeros_like(ids) if c.sample is None else c.sample,
        "worker": c.worker,
        "due_ns": c.due_ns,
        "sent_ns": c.sent_ns,
        "start_ns": c.start_ns,
        "done_ns": c.done_ns,
        "status": c.status,
    }


def write_npz(file: BinaryIO, table: Table) -> None:
    """Write columns so that `numpy.load` reads them."""
    arrays: dict[str, Any] = dict(table)
    np.savez(file, **arrays)


def read_npz(path: Path) -> Columns:
    """Read what `write_npz` wrote of a trial's queries.

    Raises RequestError when it is anything else. A file may be anybody's: no object is unpickled,
    and what is packed is not unpacked, since a small file could fill the memory.
    """
    refusal = RequestError(f"{path}: not the queries of a trial, as trial --raw saves them")
    try:
        with ZipFile(path) as packed:
            if any(part.compress_type != ZIP_STORED for part in packed.infolist()):
                raise refusal
        with np.load(path, allow_pickle=False) as file:
            columns = {name: file[name] for name in DTYPES}
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror or 'it is damaged'}") from None
    except _DAMAGE:
        raise refusal from None
    if not _are_queries(columns):
        raise refusal
    return columns


def _are_queries(columns: Columns) -> bool:
    count = len(columns["id"]) if columns["id"].ndim == 1 else 0
    if count == 0 or any(column.shape != (count,) for column in columns.values()):
        return False
    if any(column.dtype != DTYPES[name] for name, column in columns.items()):
        return False
    times = [column for name, column in columns.items() if name.endswith("_ns")]
    if any(column.min() < 0 or column.max() > _LATEST_NS for column in times):
        return False
    completed = columns["status"] == wire.COMPLETED
    return bool((columns["done_ns"] >= columns["due_ns"])[completed].all())

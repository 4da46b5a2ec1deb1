"""A .npz file may be anybody's: what is no trial's is refused in one line, and costs nothing."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import mlbench
from mlbench.contracts.errors import RequestError
from mlbench.records import Completions
from mlbench.report.queries import query_columns
from mlbench.report.raw import save_raw

Columns = dict[str, np.ndarray]


class Opened:
    """Shows in `seen` that it was unpickled."""

    seen: list[str] = []  # noqa: RUF012 - one list on purpose

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return self.seen.append, ("unpickled",)


def _changed(**more: object) -> Callable[[Columns], Columns]:
    return lambda columns: {**columns, **more}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    "change",
    [
        lambda columns: {name: columns[name] for name in columns if name != "due_ns"},
        lambda columns: {name: column[:0] for name, column in columns.items()},
        lambda columns: {name: column[0] for name, column in columns.items()},
        lambda columns: {**columns, "status": columns["status"][:-1]},
        lambda columns: {**columns, "status": columns["status"].astype(float)},
        lambda columns: {**columns, "due_ns": columns["due_ns"] - 2**62},
        lambda columns: {**columns, "done_ns": columns["done_ns"] - 10**10},
        lambda columns: {**columns, "done_ns": columns["done_ns"] + 2**62},
        _changed(id=np.array([Opened()])),
    ],
)
def test_columns_that_are_no_trial_s_are_refused(
    completions: Completions, tmp_path: Path, change: Callable[[Columns], Columns]
) -> None:
    """Missing, empty, ragged or mistyped columns, impossible times and objects are no queries."""
    np.savez(tmp_path / "q.npz", **change(query_columns(completions)))
    with pytest.raises(RequestError, match="not the queries of a trial"):
        mlbench.load(tmp_path / "q.npz")
    assert Opened.seen == []


@pytest.mark.parametrize("keep", [10, 200, -10])
def test_a_file_that_was_cut_is_refused(
    completions: Completions, tmp_path: Path, keep: int
) -> None:
    """A copy that broke off is told in one line."""
    path = tmp_path / "q.npz"
    save_raw(path, completions)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RequestError, match=r"q\.npz"):
        mlbench.load(path)


def test_a_small_file_takes_little_memory(completions: Completions, tmp_path: Path) -> None:
    """Zeros that were packed into nothing are not unpacked; a made-up shape is no array."""
    path = tmp_path / "q.npz"
    zeros = {**query_columns(completions), "due_ns": np.zeros(10**6, np.int64)}
    np.savez_compressed(path, **zeros)
    with pytest.raises(RequestError, match="not the queries of a trial"):
        mlbench.load(path)
    save_raw(path, completions)
    with zipfile.ZipFile(path) as packed:
        parts = {part.filename: packed.read(part) for part in packed.infolist()}
    with zipfile.ZipFile(path, "w") as packed:
        for name, content in parts.items():
            packed.writestr(name, content.replace(b"(6,), }" + b" " * 11, b"(999999999999,), }"))
    with pytest.raises(RequestError, match="not the queries of a trial"):
        mlbench.load(path)

"""What mlbench saved, in the forms of other programs; the name's ending says which."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from mlbench.contracts.errors import RequestError, install_command
from mlbench.host.files import check_writable, replacing
from mlbench.report.hdr_log import write_hdr_log
from mlbench.report.load import load
from mlbench.report.queries import write_npz
from mlbench.report.rows import columns
from mlbench.report.tables import Table, write_csv, write_parquet

_WRITERS: Mapping[str, Callable[[BinaryIO, Table], None]] = {
    ".npz": write_npz,
    ".csv": write_csv,
    ".parquet": write_parquet,
    ".hlog": write_hdr_log,
}
QUERY_FORMS = (".npz", ".csv", ".parquet", ".hlog")
"""The endings of files that hold every query of a trial (an .hlog: the latencies of all)."""

TABLE_FORMS = (".csv", ".parquet")
"""The endings of files that hold trials, or a sweep's answers, a line each."""

EXPORT_FORMS = (".csv", ".parquet", ".hlog")
"""The endings that `export` knows."""

_PACKAGES = {".parquet": ("pyarrow", "pyarrow"), ".hlog": ("hdrh", "hdrhistogram")}


def export(source: str | Path, target: str | Path) -> None:
    """Write what a file of mlbench holds to `target`, as .csv, .parquet or .hlog.

    Of a run or a trial's document these are its trials, of a sweep its answers, and of a trial's
    .npz its queries; an .hlog takes queries. Raises RequestError when `source` cannot be read, or
    `target` cannot be written or has another ending, RunError when the disk refuses.
    """
    source, target = Path(source), Path(target)
    check_form(target, EXPORT_FORMS)
    found = load(source)
    if found.holds == "queries":
        save(target, found.queries)
        return
    if target.suffix.lower() not in TABLE_FORMS:
        raise RequestError(
            f"cannot write {target}: an HdrHistogram log takes every query, and {source} has none; "
            "name the .npz file that trial --raw saved"
        )
    rows = found.answers if found.holds == "sweep" else found.trials
    if not rows:
        raise RequestError(f"cannot write {target}: {source} has no trial yet")
    save(target, columns(rows))


def check_form(path: Path, forms: tuple[str, ...]) -> None:
    """Raise RequestError where `path` has none of these endings, or what writes it is missing."""
    form = path.suffix.lower()
    if form not in forms:
        raise RequestError(
            f"cannot write {path}: its name must end in {', '.join(forms[:-1])} or {forms[-1]}"
        )
    module, package = _PACKAGES.get(form, ("", ""))
    if module and find_spec(module) is None:
        raise RequestError(
            f"cannot write {path}: {package} is not installed; get it with "
            f"{install_command('report')}"
        )
    check_writable(path)


def save(path: Path, table: Table) -> None:
    """Write a table in the form of the path's ending. Raises RunError when the disk refuses."""
    with replacing(path) as file:
        _WRITERS[path.suffix.lower()](file, table)

"""Reading what is compared: result files, and configurations of a sweep as FOLDER#NAME."""

from collections.abc import Sequence
from pathlib import Path

from mlbench.bench.compare.side import Side, read_side
from mlbench.contracts.errors import RequestError
from mlbench.report.load import configuration_path, load


def load_sides(words: Sequence[str]) -> list[Side]:
    """Read each of the results; raises RequestError for one that cannot be read."""
    return [_side(word) for word in words]


def _side(word: str) -> Side:
    found = load(_path(word))
    if found.holds == "sweep":
        folder = Path(word).parent
        raise RequestError(f"{word} is a sweep: name one of its configurations, {folder}#NAME")
    if found.holds != "run":
        raise RequestError(f"{word}: expected the results of a run, not of a single trial")
    return read_side(word, found.document)


def _path(word: str) -> Path:
    """Return the result file that a word means."""
    path = configuration_path(word)
    if (path / "sweep.json").exists():
        raise RequestError(f"{word} is a sweep: name one of its configurations, {word}#NAME")
    return path / "results.json" if path.is_dir() else path

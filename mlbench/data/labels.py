"""Lists of one label a line, in sorted order of the image files.

Three kinds are told apart by what their lines hold:
- synset IDs (`n01440764`): the label is the index among the sorted IDs that occur;
- class numbers from 0: the label itself;
- `ILSVRC2012_validation_ground_truth.txt` of the development kit: numbers 1 to 1000 in an order of
  their own, which the kit's `map_clsloc.txt` or `meta.mat` translates to synset IDs.
"""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts.errors import RequestError
from mlbench.contracts.text import shown
from mlbench.host.files import special_kind

MAP_NAME = "val_map.txt"
"""A list of "name label" lines that comes with a folder."""

_DEVKIT = "ILSVRC2012_validation_ground_truth.txt"
_CANDIDATES = (
    MAP_NAME,
    _DEVKIT,
    f"ILSVRC2012_devkit_t12/data/{_DEVKIT}",
    "imagenet_2012_validation_synset_labels.txt",
)
_MOST_CLASS = 2**31 - 1  # a prediction travels in 32 bits

_CLASSES = 1000  # the kit's table goes on with the inner nodes of the hierarchy
_MAP_ROW = re.compile(r"(?P<synset>n\d{8})\s+(?P<id>\d+)")
_SYNSET = re.compile(r"n\d{8}")


def find_label_list(folder: Path) -> Path | None:
    """Return the list that comes with a folder of images, None when there is none."""
    return next((folder / name for name in _CANDIDATES if (folder / name).is_file()), None)


def read_lines(path: Path) -> list[str]:
    """Return a text file's lines; raises RequestError when it is another kind of file or empty."""
    try:
        if kind := special_kind(path.stat().st_mode):
            raise RequestError(f"{path} is {kind}, not a text file")
        lines = path.read_text(encoding="utf-8").rstrip().splitlines()
    except UnicodeDecodeError:
        raise RequestError(f"{path} is not a text file; it should list labels") from None
    if not lines:
        raise RequestError(f"{path} is empty; it needs a line for each image")
    return lines


def class_number(word: str) -> int | None:
    """Return a class number from 0; None when the word is none, or too large for one."""
    is_short = word.isdecimal() and len(word) <= len(str(_MOST_CLASS))
    return int(word) if is_short and int(word) <= _MOST_CLASS else None


def wrong_line(path: Path, number: int, line: str, wanted: str) -> RequestError:
    """Word the error for a line that is not what is wanted."""
    return RequestError(f"{path}:{number}: '{shown(line)}' is not {wanted}")


def read_labels(path: Path, lines: list[str]) -> NDArray[np.int64]:
    """Return the class numbers from 0 of a list's lines, int64 (n,).

    Raises RequestError naming the line that is not a label.
    """
    words = [line.strip() for line in lines]
    if _SYNSET.fullmatch(words[0]):
        return _synset_labels(path, words)
    numbers = _numbers(path, words)
    return _devkit_labels(path, numbers) if path.name == _DEVKIT else numbers


def _synset_labels(path: Path, words: list[str]) -> NDArray[np.int64]:
    for number, word in enumerate(words, start=1):
        if not _SYNSET.fullmatch(word):
            raise wrong_line(path, number, word, "a synset ID such as n01440764")
    return np.unique(words, return_inverse=True)[1].astype(np.int64)


def _numbers(path: Path, words: list[str]) -> NDArray[np.int64]:
    labels = np.empty(len(words), np.int64)
    for place, word in enumerate(words):
        label = class_number(word)
        if label is None:
            raise wrong_line(path, place + 1, word, "a class number")
        labels[place] = label
    return labels


def _devkit_labels(path: Path, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    synset_of = _synset_of_id(path)
    labels = {id_: i for i, id_ in enumerate(sorted(synset_of, key=lambda k: synset_of[k]))}
    try:
        return np.array([labels[id_] for id_ in ids.tolist()], dtype=np.int64)
    except KeyError as unknown:
        raise RequestError(f"{path}: class {unknown} is not in the kit's synset map") from None


def _synset_of_id(path: Path) -> dict[int, str]:
    """Read the map that comes with a ground truth file: the kit's number -> synset ID."""
    text, matlab = path.with_name("map_clsloc.txt"), path.with_name("meta.mat")
    if text.is_file():
        return _read_map(text)
    if matlab.is_file():
        return _read_matlab(matlab)
    raise RequestError(
        f"{path} numbers the classes in its own order; put the development kit's meta.mat or "
        "map_clsloc.txt beside it"
    )


def _read_map(path: Path) -> dict[int, str]:
    synset_of = {}
    for number, line in enumerate(read_lines(path), start=1):
        match = _MAP_ROW.match(line)
        id_ = class_number(match["id"]) if match else None
        if match is None or id_ is None:
            raise wrong_line(path, number, line, "'synset number name'")
        synset_of[id_] = match["synset"]
    return synset_of


def _read_matlab(path: Path) -> dict[int, str]:
    try:
        from scipy.io.matlab import loadmat  # large, and only this file needs it
    except ImportError:
        raise RequestError(f"reading {path} needs scipy: pip install scipy") from None
    try:
        table = loadmat(path, squeeze_me=True)["synsets"]
        pairs = zip(table["ILSVRC2012_ID"].tolist(), table["WNID"].tolist(), strict=True)
        return {int(id_): str(synset) for id_, synset in pairs if id_ <= _CLASSES}
    except Exception:  # a broken table can raise anything
        raise RequestError(f"{path} is not the development kit's table of synsets") from None

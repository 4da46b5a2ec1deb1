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

MAP_NAME = "val_map.txt"
"""A list of "name label" lines that comes with a folder."""

_DEVKIT = "ILSVRC2012_validation_ground_truth.txt"
_CANDIDATES = (
    MAP_NAME,
    _DEVKIT,
    f"ILSVRC2012_devkit_t12/data/{_DEVKIT}",
    "imagenet_2012_validation_synset_labels.txt",
)
_SYNSET = re.compile(r"n\d{8}")


def find_label_list(folder: Path) -> Path | None:
    """Return the list that comes with a folder of images, None when there is none."""
    return next((folder / name for name in _CANDIDATES if (folder / name).is_file()), None)


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
            raise RequestError(f"{path}:{number}: '{word}' is not a synset ID such as n01440764")
    return np.unique(words, return_inverse=True)[1].astype(np.int64)


def _numbers(path: Path, words: list[str]) -> NDArray[np.int64]:
    for number, word in enumerate(words, start=1):
        if not word.isdecimal():
            raise RequestError(f"{path}:{number}: '{word}' is not a class number")
    return np.array(words, dtype=np.int64)


def _devkit_labels(path: Path, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    synset_of = _synsets_by_id(path)
    try:
        labels = {id_: i for i, (_, id_) in enumerate(sorted((s, k) for k, s in synset_of.items()))}
        return np.array([labels[id_] for id_ in ids.tolist()], dtype=np.int64)
    except KeyError as unknown:
        raise RequestError(f"{path}: class {unknown} is not in the kit's synset map") from None


def _synsets_by_id(path: Path) -> dict[int, str]:
    text, matlab = path.with_name("map_clsloc.txt"), path.with_name("meta.mat")
    if text.is_file():
        rows = [line.split() for line in text.read_text(encoding="utf-8").splitlines()]
        return {int(row[1]): row[0] for row in rows if len(row) > 1}
    if not matlab.is_file():
        raise RequestError(
            f"{path} numbers the classes in its own order; put the development kit's meta.mat or "
            "map_clsloc.txt beside it"
        )
    try:
        from scipy.io import loadmat  # a large package that only this one file needs
    except ImportError:
        raise RequestError(f"reading {matlab} needs scipy: pip install scipy") from None
    table = loadmat(matlab, squeeze_me=True)["synsets"]
    pairs = zip(table["ILSVRC2012_ID"].tolist(), table["WNID"].tolist(), strict=True)
    return {int(id_): str(synset) for id_, synset in pairs if id_ <= 1000}  # above: inner nodes

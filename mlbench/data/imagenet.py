"""ImageNet's validation set in the layouts that people have it in.

| found in the folder             | images, in this order               | labels                   |
|---------------------------------|-------------------------------------|--------------------------|
| `val_map.txt` (or a given list) | its lines "name label"              | its second column        |
| a list of one label a line      | the folder's images, sorted by name | see `mlbench.data.labels`|
| class folders `n01440764/`      | all folders' images, sorted by name | index of sorted folder   |
| images only                     | the folder's images, sorted by name | none                     |

Sorting by the file's name alone puts ImageNet's validation images into the same order in all of
them, so that the first 500 are the same images and not the first ten classes.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mlbench.contracts.errors import RequestError
from mlbench.contracts.text import shown
from mlbench.data.images import ImageList
from mlbench.data.labels import (
    MAP_NAME,
    class_number,
    find_label_list,
    read_labels,
    read_lines,
    wrong_line,
)

_SUFFIXES = {".jpeg", ".jpg", ".png"}
_CLASS_FOLDER = re.compile(r"n\d{8}")


def open_imagenet(folder: Path, list_path: Path | None, count: int | None) -> ImageList:
    """List the first `count` images of `folder`, or all; raises RequestError in one line.

    `list_path`: a map of "name label" lines, or a list of one label a line; looked for in the
    folder when None.
    """
    try:
        listing = list_path or find_label_list(folder)
        if listing is None:
            return _by_folder(folder).first(count)
        lines = read_lines(listing)
        if listing.name == MAP_NAME or len(lines[0].split()) > 1:
            return _by_map(folder, listing, lines, count).first(count)
        return _by_list(folder, listing, lines).first(count)
    except OSError as error:
        raise RequestError(
            f"cannot read {error.filename or folder} ({error.strerror}); "
            "check --dataset-path (or DATA_DIR) and --dataset-list"
        ) from None


def _by_map(folder: Path, listing: Path, lines: list[str], count: int | None) -> ImageList:
    """List what a map names, each file once; only the first `count` files must exist."""
    files: dict[Path, int] = {}
    labels = []
    for number, line in enumerate(lines, start=1):
        name, label = _named_label(listing, number, line)
        file = folder / name
        if file in files:
            again = f"{folder / shown(name)} is on line {files[file]}, too"
            raise RequestError(f"{listing}:{number}: {again}")
        if (count is None or number <= count) and not os.path.lexists(file):
            raise RequestError(f"{listing}:{number}: no such file: {folder / shown(name)}")
        files[file] = number
        labels.append(label)
    return ImageList(tuple(files), np.array(labels, dtype=np.int64))


def _named_label(listing: Path, number: int, line: str) -> tuple[str, int]:
    words = line.strip().rsplit(maxsplit=1)
    label = class_number(words[1]) if len(words) == 2 else None
    if label is None:
        raise wrong_line(listing, number, line, "'name label'")
    return words[0], label


def _by_list(folder: Path, listing: Path, lines: list[str]) -> ImageList:
    files = _images(folder, folder.iterdir())
    labels = read_labels(listing, lines)
    if len(labels) != len(files):
        raise RequestError(
            f"{listing} has {len(labels)} labels for {len(files)} images in {folder}; "
            "they must match one to one"
        )
    return ImageList(files, labels)


def _by_folder(folder: Path) -> ImageList:
    entries = list(folder.iterdir())
    classes = sorted(e for e in entries if _CLASS_FOLDER.fullmatch(e.name) and e.is_dir())
    if not classes:
        return ImageList(_images(folder, entries), None)
    index = {path: i for i, path in enumerate(classes)}
    files = _images(folder, (file for path in classes for file in path.iterdir()))
    return ImageList(files, np.array([index[file.parent] for file in files], dtype=np.int64))


def _images(folder: Path, entries: Iterable[Path]) -> tuple[Path, ...]:
    files = tuple(
        sorted(
            (e for e in entries if e.suffix.lower() in _SUFFIXES),
            key=lambda file: (file.name, file.parent),
        )
    )
    if not files:
        raise RequestError(f"no image found in {folder}; looked for {', '.join(sorted(_SUFFIXES))}")
    return files

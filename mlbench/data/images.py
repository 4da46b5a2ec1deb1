"""A list of images with their labels."""

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ImageList:
    """Image files in the order of their sample numbers; at least one.

    `labels`: int64 (n,), class numbers from 0, or None when they are not known. `whole` says that
    these are all images of the dataset.
    """

    files: tuple[Path, ...]
    labels: NDArray[np.int64] | None
    whole: bool = True

    def __post_init__(self) -> None:
        if not self.files:
            raise ValueError("an image list needs at least one image")
        if self.labels is not None and self.labels.shape != (len(self.files),):
            raise ValueError(f"labels of shape {self.labels.shape} for {len(self.files)} images")

    def first(self, count: int | None) -> "ImageList":
        """Return the first `count` images, or all when there are fewer or `count` is None."""
        labels = None if self.labels is None else self.labels[:count]
        files = self.files[:count]
        return ImageList(files, labels, self.whole and len(files) == len(self.files))

    def without(self, indices: Container[int]) -> "ImageList":
        """Return the list less the images at `indices`; some must remain."""
        kept = [i for i in range(len(self.files)) if i not in indices]
        files = tuple(self.files[i] for i in kept)
        return ImageList(files, None if self.labels is None else self.labels[kept])

"""Opening a dataset by its name."""

from pathlib import Path

from mlbench.contracts.errors import RequestError
from mlbench.data.imagenet import open_imagenet
from mlbench.data.images import ImageList
from mlbench.data.sample import open_sample


def open_dataset(
    kind: str, path: Path | None = None, list_path: Path | None = None, count: int | None = None
) -> ImageList:
    """List the first `count` images of a dataset, or all.

    `kind`: "sample" (the photos of the `sample` extra) or "imagenet" (the folder `path`, in any of
    the layouts of `open_imagenet`, with labels from `list_path` when given). Raises RequestError
    when the dataset cannot be had or is not as described.
    """
    if count is not None and count < 1:
        raise RequestError(f"--count {count}: must be at least 1")
    if kind == "sample":
        return open_sample().first(count)
    if kind != "imagenet":
        raise RequestError(f"no images belong to dataset '{kind}'; use sample or imagenet")
    if path is None:
        raise RequestError("dataset 'imagenet' needs a folder: give --dataset-path or set DATA_DIR")
    return open_imagenet(path, list_path, count)

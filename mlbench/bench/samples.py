"""The samples that a run needs, prepared and checked against the model's inputs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import psutil
from numpy.typing import NDArray

from mlbench.bench.events import ImagesStreamed, Listener
from mlbench.bench.settings import Settings
from mlbench.contracts.backend import Signature, TensorSpec
from mlbench.contracts.errors import RequestError
from mlbench.data.cache import build_cache
from mlbench.data.datasets import open_dataset
from mlbench.data.images import ImageList
from mlbench.data.preprocess import PREPROCESSING, sample_bytes, sample_shape
from mlbench.data.synthetic import draw_samples
from mlbench.host.folders import cache_dir

_USUAL_COUNT = 500  # images of the accuracy stage, and of most runs


@dataclass(frozen=True)
class Samples:
    """The samples: cache files by input name, and the truth where it is known.

    Accuracy runs over all `count` of them; trials draw from the first `resident`, which fit in
    memory. `labels` int64 (count,), or None when accuracy cannot be told. `whole_set` says that
    these are all images of the dataset. `skipped` lists bad images that were left out.
    """

    feeds: dict[str, str]
    count: int
    resident: int
    labels: NDArray[np.int64] | None = None
    whole_set: bool = False
    skipped: tuple[str, ...] = ()


def make_samples(settings: Settings, signature: Signature, tell: Listener) -> Samples:
    """Prepare the samples that a model with this signature is fed with.

    Raises RequestError when they do not fit the model, or cannot be had.
    """
    if not signature.inputs:
        return Samples({}, settings.count, settings.count)
    if settings.dataset is None:
        raise RequestError(
            f"the model takes {', '.join(map(str, signature.inputs))}: say what to feed it with "
            "--dataset synthetic, sample or imagenet"
        )
    inputs = _chosen_inputs(settings, signature)
    if settings.dataset == "synthetic":
        chosen = Signature(tuple(inputs), signature.outputs)
        feeds = draw_samples(chosen, settings.count, cache_dir())
        files = {name: str(path) for name, path in feeds.items()}
        return Samples(files, settings.count, settings.count)
    name = _check_image_input(settings, inputs)
    everything = open_dataset(settings.dataset, settings.dataset_path, settings.dataset_list)
    return _image_samples(settings, name, everything, tell)


def _image_samples(settings: Settings, name: str, everything: ImageList, tell: Listener) -> Samples:
    images = everything.first(settings.count)
    resident = _resident(len(images.files), settings, tell)
    built = build_cache(
        images,
        PREPROCESSING[settings.preprocessing],
        settings.data_format,
        cache_dir(),
        tell,
        skip_bad=settings.skip_bad_images,
        resident=resident,
    )
    return Samples(
        {name: str(built.path)},
        len(built.images.files),
        min(resident, len(built.images.files)),
        built.images.labels,
        settings.dataset == "imagenet" and len(images.files) == len(everything.files),
        built.skipped,
    )


def _resident(count: int, settings: Settings, tell: Listener) -> int:
    """Return how many images trials draw from: all that fit in memory, else the usual number."""
    needed = count * sample_bytes(settings.data_format)
    if count <= _USUAL_COUNT or needed <= psutil.virtual_memory().available:
        return count
    tell(ImagesStreamed(count, _USUAL_COUNT))
    return _USUAL_COUNT


def _chosen_inputs(settings: Settings, signature: Signature) -> Sequence[TensorSpec]:
    known = {spec.name: spec for spec in signature.inputs}
    for name in settings.inputs:
        if name not in known:
            raise RequestError(f"the model has no input '{name}'; it has: {', '.join(known)}")
    for name in settings.outputs:
        if name not in signature.outputs:
            raise RequestError(
                f"the model has no output '{name}'; it has: {', '.join(signature.outputs)}"
            )
    return [known[name] for name in settings.inputs] or signature.inputs


def _check_image_input(settings: Settings, inputs: Sequence[TensorSpec]) -> str:
    """Return the name of the one input that takes the prepared images."""
    shape = sample_shape(settings.data_format)
    prepared = TensorSpec("images", "float32", (None, *shape))
    fits = (
        len(inputs) == 1
        and inputs[0].dtype == "float32"
        and len(inputs[0].shape) == 4
        and all(want in (None, have) for want, have in zip(inputs[0].shape[1:], shape, strict=True))
    )
    if not fits:
        raise RequestError(
            f"the model takes {', '.join(map(str, inputs))}, but dataset '{settings.dataset}' "
            f"gives {prepared}; try another --data-format, or --dataset synthetic"
        )
    return inputs[0].name

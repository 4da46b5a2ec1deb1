"""The samples that a run needs, prepared and checked against the model's inputs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlbench.bench.events import Listener
from mlbench.bench.settings import Settings
from mlbench.contracts.backend import Signature, TensorSpec
from mlbench.contracts.errors import RequestError
from mlbench.data.cache import build_cache
from mlbench.data.datasets import open_dataset
from mlbench.data.preprocess import PREPROCESSING, sample_shape
from mlbench.data.synthetic import draw_samples
from mlbench.host.folders import cache_dir


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
        feeds = draw_samples(chosen, settings.count, cache_dir(), tell)
        files = {name: str(path) for name, path in feeds.items()}
        return Samples(files, settings.count, settings.count)
    name = _check_image_input(settings, inputs)
    images = open_dataset(
        settings.dataset, settings.dataset_path, settings.dataset_list, settings.count
    )
    _check_labels(settings, signature, images.labels)
    built = build_cache(
        images,
        PREPROCESSING[settings.preprocessing],
        settings.data_format,
        cache_dir(),
        tell,
        skip_bad=settings.skip_bad_images,
        only_resident=not settings.has_accuracy,
    )
    return Samples(
        {name: str(built.path)},
        len(built.images.files),
        built.resident,
        built.images.labels,
        settings.dataset == "imagenet" and images.whole,
        built.skipped,
    )


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


def _check_labels(
    settings: Settings, signature: Signature, labels: NDArray[np.int64] | None
) -> None:
    """Refuse a label that no answer of the model can be, where its classes are known."""
    count = signature.class_count(settings.outputs)
    if labels is None or count is None:
        return
    most = count - 1 - settings.label_offset
    if labels.max() > most:
        raise RequestError(
            f"the labels go up to {labels.max()}, but the answers of this model, with {count} "
            f"classes, only to {most}: they belong to another model, or are numbered from 1"
        )


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

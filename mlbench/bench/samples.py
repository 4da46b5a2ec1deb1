"""The samples that a run needs, prepared and checked against the model's inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlbench.bench.dims import check_all_fixed, sizes_by_name
from mlbench.bench.events import Listener
from mlbench.bench.settings import Settings
from mlbench.contracts.backend import Signature, TensorSpec, nearest
from mlbench.contracts.cache import open_samples
from mlbench.contracts.errors import RequestError
from mlbench.data.npz import open_npz
from mlbench.data.synthetic import draw_samples
from mlbench.host.folders import cache_dir


@dataclass(frozen=True)
class Samples:
    """The samples: cache files by input name, and the truth where it is known.

    Accuracy runs over all `count` of them; trials draw from the first `resident`, which fit in
    memory. `labels` int64 (count,), or None when accuracy cannot be told. `whole_set` says that
    these are all images of the dataset. `skipped` lists bad images that were left out. `whole`:
    the inputs without a batch dimension; `dims`: the sizes of dimensions that the model names.
    """

    feeds: dict[str, str]
    count: int
    resident: int
    labels: NDArray[np.int64] | None = None
    whole_set: bool = False
    skipped: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    dims: Mapping[str, int] = field(default_factory=dict)


def make_samples(settings: Settings, signature: Signature, tell: Listener) -> Samples:
    """Prepare the samples that a model with this signature is fed with.

    Raises RequestError when they do not fit the model, or cannot be had.
    """
    if not signature.inputs:
        return Samples({}, settings.count, settings.count)
    if settings.dataset is None:
        raise RequestError(
            f"the model takes {', '.join(map(str, signature.inputs))}: say what to feed it with "
            "--dataset synthetic, npz, sample or imagenet"
        )
    inputs = _chosen_inputs(settings, signature)
    if settings.dataset == "synthetic":
        return _drawn(settings, inputs, tell)
    if settings.dataset == "npz":
        return _recorded(settings, signature, inputs, tell)
    return _images(settings, signature, inputs, tell)


def _drawn(settings: Settings, inputs: Sequence[TensorSpec], tell: Listener) -> Samples:
    check_all_fixed(inputs)
    files = draw_samples(Signature(tuple(inputs), ()), settings.count, cache_dir(), tell)
    return _of_tensors(settings, inputs, Samples(_texts(files), settings.count, settings.count))


def _recorded(
    settings: Settings, signature: Signature, inputs: Sequence[TensorSpec], tell: Listener
) -> Samples:
    if settings.dataset_path is None:
        raise RequestError("dataset 'npz' needs a file: give --dataset-path FILE")
    if settings.dataset_path.is_dir():
        raise RequestError(f"--dataset-path {settings.dataset_path}: a folder, not an .npz file")
    recorded = open_npz(settings.dataset_path, inputs, settings.count, cache_dir(), tell)
    _check_labels(settings, signature, recorded.labels)
    files, count = _texts(recorded.files), recorded.count
    return _of_tensors(settings, inputs, Samples(files, count, count, recorded.labels))


def _texts(files: Mapping[str, Path]) -> dict[str, str]:
    return {name: str(path) for name, path in files.items()}


def _of_tensors(settings: Settings, inputs: Sequence[TensorSpec], samples: Samples) -> Samples:
    """Return samples with what their shapes tell, checked against the batch size."""
    arrays = {name: open_samples(path) for name, path in samples.feeds.items()}
    whole = tuple(spec.name for spec in inputs if spec.is_whole)
    for name in whole:
        if settings.batch_size > 1 and not bool((arrays[name] == arrays[name][:1]).all()):
            raise RequestError(
                f"--batch-size {settings.batch_size}: input '{name}' has no batch dimension, so "
                "queries that differ in it cannot share a batch"
            )
    shapes = {name: array.shape[1:] for name, array in arrays.items()}
    return replace(samples, whole=whole, dims=sizes_by_name(inputs, shapes))


def _images(
    settings: Settings, signature: Signature, inputs: Sequence[TensorSpec], tell: Listener
) -> Samples:
    # They import OpenCV, which only images need.
    from mlbench.data.cache import build_cache
    from mlbench.data.datasets import open_dataset
    from mlbench.data.preprocess import PREPROCESSING

    assert settings.dataset is not None  # noqa: S101 - the caller looked
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
            raise RequestError(
                f"the model has no input '{name}'{nearest(name, known)}; it has: "
                f"{', '.join(map(str, signature.inputs))}"
            )
    for name in settings.outputs:
        if name not in signature.outputs:
            raise RequestError(
                f"the model has no output '{name}'{nearest(name, list(signature.outputs))}; "
                f"it has: {signature.listed_outputs}"
            )
    return [known[name] for name in settings.inputs] or signature.inputs


def _check_labels(
    settings: Settings, signature: Signature, labels: NDArray[np.int64] | None
) -> None:
    """Refuse labels where the answer is no class, and a label that no answer can be."""
    if labels is None:
        return
    if settings.has_accuracy:
        _check_is_class(settings, signature)
    count = signature.class_count(settings.outputs)
    if count is None:
        return
    most = count - 1 - settings.label_offset
    if labels.max() > most:
        why = "they belong to another model, or are numbered from 1"
        if labels.max() == most + 1 and labels.min() > 0:
            why = f"they are numbered from 1: --label-offset {settings.label_offset - 1}"
        raise RequestError(
            f"the labels go up to {labels.max()}, but the answers of this model, with {count} "
            f"classes, only to {most}: {why}"
        )


def _check_is_class(settings: Settings, signature: Signature) -> None:
    if signature.tells_no_class(settings.outputs):
        raise RequestError(
            f"accuracy needs an output that tells a class, one of {signature.listed_outputs}: "
            "name it with --outputs, or use --skip-accuracy"
        )


def _check_image_input(settings: Settings, inputs: Sequence[TensorSpec]) -> str:
    """Return the name of the one input that takes the prepared images."""
    from mlbench.data.preprocess import sample_shape

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

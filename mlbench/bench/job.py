"""From settings to what workers need: checks first, then model file, samples and worker specs.

Everything that can be wrong with a request is found here, before a worker starts.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
from numpy.typing import NDArray

from mlbench.bench.layout import lay_out
from mlbench.bench.settings import Settings
from mlbench.contracts.backend import (
    Signature,
    TensorSpec,
    WorkerSpec,
    no_model,
    parse_options,
)
from mlbench.contracts.errors import RequestError
from mlbench.contracts.registry import find_backend, require_runtime
from mlbench.data.cache import build_cache
from mlbench.data.datasets import open_dataset
from mlbench.data.images import ImageList
from mlbench.data.preprocess import PREPROCESSING, sample_bytes, sample_shape
from mlbench.data.synthetic import draw_samples
from mlbench.host.devices import Place, parse_devices, place_workers
from mlbench.host.folders import cache_dir
from mlbench.host.gpus import visible_gpus
from mlbench.host.topology import read_topology
from mlbench.models.lite0 import lite0_path
from mlbench.models.metadata import model_metadata
from mlbench.pool.local import inspect_model
from mlbench.records import Progress

_USUAL_COUNT = 500


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


@dataclass(frozen=True)
class Job:
    """Everything a pool needs, what the model file says about itself, and how workers were chosen.

    `layout` is a sentence, None where the user said how many workers and threads there are.
    """

    specs: tuple[WorkerSpec, ...]
    samples: Samples
    model_says: Mapping[str, str]
    layout: str | None = None


def prepare(settings: Settings, progress: Progress) -> Job:
    """Check the request and build what it needs; raises RequestError, one line, when it is wrong.

    `progress` hears of work that takes long.
    """
    backend = find_backend(settings.backend)
    parse_options(settings.backend_options, backend.OPTIONS, settings.backend)
    cpus = sorted(os.sched_getaffinity(0))
    devices = parse_devices(settings.devices, cpus, len(visible_gpus()))
    require_runtime(settings.backend, backend)
    needs_model = backend.NEEDS_MODEL
    model = _model_path(settings, needs_model, progress)
    signature = inspect_model(settings.backend, str(model)) if model else Signature((), ())
    _check_batch(settings, signature)
    samples = _samples(settings, signature, progress)
    topology = read_topology(cpus)

    def specs_at(places: Sequence[Place]) -> tuple[WorkerSpec, ...]:
        return tuple(_worker_spec(settings, i, p, model, samples) for i, p in enumerate(places))

    workers = settings.workers_per_device
    specs = specs_at(place_workers(devices, workers or 1, settings.threads, topology))
    layout = None
    if workers is None and settings.threads is None and needs_model:
        layout = lay_out(devices, specs, settings.max_latencies_s, topology)
    if layout:
        progress("layout", {"sentence": layout.sentence})
        specs = specs_at(layout.places)
    says = model_metadata(model) if model else {}
    return Job(specs, samples, says, layout.sentence if layout else None)


def _worker_spec(
    settings: Settings, index: int, place: Place, model: Path | None, samples: Samples
) -> WorkerSpec:
    return WorkerSpec(
        index=index,
        endpoint="",
        backend=settings.backend,
        options=dict(settings.backend_options),
        model=None if model is None else str(model),
        outputs=settings.outputs,
        feeds=samples.feeds,
        device=place.device,
        cores=place.cpus,
        threads=place.threads,
        batch_size=settings.batch_size,
        batch_timeout_ns=round(settings.batch_timeout_s * 1e9),
        sample_count=samples.resident,
        label_offset=settings.label_offset,
    )


def _model_path(settings: Settings, needed: bool, progress: Progress) -> Path | None:
    if settings.model is not None:
        path = settings.model.absolute()
        if not path.exists():
            raise RequestError(f"model {settings.model}: no such file")
        if path.is_file() and not os.access(path, os.R_OK):
            raise RequestError(f"model {settings.model}: cannot be read (permission denied)")
        return path
    if not needed:
        return None
    if settings.profile not in ("lite0-onnxruntime", "lite0-tf"):
        raise no_model(settings.backend)
    progress("embedded_model", {})
    fmt: Literal["onnx", "pb"] = "pb" if settings.backend == "tensorflow" else "onnx"
    return lite0_path(fmt, settings.data_format, cache_dir())


def _check_batch(settings: Settings, signature: Signature) -> None:
    for spec in signature.inputs:
        fixed = spec.shape[0] if spec.shape else None
        if fixed is None:
            continue
        if settings.batch_size != 1 and fixed == 1:
            raise RequestError(
                f"--batch-size {settings.batch_size}: input {spec} has a fixed batch dimension of "
                "1; export the model with a symbolic batch dimension"
            )
        if fixed != 1:
            raise RequestError(
                f"input {spec} has a fixed batch dimension of {fixed}: queries arrive one by one, "
                "so batches vary; export the model with a symbolic batch dimension"
            )


def _samples(settings: Settings, signature: Signature, progress: Progress) -> Samples:
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
    return _image_samples(settings, name, everything, progress)


def _image_samples(
    settings: Settings, name: str, everything: ImageList, progress: Progress
) -> Samples:
    images = everything.first(settings.count)
    resident = _resident(len(images.files), settings, progress)
    built = build_cache(
        images,
        PREPROCESSING[settings.preprocessing],
        settings.data_format,
        cache_dir(),
        progress,
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


def _resident(count: int, settings: Settings, progress: Progress) -> int:
    """Return how many images trials draw from: all that fit in memory, else the usual number."""
    needed = count * sample_bytes(settings.data_format)
    if count <= _USUAL_COUNT or needed <= psutil.virtual_memory().available:
        return count
    progress("streamed", {"count": count, "resident": _USUAL_COUNT})
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

"""From settings to what workers need: checks first, then model file, samples and worker specs.

Everything that can be wrong with a request is found here, before a worker starts.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlbench.bench.events import EmbeddedModelChosen, Listener, Noted
from mlbench.bench.layout import lay_out
from mlbench.bench.samples import Samples, make_samples
from mlbench.bench.settings import Settings
from mlbench.contracts.backend import (
    Signature,
    WorkerSpec,
    no_model,
    parse_options,
)
from mlbench.contracts.errors import RequestError
from mlbench.contracts.registry import find_backend, require_runtime
from mlbench.host.devices import Place, parse_devices, place_workers
from mlbench.host.folders import cache_dir
from mlbench.host.gpus import visible_gpus
from mlbench.host.topology import read_topology
from mlbench.models.lite0 import lite0_path
from mlbench.models.metadata import model_metadata
from mlbench.pool.local import inspect_model


@dataclass(frozen=True)
class Job:
    """Everything a pool needs, and what the model file says about itself."""

    specs: tuple[WorkerSpec, ...]
    samples: Samples
    model_says: Mapping[str, str]

    @property
    def synthetic(self) -> bool:
        """Whether the model was never trained, so that its answers mean nothing."""
        return self.model_says.get("weights") == "synthetic"


def prepare(settings: Settings, tell: Listener) -> Job:
    """Check the request and build what it needs; raises RequestError, one line, when it is wrong.

    It tells of work that takes long.
    """
    backend = find_backend(settings.backend)
    parse_options(settings.backend_options, backend.OPTIONS, settings.backend)
    cpus = sorted(os.sched_getaffinity(0))
    devices = parse_devices(settings.devices, cpus, len(visible_gpus()))
    require_runtime(settings.backend, backend)
    needs_model = backend.NEEDS_MODEL
    model = _model_path(settings, needs_model, tell)
    signature = inspect_model(settings.backend, str(model)) if model else Signature((), ())
    _check_batch(settings, signature)
    samples = make_samples(settings, signature, tell)
    topology = read_topology(cpus)

    def specs_at(places: Sequence[Place]) -> tuple[WorkerSpec, ...]:
        return tuple(_worker_spec(settings, i, p, model, samples) for i, p in enumerate(places))

    workers = settings.workers_per_device
    specs = specs_at(place_workers(devices, workers or 1, settings.threads, topology))
    layout = None
    if workers is None and settings.threads is None and needs_model:
        layout = lay_out(devices, specs, settings.max_latencies_s, topology)
    if layout:
        tell(Noted(layout.finding))
        specs = specs_at(layout.places)
    return Job(specs, samples, model_metadata(model) if model else {})


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


def _model_path(settings: Settings, needed: bool, tell: Listener) -> Path | None:
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
    tell(EmbeddedModelChosen())
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

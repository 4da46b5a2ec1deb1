"""From settings to what workers need: checks first, then model file, samples and worker specs.

Everything that can be wrong with a request is found here, before a worker starts.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from mlbench.bench.dims import check_batch, fix_dims
from mlbench.bench.events import (
    EmbeddedModelChosen,
    Listener,
    Noted,
    Prepared,
    StageBegan,
    from_pool,
)
from mlbench.bench.layout import Division, divide_by_time, most_threads, time_on_one_thread
from mlbench.bench.limits import check_workers
from mlbench.bench.samples import Samples, make_samples
from mlbench.bench.served import describe_served
from mlbench.bench.settings import Settings
from mlbench.cluster.connect import check_cluster
from mlbench.contracts.backend import (
    Backend,
    Signature,
    WorkerSpec,
    no_model,
    parse_options,
)
from mlbench.contracts.device import Device
from mlbench.contracts.errors import RequestError
from mlbench.contracts.findings import Finding
from mlbench.contracts.registry import ready_backend
from mlbench.host.cgroup import cpu_quota
from mlbench.host.devices import Place, parse_devices, place_workers
from mlbench.host.files import why_unreadable
from mlbench.host.folders import cache_dir
from mlbench.host.gpus import visible_gpus
from mlbench.host.kept import is_damaged
from mlbench.host.topology import read_topology
from mlbench.models.formats import backend_of, why_no_model
from mlbench.models.lite0 import lite0_path
from mlbench.pool.local import inspect_model


@dataclass(frozen=True)
class Job:
    """Everything a pool needs; `model` is None for a backend that takes none.

    For a cluster `specs` has one worker, without a place: what all workers of all hosts have alike.
    """

    specs: tuple[WorkerSpec, ...]
    samples: Samples
    model: Path | None

    def without(self, worker: int) -> "Job":
        """Return the job with all workers but this one, numbered anew."""
        rest = [spec for spec in self.specs if spec.index != worker]
        specs = tuple(replace(spec, index=index) for index, spec in enumerate(rest))
        return replace(self, specs=specs)


def prepare(settings: Settings, tell: Listener) -> Job:
    """Check the request and build what it needs; raises RequestError, one line, when it is wrong.

    It tells of work that takes long.
    """
    backend = _ready_backend(settings)
    parse_options(settings.backend_options, backend.OPTIONS, settings.backend)
    cpus = sorted(os.sched_getaffinity(0))
    devices = []
    if settings.cluster is not None:  # its hosts have devices of their own
        check_cluster(settings.cluster, insecure=settings.insecure)
    else:
        devices = parse_devices(settings.devices, cpus, len(visible_gpus()))
        check_workers(len(devices) * (settings.workers_per_device or 1))
    needs_model = backend.NEEDS_MODEL
    if needs_model:
        tell(StageBegan("model"))
    model = _model_path(settings, needs_model, tell)
    signature = inspect_model(settings.backend, str(model)) if model else Signature((), ())
    signature = fix_dims(signature, settings.dims)
    check_batch(settings.batch_size, signature.inputs, settings.dims)
    if signature.inputs:
        tell(StageBegan("samples"))
    samples = make_samples(settings, signature, tell)
    worker = _worker(settings, model, samples)
    if settings.cluster is not None:
        tell(Prepared(describe_served(settings.backend, model, samples.feeds)))
        return Job((worker,), samples, model)
    specs, _ = _place(worker, devices, settings, needs_model, tell)
    tell(Prepared(describe_served(settings.backend, model, samples.feeds)))
    return Job(specs, samples, model)


def _ready_backend(settings: Settings) -> type[Backend]:
    """Return the backend; where the model's file chose it, what is missing names the file."""
    try:
        return ready_backend(settings.backend)
    except RequestError as error:
        chosen = None if settings.model is None else backend_of(settings.model)
        if chosen != settings.backend:
            raise
        raise RequestError(f"model {settings.model}: {error}") from None


def place_here(
    worker: WorkerSpec, settings: Settings, tell: Listener, query_s: float | None
) -> tuple[tuple[WorkerSpec, ...], float | None]:
    """Return the workers of a host of a cluster, and what a query takes on one thread.

    `worker`: what all workers have alike. `query_s`: what a query takes where that is known, from
    another host; the layout follows from it. Raises RequestError for devices that are not here.
    """
    backend = ready_backend(settings.backend)
    cpus = sorted(os.sched_getaffinity(0))
    devices = parse_devices(settings.devices, cpus, len(visible_gpus()))
    check_workers(len(devices) * (settings.workers_per_device or 1))
    return _place(worker, devices, settings, backend.NEEDS_MODEL, tell, query_s)


def _place(
    worker: WorkerSpec,
    devices: Sequence[Device],
    settings: Settings,
    needs_model: bool,
    tell: Listener,
    known_query_s: float | None = None,
) -> tuple[tuple[WorkerSpec, ...], float | None]:
    """Return the workers that were asked for; where nobody asked, as many as the limits allow.

    With them goes what a query takes on one thread, where that decided it; it is not measured where
    it is known.
    """
    cpus = sorted(os.sched_getaffinity(0))
    topology, quota_cores = read_topology(cpus), _quota_below(len(cpus), tell)
    asked, threads = settings.workers_per_device, settings.threads
    division = Division([asked or 1] * len(devices))
    if needs_model and asked is None and threads is None:
        tell(StageBegan("timing"))
        query_s = _timing(settings, tell, known_query_s)
        limits_s = settings.max_latencies_s
        division = divide_by_time(devices, worker, limits_s, topology, query_s, quota_cores)
    most = most_threads(quota_cores, sum(division.workers))
    places = [
        place
        for device, workers in zip(devices, division.workers, strict=True)
        for place in place_workers(device, workers, threads, topology, most)
    ]
    if division.query_s is not None:
        tell(Noted(_layout(places, division.query_s, worker.batch_size)))
    specs = tuple(
        replace(worker, index=index, device=place.device, cores=place.cpus, threads=place.threads)
        for index, place in enumerate(places)
    )
    return specs, division.query_s


def _timing(
    settings: Settings, tell: Listener, known_query_s: float | None
) -> Callable[[WorkerSpec], float]:
    """Return what tells how long a query takes on one thread: it measures, or knows."""
    if known_query_s is not None:
        return lambda _: known_query_s
    return partial(time_on_one_thread, timeout_s=settings.start_timeout, tell=from_pool(tell))


def _quota_below(cores: int, tell: Listener) -> float | None:
    """Return the cores' time that a CPU quota allows, and tell of it; None if all of it."""
    quota_cores = cpu_quota()
    if quota_cores is None or quota_cores >= cores:
        return None
    tell(Noted(Finding("quota_below_cores", {"quota_cores": quota_cores, "cores": cores})))
    return quota_cores


def _layout(places: Sequence[Place], query_s: float, batch_size: int) -> Finding:
    figures = {
        "workers": len(places),
        "threads": max(place.threads for place in places),
        "query_s": query_s,
        "batch_size": batch_size,
    }
    return Finding("layout", figures)


def _worker(settings: Settings, model: Path | None, samples: Samples) -> WorkerSpec:
    """Return what all workers have alike."""
    return WorkerSpec(
        index=0,
        endpoint="",
        backend=settings.backend,
        options=dict(settings.backend_options),
        model=None if model is None else str(model),
        outputs=settings.outputs,
        feeds=samples.feeds,
        whole=samples.whole,
        dims=dict(samples.dims),
        batch_size=settings.batch_size,
        batch_timeout_ns=round(settings.batch_timeout_s * 1e9),
        sample_count=samples.resident,
        label_offset=settings.label_offset,
    )


def _model_path(settings: Settings, needed: bool, tell: Listener) -> Path | None:
    if settings.model is not None:
        _check_model(settings.model, settings.backend)
        return settings.model.absolute()
    if not needed:
        return None
    if settings.profile not in ("lite0-onnxruntime", "lite0-tf"):
        raise no_model(settings.backend)
    tell(EmbeddedModelChosen())
    fmt: Literal["onnx", "pb"] = "pb" if settings.backend == "tensorflow" else "onnx"
    return lite0_path(fmt, settings.data_format, cache_dir(), tell)


def _check_model(model: Path, backend: str) -> None:
    if why := why_unreadable(model) or why_no_model(model, backend):
        raise RequestError(f"model {model}: {why}")
    if is_damaged(model):
        raise RequestError(
            f"model {model}: it is not what {model.name}.sums beside it tells: damaged, or changed "
            "since; build it again, or remove that file"
        )

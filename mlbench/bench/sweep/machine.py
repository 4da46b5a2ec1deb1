"""What this machine serves at best: workers, threads and batch sizes, raced for each answer."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlbench.bench.events import (
    AccuracyMeasured,
    Event,
    Listener,
    RunEnded,
    RunStarted,
    SearchEnded,
    SweepProgress,
    to_all,
)
from mlbench.bench.settings import RunSettings, make_settings
from mlbench.bench.sweep.plan import RESULTS, Configuration, SweepPlan
from mlbench.bench.sweep.standing import Standing, SweepStanding
from mlbench.bench.sweep.sweep import measure
from mlbench.contracts.device import Device
from mlbench.host.cgroup import cpu_quota
from mlbench.host.devices import parse_devices
from mlbench.host.files import check_writable, numbered
from mlbench.host.gpus import visible_gpus
from mlbench.host.signals import held
from mlbench.host.topology import read_topology
from mlbench.outcomes import Answer
from mlbench.search.plan import AnswerKey

_CPU_BATCHES = (1, 2, 4, 8)
"""Eight queries of the embedded default take a core 90 ms: more would miss the usual limits."""
_GPU_BATCHES = (1, 2, 4, 8, 16, 32, 64)
_GPU_WORKERS = (1, 2)  # two overlap copies with computing; more only wait for each other
_CHOICES = ("workers_per_device", "threads", "batch_size")


def tune_run(options: Mapping[str, Any], listeners: Sequence[Listener] = ()) -> SweepStanding:
    """Race the shapes of this machine for the answers of a run, whose options these are.

    `budget` is for all together. What is measured stands in a folder beside `output`, OUTPUT.tune;
    an earlier one is kept as OUTPUT.tune.1, or the first number that is free. Raises as `measure`.
    """
    settings = make_settings(RunSettings, options, os.environ)
    check_writable(settings.output)
    folder = settings.output.absolute().with_name(f"{settings.output.name}.tune")
    plan = machine_plan(settings, options, folder)
    if folder.exists():
        folder.rename(numbered(folder))
    tell, latest = to_all(listeners), _Latest()
    try:
        tell(RunStarted(settings))
        return measure(plan, folder, [*listeners, latest])
    finally:
        with held():
            if latest.sweep is not None:
                _tell_answers(latest.sweep, tell)
            tell(RunEnded())


class _Latest:
    """Remembers how a sweep stood last."""

    def __init__(self) -> None:
        self.sweep: SweepStanding | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, SweepProgress):
            self.sweep = event.sweep


def _tell_answers(sweep: SweepStanding, tell: Listener) -> None:
    for one in sweep.configurations:
        if one.accuracy is not None:
            tell(AccuracyMeasured(*one.accuracy))
    if best := best_answers(sweep):
        tell(SearchEnded([answer for answer, _ in best]))


def best_answers(sweep: SweepStanding) -> list[tuple[Answer, Standing]]:
    """Return the answers of the winners, each with its configuration, in the order asked for.

    Where no configuration has a rate, the answer is that of the first which says anything.
    """
    found: dict[AnswerKey, tuple[Answer, Standing]] = {}
    for one in sweep.configurations:
        for key, answer in one.answer_by_key.items():
            winner = sweep.winners.get(key)
            if key not in found or (winner is not None and winner.name == one.name):
                found[key] = answer, one
    return list(found.values())


def machine_plan(settings: RunSettings, options: Mapping[str, Any], folder: Path) -> SweepPlan:
    """Return a race of all shapes; what the options say of workers, threads and batches stays."""
    cpus = sorted(os.sched_getaffinity(0))
    devices = parse_devices(settings.devices, cpus, len(visible_gpus()))
    cores = min(_cores(device, cpus) for device in devices)
    shapes = [
        {name: value for name, value in zip(_CHOICES, shape, strict=True) if name not in options}
        for shape in _shapes(devices, cores)
    ]
    unique = [one for place, one in enumerate(shapes) if one not in shapes[:place]]
    made = [_configuration(one, options, settings, len(unique), folder) for one in unique]
    # Shapes answer alike: one of them tells the accuracy.
    made[1:] = [
        replace(one, settings=one.settings.model_copy(update={"skip_accuracy": True}))
        for one in made[1:]
    ]
    content = {"base": {"budget": settings.budget}, "include": unique, "keep": "best"}
    return SweepPlan(made, content, "best", settings.seed)


def _cores(device: Device, cpus: Sequence[int]) -> int:
    """Return the physical cores of a device's workers that a CPU quota leaves them."""
    topology, quota_cores = read_topology(cpus), cpu_quota()
    cores = len({topology[cpu].core for cpu in device.cpus or cpus})
    return max(min(cores, round(quota_cores or cores)), 1)


def _shapes(devices: Sequence[Device], cores: int) -> Iterator[tuple[int, int, int]]:
    """Yield workers, threads and batch sizes; on CPUs all cores are used, but no core twice."""
    if any(device.index is not None for device in devices):
        for workers in _GPU_WORKERS:
            for batch_size in _GPU_BATCHES:
                yield workers, 1, batch_size
        return
    for workers in range(1, cores + 1):
        if cores % workers == 0:
            for batch_size in _CPU_BATCHES:
                yield workers, cores // workers, batch_size


def _configuration(
    choices: Mapping[str, Any],
    options: Mapping[str, Any],
    settings: RunSettings,
    count: int,
    folder: Path,
) -> Configuration:
    """Return a configuration with its equal part of the budget."""
    name = ",".join(f"{key}={value}" for key, value in choices.items()) or "base"
    given = {
        **options,
        **choices,
        "budget": settings.budget / count,
        "seed": settings.seed,
        "output": folder / name / RESULTS,
    }
    shown = {"budget": settings.budget / count, **choices}
    return Configuration(name, choices, shown, make_settings(RunSettings, given, os.environ))

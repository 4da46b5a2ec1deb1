"""From `--device` words to workers with their cores and threads. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mlbench.contracts.errors import RequestError


@dataclass(frozen=True)
class Device:
    """A device by its name, and the CPU cores that are its own (empty for a GPU)."""

    name: str
    cores: tuple[int, ...] = ()

    @property
    def is_gpu(self) -> bool:
        """Whether this is a GPU."""
        return self.name.startswith("cuda")


@dataclass(frozen=True)
class Place:
    """Where one worker runs: its device, the cores to pin it to (None: any), its threads."""

    device: str
    cores: tuple[int, ...] | None
    threads: int


def parse_devices(words: Sequence[str], cores: Sequence[int], gpus: int) -> list[Device]:
    """Read words such as cpu, cpu:0, cpu:0-3, gpu, cuda:1; each may be a comma-separated list.

    `cores` are the cores of the process's affinity, `gpus` how many GPUs the machine shows.
    Raises RequestError for a word that is no device, a core or GPU that is not there, or a core
    given twice.
    """
    devices: list[Device] = []
    for word in (part.strip() for text in words for part in text.split(",")):
        devices += _parse(word, tuple(cores), gpus)
    _refuse_twice(devices)
    return devices


def _parse(word: str, cores: tuple[int, ...], gpus: int) -> list[Device]:
    if word == "cpu":
        return [Device("cpu", cores)]
    if word == "gpu":
        if gpus == 0:
            raise RequestError(
                "device gpu: no NVIDIA GPU found (no driver, or it shows none); see 'nvidia-smi' "
                "and 'mlbench-coordinator doctor'"
            )
        return [Device(f"cuda:{number}") for number in range(gpus)]
    if match := re.fullmatch(r"cuda:(\d+)", word):
        if int(match[1]) >= gpus:
            raise RequestError(
                f"device {word}: this machine shows {gpus or 'no'} NVIDIA GPU{'s' * (gpus != 1)}; "
                "see 'nvidia-smi' and 'mlbench-coordinator doctor'"
            )
        return [Device(word)]
    if match := re.fullmatch(r"cpu:(\d+)(?:-(\d+))?", word):
        first, last = int(match[1]), int(match[2] or match[1])
        wanted = tuple(range(first, last + 1))
        missing = [core for core in wanted if core not in cores]
        if not wanted or missing:
            have = ", ".join(map(str, cores))
            raise RequestError(f"device {word}: this process may run on cores {have}")
        return [Device(word, wanted)]
    raise RequestError(f"device '{word}': expected cpu, cpu:0, cpu:0-3, gpu or cuda:0")


def _refuse_twice(devices: Sequence[Device]) -> None:
    seen: dict[object, str] = {}
    for device in devices:
        for thing in device.cores or (device.name,):
            if thing in seen:
                raise RequestError(f"devices {seen[thing]} and {device.name} overlap")
            seen[thing] = device.name


def place_workers(
    devices: Sequence[Device], workers_per_device: int, threads: int | None
) -> list[Place]:
    """Divide each device's cores among its workers; threads default to a worker's share.

    With more workers than cores, workers share cores one by one. GPU workers are not pinned.
    """
    places: list[Place] = []
    for device in devices:
        for number in range(workers_per_device):
            if device.is_gpu:
                places.append(Place(device.name, None, threads or 1))
                continue
            share = _share(device.cores, number, workers_per_device)
            places.append(Place(device.name, share, threads or len(share)))
    return places


def _share(cores: tuple[int, ...], number: int, workers: int) -> tuple[int, ...]:
    if workers >= len(cores):
        return (cores[number % len(cores)],)
    begin, end = (len(cores) * n // workers for n in (number, number + 1))
    return cores[begin:end]

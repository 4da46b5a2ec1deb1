"""From `--device` words to workers with their CPUs and threads. Pure."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from mlbench.contracts.device import Device
from mlbench.contracts.errors import RequestError
from mlbench.contracts.text import shown
from mlbench.host.topology import Processor

_Core = list[int]  # the logical CPUs of one physical core, in numeric order


@dataclass(frozen=True)
class Place:
    """Where one worker runs: its device, the logical CPUs to pin it to (None: any), its threads."""

    device: Device
    cpus: tuple[int, ...] | None
    threads: int


def parse_devices(words: Sequence[str], cpus: Sequence[int], gpus: int) -> list[Device]:
    """Read words such as cpu, cpu:0, cpu:0-3, gpu, cuda:1; each may be a comma-separated list.

    `cpus` are the logical CPUs of the process's affinity, `gpus` how many GPUs the machine shows.
    Raises RequestError for a word that is no device, a CPU or GPU that is not there, or one
    given twice.
    """
    devices: list[Device] = []
    for word in (part.strip() for text in words for part in text.split(",")):
        devices += _parse(word, tuple(cpus), gpus)
    _refuse_twice(devices)
    return devices


def _parse(word: str, cpus: tuple[int, ...], gpus: int) -> list[Device]:
    if word == "cpu":
        return [Device("cpu", cpus=cpus)]
    if word == "gpu":
        if gpus == 0:
            raise RequestError(
                "device gpu: no NVIDIA GPU found (no driver, or it shows none); see 'nvidia-smi' "
                "and 'mlbench-coordinator doctor'"
            )
        return [Device(f"cuda:{number}", number) for number in range(gpus)]
    if match := re.fullmatch(r"cuda:([0-9]{1,6})", word):
        number = int(match[1])
        if number >= gpus:
            raise RequestError(
                f"device {word}: this machine shows {gpus or 'no'} NVIDIA GPU{'s' * (gpus != 1)}; "
                "see 'nvidia-smi' and 'mlbench-coordinator doctor'"
            )
        return [Device(word, number)]
    if match := re.fullmatch(r"cpu:([0-9]{1,6})(?:-([0-9]{1,6}))?", word):
        first, last = int(match[1]), int(match[2] or match[1])
        wanted = tuple(range(first, last + 1))
        if not wanted or set(wanted) - set(cpus):
            have = ", ".join(map(str, cpus))
            raise RequestError(f"device {word}: this process may run on cores {have}")
        return [Device(word, cpus=wanted)]
    raise RequestError(f"device '{shown(word)}': expected cpu, cpu:0, cpu:0-3, gpu or cuda:0")


def _refuse_twice(devices: Sequence[Device]) -> None:
    seen: dict[object, Device] = {}
    for device in devices:
        for thing in device.cpus or ((device.kind, device.index),):
            if thing in seen:
                raise RequestError(f"devices {seen[thing]} and {device} overlap")
            seen[thing] = device


def place_workers(
    device: Device,
    workers: int,
    threads: int | None,
    topology: Mapping[int, Processor],
    most_threads: int | None = None,
) -> list[Place]:
    """Divide a device's physical cores among its workers; GPU workers are not pinned.

    `topology` tells where each CPU of the device lies. Workers are spread over packages and NUMA
    nodes, and each has neighbouring cores with all their logical CPUs. `threads` defaults to
    the number of a worker's physical cores, and no more than `most_threads` where that is
    given: a matrix product on one thread already fills the arithmetic units that a core's second
    thread would share.

    With more workers than physical cores, cores are shared thread by thread, then CPU by CPU.
    """
    if device.kind == "cuda":
        return [Place(device, None, threads or 1)] * workers
    return [
        Place(
            device,
            tuple(sorted(cpu for core in share for cpu in core)),
            threads or min(len(share), most_threads or len(share)),
        )
        for share in _shares(device.cpus, workers, topology)
    ]


def _shares(
    cpus: Sequence[int], workers: int, topology: Mapping[int, Processor]
) -> list[list[_Core]]:
    """Return each worker's cores: divide by packages first, then nodes, then cores.

    What counts are cores, or logical CPUs where there are more workers than cores.
    """
    cores: dict[Processor, _Core] = {}
    for cpu in sorted(cpus):
        cores.setdefault(topology[cpu], []).append(cpu)
    counted = cores if workers <= len(cores) else (topology[cpu] for cpu in cpus)
    parts = [(sorted(counted), workers)]
    for depth in (1, 2):
        parts = [part for units, count in parts for part in _spread(units, count, depth)]
    return [
        share
        for units, count in parts
        for share in _divide([cores[core] for core in dict.fromkeys(units)], count)
    ]


def _spread(
    units: Sequence[Processor], workers: int, depth: int
) -> list[tuple[list[Processor], int]]:
    """Divide units and workers by packages (depth 1) or nodes (2), at least a worker in each part.

    A worker belongs where the middle of an equal share would lie. A package or node in which no
    middle lies is less than a share, and is joined to its neighbour.
    """
    middles = (len(units) * (2 * number + 1) // (2 * workers) for number in range(workers))
    at_home = Counter(units[middle][:depth] for middle in middles)
    parts: list[tuple[list[Processor], int]] = []
    gathered: list[Processor] = []
    for home, group in groupby(units, key=lambda unit: unit[:depth]):
        gathered += group
        if at_home[home]:
            parts.append((gathered, at_home[home]))
            gathered = []
    parts[-1][0].extend(gathered)
    return parts


def _divide(cores: Sequence[_Core], workers: int) -> list[list[_Core]]:
    """Return runs of neighbouring cores, or one by one, parts of cores that workers share."""
    if workers <= len(cores):
        bounds = (len(cores) * number // workers for number in range(workers + 1))
        return [list(cores[begin:end]) for begin, end in pairwise(bounds)]
    # Cores with most threads left first: they have a thread for the workers of the second round.
    in_turn = sorted(cores, key=len, reverse=True)
    shares = []
    for number in range(workers):
        round_, turn = divmod(number, len(in_turn))
        core, sharers = in_turn[turn], len(range(turn, workers, len(in_turn)))
        shares.append([core[round_ % len(core) :: sharers]])
    return shares

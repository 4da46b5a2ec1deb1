"""Which logical CPUs are threads of one physical core, and which cores lie close together."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Processor(NamedTuple):
    """Where a logical CPU lies; processors in sorted order have their neighbours beside them.

    `package` and `node` (NUMA) are the kernel's numbers; `core` is the lowest logical CPU of the
    same physical core, so it is one of a kind on the whole machine.
    """

    package: int
    node: int
    core: int


def read_topology(
    cpus: Iterable[int], root: Path = Path("/sys/devices/system")
) -> dict[int, Processor]:
    """Return where each of the logical CPUs lies, as the kernel tells it in the folder `root`.

    What it does not tell is taken as one package, one node, and every CPU a core of its own.
    """
    nodes = {
        cpu: int(folder.name.removeprefix("node"))
        for folder in (root / "node").glob("node[0-9]*")
        for cpu in _numbers(folder / "cpulist")
    }
    topology = {}
    for cpu in cpus:
        folder = root / f"cpu/cpu{cpu}/topology"
        package = min(_numbers(folder / "physical_package_id"), default=0)
        core = min(_numbers(folder / "thread_siblings_list"), default=cpu)
        topology[cpu] = Processor(package, nodes.get(cpu, 0), core)
    return topology


def whole_cores(cpus: Iterable[int], root: Path = Path("/sys/devices/system")) -> tuple[int, ...]:
    """Return logical CPUs with all others that are threads of the same physical cores."""
    threads = {cpu: _numbers(root / f"cpu/cpu{cpu}/topology/thread_siblings_list") for cpu in cpus}
    return tuple(sorted({*threads}.union(*threads.values())))


def _numbers(path: Path) -> list[int]:
    """Return the numbers in a kernel's list such as 0-3,8; none where it does not tell (-1)."""
    numbers: list[int] = []
    try:
        for part in path.read_text().split(","):
            first, _, last = part.partition("-")
            numbers += range(int(first), int(last or first) + 1)
    except (OSError, ValueError):
        return []
    return numbers

import pytest

from mlbench.contracts.device import Device
from mlbench.contracts.errors import RequestError
from mlbench.host.devices import Place, parse_devices, place_workers
from mlbench.host.topology import Processor

CORES = (0, 1, 2, 3, 6, 7)
FLAT = {cpu: Processor(0, 0, cpu) for cpu in range(8)}  # a machine that tells nothing
TWO_NODES = {cpu: Processor(cpu // 4, cpu // 4, cpu) for cpu in range(8)}
FOUR_NODES = {cpu: Processor(cpu // 4, cpu // 2, cpu) for cpu in range(8)}
TWO_SOCKETS = {cpu: Processor(cpu % 2, cpu % 2, cpu % 8) for cpu in range(16)}
"""CPUs n and n + 8 are threads of one core; even cores are one socket, odd ones the other."""


def _places(topology, workers, cpus=None, threads=None):
    """Return the CPUs and the threads of workers on a device that has all CPUs, or these."""
    device = Device("cpu", cpus=tuple(cpus or topology))
    places = place_workers(device, workers, threads, topology)
    return [place.cpus for place in places], [place.threads for place in places]


@pytest.mark.parametrize(
    ("words", "devices"),
    [
        (["cpu"], [Device("cpu", cpus=CORES)]),
        (["cpu:1"], [Device("cpu:1", cpus=(1,))]),
        (["cpu:0-2"], [Device("cpu:0-2", cpus=(0, 1, 2))]),
        (["cpu:0", "cpu:6-7"], [Device("cpu:0", cpus=(0,)), Device("cpu:6-7", cpus=(6, 7))]),
        (["cpu:0, cpu:1"], [Device("cpu:0", cpus=(0,)), Device("cpu:1", cpus=(1,))]),
        (["cuda:1"], [Device("cuda:1", 1)]),
        (["gpu"], [Device("cuda:0", 0), Device("cuda:1", 1)]),
        (["cpu", "cuda:0"], [Device("cpu", cpus=CORES), Device("cuda:0", 0)]),
    ],
)
def test_words_become_devices(words, devices):
    """A device is a name with its cores or its GPU's number; lists and repeats are the same."""
    assert parse_devices(words, CORES, gpus=2) == devices


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("cpu:4", "may run on cores 0, 1, 2, 3, 6, 7"),
        ("cpu:2-6", "cpu:2-6"),
        ("cpu:3-1", "cpu:3-1"),
        ("tpu", "expected cpu"),
        ("", "expected cpu"),
        ("cuda", "expected cpu"),
        ("cuda:2", "shows 2 NVIDIA GPUs"),
        ("cpu:0,cpu:0-1", "overlap"),
        ("cpu,cpu:1", "overlap"),
        ("gpu,cuda:0", "devices cuda:0 and cuda:0 overlap"),
    ],
)
def test_words_that_are_no_device_are_refused(word, named):
    """A core, a GPU or a word that is not there, or one given twice, is named."""
    with pytest.raises(RequestError, match=named):
        parse_devices([word], CORES, gpus=2)


def test_a_machine_without_a_gpu_says_so():
    """A GPU is never silently replaced by the CPU."""
    with pytest.raises(RequestError, match=r"no NVIDIA GPU found .*doctor"):
        parse_devices(["gpu"], CORES, gpus=0)
    with pytest.raises(RequestError, match="shows no NVIDIA GPUs"):
        parse_devices(["cuda:0"], CORES, gpus=0)


@pytest.mark.parametrize(
    ("workers", "shares"),
    [
        (1, [(0, 1, 2, 3)]),
        (2, [(0, 1), (2, 3)]),
        (3, [(0,), (1,), (2, 3)]),
        (4, [(0,), (1,), (2,), (3,)]),
        (5, [(0,), (1,), (2,), (3,), (0,)]),
    ],
)
def test_workers_divide_their_devices_cores(workers, shares):
    """Each worker is pinned to its share of the cores and has that many threads."""
    assert _places(FLAT, workers, cpus=range(4)) == (shares, [len(share) for share in shares])


def test_threads_are_for_each_worker():
    """A number of threads that was asked for is every worker's, whatever its cores."""
    assert _places(TWO_SOCKETS, 2, threads=3)[1] == [3, 3]


@pytest.mark.parametrize(
    ("workers", "shares", "threads"),
    [
        (1, [tuple(range(16))], 8),
        (2, [(0, 2, 4, 6, 8, 10, 12, 14), (1, 3, 5, 7, 9, 11, 13, 15)], 4),
        (4, [(0, 2, 8, 10), (4, 6, 12, 14), (1, 3, 9, 11), (5, 7, 13, 15)], 2),
        (8, [(n, n + 8) for n in (0, 2, 4, 6, 1, 3, 5, 7)], 1),
    ],
)
def test_a_worker_has_whole_cores_of_one_socket(workers, shares, threads):
    """Workers are pinned to all threads of neighbouring cores, and run one thread on each core."""
    assert _places(TWO_SOCKETS, workers) == (shares, [threads] * workers)


def test_second_threads_are_for_workers_that_find_no_core_free():
    """With more workers than cores, some cores are shared thread by thread, then CPU by CPU."""
    assert _places(TWO_SOCKETS, 3, cpus=(0, 2, 8, 10))[0] == [(0,), (2, 10), (8,)]
    assert _places(TWO_SOCKETS, 4, cpus=(0, 2, 8, 10))[0] == [(0,), (2,), (8,), (10,)]
    assert _places(TWO_SOCKETS, 5, cpus=(0, 2, 8, 10))[0] == [(0,), (2,), (8,), (10,), (0,)]


@pytest.mark.parametrize("cpus", [range(2, 16), range(15), (0, 1, 2, 3, 8, 10)])
def test_as_many_workers_as_cpus_have_one_each(cpus):
    """No CPU is shared while another is free, also where a core's other thread is not ours."""
    shares, threads = _places(TWO_SOCKETS, len(cpus), cpus)
    assert sorted(shares) == [(cpu,) for cpu in cpus]
    assert threads == [1] * len(cpus)


@pytest.mark.parametrize(
    ("topology", "cpus", "workers", "shares"),
    [
        (TWO_NODES, range(8), 3, [(0, 1, 2, 3), (4, 5), (6, 7)]),
        (TWO_NODES, range(1, 8), 2, [(1, 2, 3), (4, 5, 6, 7)]),
        (TWO_NODES, range(2, 8), 3, [(2, 3), (4, 5), (6, 7)]),
        (FOUR_NODES, range(8), 4, [(0, 1), (2, 3), (4, 5), (6, 7)]),
        (FOUR_NODES, range(8), 6, [(0, 1), (2,), (3,), (4, 5), (6,), (7,)]),
    ],
)
def test_a_worker_stays_within_a_node(topology, cpus, workers, shares):
    """Workers are spread over the nodes by their cores, and none has cores of two."""
    assert _places(topology, workers, cpus)[0] == shares


@pytest.mark.parametrize(
    ("topology", "cpus", "workers", "shares"),
    [
        (FOUR_NODES, range(8), 1, [tuple(range(8))]),
        (FOUR_NODES, range(8), 2, [(0, 1, 2, 3), (4, 5, 6, 7)]),
        (FOUR_NODES, range(8), 3, [(0, 1, 2, 3), (4, 5), (6, 7)]),
        (TWO_NODES, (0, 1, 2, 3, 4), 2, [(0, 1), (2, 3, 4)]),
        (TWO_NODES, (3, 4, 5, 6, 7), 2, [(3, 4), (5, 6, 7)]),
    ],
)
def test_a_share_that_fits_no_node_takes_a_neighbours_cores(topology, cpus, workers, shares):
    """No core is idle: what a node has too little of for a worker goes to the worker beside it."""
    assert _places(topology, workers, cpus)[0] == shares


@pytest.mark.parametrize("topology", [FLAT, TWO_NODES, FOUR_NODES, TWO_SOCKETS])
@pytest.mark.parametrize("workers", range(1, 20))
def test_every_worker_has_a_place_and_no_cpu_is_idle(topology, workers):
    """All CPUs are used whatever the number of workers, and none twice while there are enough."""
    shares, _ = _places(topology, workers)
    assert len(shares) == workers
    used = [cpu for share in shares for cpu in share]
    assert set(used) == set(topology)
    assert len(used) == max(len(topology), workers)


def test_workers_of_a_gpu_are_not_pinned():
    """A worker of a GPU may run on any core."""
    gpu = Device("cuda:0", 0)
    assert place_workers(gpu, 2, None, {}) == [Place(gpu, None, 1)] * 2


def test_threads_may_be_limited_where_nobody_says():
    """A worker with four cores gets two threads, or those that it was told to have."""
    device = Device("cpu", cpus=(0, 1, 2, 3))
    topology = {cpu: Processor(0, 0, cpu) for cpu in device.cpus}
    for threads, given in ((None, 2), (3, 3)):
        (place,) = place_workers(device, 1, threads, topology, most_threads=2)
        assert (place.cpus, place.threads) == (device.cpus, given)

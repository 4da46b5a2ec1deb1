import pytest

from mlbench.contracts.errors import RequestError
from mlbench.devices import Device, Place, parse_devices, place_workers

CORES = (0, 1, 2, 3, 6, 7)


@pytest.mark.parametrize(
    ("words", "devices"),
    [
        (["cpu"], [Device("cpu", CORES)]),
        (["cpu:1"], [Device("cpu:1", (1,))]),
        (["cpu:0-2"], [Device("cpu:0-2", (0, 1, 2))]),
        (["cpu:0", "cpu:6-7"], [Device("cpu:0", (0,)), Device("cpu:6-7", (6, 7))]),
        (["cpu:0, cpu:1"], [Device("cpu:0", (0,)), Device("cpu:1", (1,))]),
        (["cuda:1"], [Device("cuda:1")]),
        (["gpu"], [Device("cuda:0"), Device("cuda:1")]),
        (["cpu", "cuda:0"], [Device("cpu", CORES), Device("cuda:0")]),
    ],
)
def test_words_become_devices(words, devices):
    """A device is a name with the cores that are its own; lists and repeats are the same."""
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
        ("gpu,cuda:0", "overlap"),
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
    places = place_workers([Device("cpu:0-3", (0, 1, 2, 3))], workers, None)
    assert [place.cores for place in places] == shares
    assert [place.threads for place in places] == [len(share) for share in shares]


def test_threads_are_for_each_worker():
    """A number of threads that was asked for is every worker's, whatever its cores."""
    places = place_workers([Device("cpu", (0, 1))], 2, threads=3)
    assert [place.threads for place in places] == [3, 3]


def test_workers_of_a_gpu_are_not_pinned():
    """A worker of a GPU may run on any core."""
    assert place_workers([Device("cuda:0")], 2, None) == [Place("cuda:0", None, 1)] * 2


def test_every_device_gets_its_workers():
    """The number of workers is for each device."""
    devices = [Device("cpu:0", (0,)), Device("cuda:0")]
    names = [place.device for place in place_workers(devices, 2, None)]
    assert names == ["cpu:0", "cpu:0", "cuda:0", "cuda:0"]

import pytest

from mlbench.host.topology import Processor, read_topology, whole_cores


@pytest.fixture
def record(tmp_path):
    """Write a machine's files: for each CPU (package, siblings), for each node its CPUs."""

    def write(cpus, nodes):
        for cpu, (package, siblings) in cpus.items():
            folder = tmp_path / f"cpu/cpu{cpu}/topology"
            folder.mkdir(parents=True)
            (folder / "physical_package_id").write_text(f"{package}\n")
            (folder / "thread_siblings_list").write_text(f"{siblings}\n")
        for node, text in nodes.items():
            (tmp_path / f"node/node{node}").mkdir(parents=True)
            (tmp_path / f"node/node{node}/cpulist").write_text(f"{text}\n")
        return tmp_path

    return write


def test_two_sockets_with_second_threads(record):
    """Both threads of a core name the same core, and sockets and nodes are told apart."""
    root = record(
        {cpu: (cpu % 4 // 2, f"{cpu % 4},{cpu % 4 + 4}") for cpu in range(8)},
        {0: "0-1,4-5", 1: "2-3,6-7"},
    )
    expected = [(0, 0, 0), (0, 0, 1), (1, 1, 2), (1, 1, 3)] * 2
    assert list(read_topology(range(8), root).values()) == expected


def test_one_socket_without_second_threads(record):
    """Where a core has one thread, each CPU is a core of its own."""
    root = record({cpu: (0, cpu) for cpu in range(4)}, {0: "0-3"})
    assert read_topology(range(4), root) == {cpu: Processor(0, 0, cpu) for cpu in range(4)}


def test_siblings_may_be_a_range(record):
    """Neighbouring threads, which the kernel writes as 0-1, are one core too."""
    root = record({cpu: (0, "0-1" if cpu < 2 else "2-3") for cpu in range(4)}, {0: "0-3"})
    assert [at.core for at in read_topology(range(4), root).values()] == [0, 0, 2, 2]


def test_only_the_cpus_asked_for_are_told(record):
    """Numbers may have holes, CPUs of others are left out, and a node may have no CPU at all."""
    root = record({0: (0, "0,9"), 2: (0, 2), 9: (0, "0,9")}, {0: "0,2", 1: "", 3: "9"})
    assert read_topology([2, 9], root) == {2: Processor(0, 0, 2), 9: Processor(0, 3, 0)}


def test_a_core_has_all_its_threads(record):
    """CPUs come with those that share their cores; where nothing is told they are alone."""
    root = record({cpu: (0, f"{cpu % 2},{cpu % 2 + 2}") for cpu in range(4)}, {})
    assert whole_cores([1], root) == (1, 3)
    assert whole_cores([0, 3], root) == (0, 1, 2, 3)
    assert whole_cores([9], root) == (9,)


@pytest.mark.parametrize(
    ("missing", "known"),
    [("physical_package_id", Processor(0, 1, 0)), ("thread_siblings_list", Processor(1, 1, 1))],
)
def test_a_missing_file_takes_only_what_it_would_tell(record, missing, known):
    """Without its package a CPU is in package 0, without its siblings a core of its own."""
    root = record(dict.fromkeys((0, 1), (1, "0-1")), {1: "0-1"})
    (root / "cpu/cpu1/topology" / missing).unlink()
    assert read_topology([0, 1], root) == {0: Processor(1, 1, 0), 1: known}


def test_a_machine_that_shows_nothing(record, tmp_path):
    """Without files, or with -1 for what is unknown, all CPUs are cores of one node."""
    flat = {cpu: Processor(0, 0, cpu) for cpu in (0, 1)}
    assert read_topology([0, 1], tmp_path / "nowhere") == flat
    assert read_topology([0, 1], record({cpu: (-1, cpu) for cpu in (0, 1)}, {})) == flat

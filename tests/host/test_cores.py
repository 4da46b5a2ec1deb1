import pytest

from mlbench.host.cores import (
    CoreTimes,
    CoreUse,
    PinnedWork,
    connected,
    core_shares,
    core_use,
    parse_core_times,
    read_core_times,
    read_heat_throttles,
    read_mhz,
)
from mlbench.records import CoreShare

STAT = """cpu  300 10 90 4000 200 0 5 60 0 0
cpu0 200 10 50 1000 200 0 5 60 0 0
cpu11 100 0 40 3000 0 0 0 0 0 0
cpu12 0 0 0 0 0 0 0 0 0 0
intr 12345 0 9 0
ctxt 99
"""


def _pinned(*work: tuple[set[int], float]) -> list[PinnedWork]:
    return [PinnedWork(frozenset(cores), used) for cores, used in work]


def _busy(*fractions: float) -> dict[int, CoreUse]:
    return {core: CoreUse(busy, 0.0) for core, busy in enumerate(fractions)}


def test_each_core_has_its_own_times() -> None:
    """Waiting for the disk is idling; a core that counts nothing is not known."""
    assert parse_core_times(STAT) == {0: CoreTimes(12.0, 0.6), 11: CoreTimes(30.0, 0.0)}


def test_this_machine_tells_of_its_cores() -> None:
    """The kernel's own file is read."""
    assert read_core_times()


def test_busy_is_what_is_neither_idle_nor_stolen() -> None:
    """It follows from the time that passed; cores that came or went between are left out."""
    before = {0: CoreTimes(100.0, 1.0), 1: CoreTimes(50.0, 0.0), 2: CoreTimes(0.0, 0.0)}
    after = {0: CoreTimes(102.0, 1.5), 1: CoreTimes(54.02, 0.0), 3: CoreTimes(9.0, 0.0)}
    use = core_use(before, after, 4.0)
    assert use == {0: CoreUse(0.375, 0.125), 1: CoreUse(0.0, 0.0)}


def test_workers_with_their_own_cores_are_told_apart() -> None:
    """What others took of a worker's core is its busy time less the worker's CPU time."""
    use = _busy(0.9, 0.6, 0.0)
    both, (first, second) = core_shares(use, range(3), _pinned(({0}, 0.4), ({1}, 0.6)), 1.02)
    assert first.cores == (0,)
    assert first.other_cpu_fraction == pytest.approx(0.48)
    assert second == CoreShare((1,), pytest.approx(0.0))
    assert both.other_cpu_fraction == pytest.approx(0.48 / 3)


def test_the_coordinator_on_a_workers_core_is_ours() -> None:
    """Where others took nothing anywhere, what a worker did not use was the coordinator's."""
    use = _busy(0.9, 0.0)
    both, (own,) = core_shares(use, range(2), _pinned(({0}, 0.6)), 0.9)
    assert (both.other_cpu_fraction, own.other_cpu_fraction) == (0.0, 0.0)


def test_a_worker_that_is_not_pinned_counts_for_all_cores_only() -> None:
    """It is among ours, and has no cores of its own."""
    both, own = core_shares(_busy(0.5, 0.5), range(2), [], 0.7)
    assert both.other_cpu_fraction == pytest.approx(0.15)
    assert own == ()


def test_workers_that_share_cores_are_told_together() -> None:
    """Two workers with a core in common have one entry, and one for its most disturbed core."""
    use = _busy(0.5, 0.5, 0.9, 0.1)
    work = _pinned(({0, 1}, 0.5), ({1, 2}, 0.6), ({3}, 0.1))
    _, (together, worst, alone) = core_shares(use, range(4), work, 1.2)
    assert (together.cores, worst.cores, alone.cores) == ((0, 1, 2), (2,), (3,))
    assert together.other_cpu_fraction == pytest.approx(0.8 / 3)
    assert worst.other_cpu_fraction == pytest.approx(0.9 - 1.1 / 3)


def test_a_busy_core_is_the_workers_own_where_others_took_nothing() -> None:
    """A worker may use one of its cores more than the others."""
    _, (together, worst) = core_shares(_busy(0.9, 0.1), range(2), _pinned(({0, 1}, 1.0)), 1.0)
    assert (together.other_cpu_fraction, worst.other_cpu_fraction) == (0.0, 0.0)


def test_a_program_on_one_of_many_cores_is_seen_on_that_core() -> None:
    """Of the time of 64 cores it is next to nothing."""
    use = _busy(*(0.5 for _ in range(63)), 1.0)
    _, (together, worst) = core_shares(use, range(64), _pinned((set(range(64)), 31.5)), 31.5)
    assert together.other_cpu_fraction < 0.02
    assert worst.cores == (63,)
    assert worst.other_cpu_fraction == pytest.approx(0.5, abs=0.01)


def test_steal_is_told_by_core() -> None:
    """What a hypervisor took of one core is no other core's."""
    use = {0: CoreUse(0.5, 0.3), 1: CoreUse(0.5, 0.0)}
    both, (first, second) = core_shares(use, range(2), _pinned(({0}, 0.5), ({1}, 0.5)), 1.0)
    assert (first.steal_fraction, second.steal_fraction) == (0.3, 0.0)
    assert both.steal_fraction == pytest.approx(0.15)


def test_fractions_stay_within_zero_and_one() -> None:
    """Our CPU time may exceed the busy time by a tick."""
    both, (own,) = core_shares(_busy(0.50), [0], _pinned(({0}, 0.51)), 0.51)
    assert both.other_cpu_fraction == own.other_cpu_fraction == 0.0


def test_cores_that_the_kernel_does_not_count_are_left_out() -> None:
    """A container may show fewer cores than there are, and a sandbox none."""
    both, (own,) = core_shares({0: CoreUse(0.5, 0.0)}, range(2), _pinned(({0, 1}, 0.5)), 0.5)
    assert both.cores == own.cores == (0,)
    assert core_shares({}, range(2), _pinned(({0}, 0.5)), 0.5) == (CoreShare(()), ())


def test_sets_are_joined_by_a_third() -> None:
    """Two sets with nothing in common belong together when a third has a part of both."""
    joined = connected([{0, 1}, {4}, {2, 3}, set(), {1, 2}])
    assert sorted(map(sorted, joined)) == [[0, 1, 2, 3], [4]]


def test_heat_and_clock_are_those_of_our_cores(tmp_path) -> None:
    """Other cores do not count, and a machine that tells nothing has no heat and no clock."""
    for core in range(3):
        folder = tmp_path / f"cpu{core}"
        (folder / "thermal_throttle").mkdir(parents=True)
        (folder / "thermal_throttle/core_throttle_count").write_text(f"{core}\n")
        (folder / "thermal_throttle/core_throttle_total_time_ms").write_text("500\n")
        (folder / "cpufreq").mkdir()
        (folder / "cpufreq/scaling_cur_freq").write_text(f"{(core + 1) * 1_000_000}\n")
    assert read_heat_throttles(frozenset({1, 2}), tmp_path) == 3
    assert read_mhz(frozenset({0, 1}), tmp_path) == 1500.0
    assert read_heat_throttles(frozenset({7}), tmp_path) == 0
    assert read_mhz(frozenset({7}), tmp_path) is None

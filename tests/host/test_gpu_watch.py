import threading
from dataclasses import replace

from mlbench.host import gpu_watch
from mlbench.host.gpu_watch import GpuWatch
from mlbench.host.looks import RepeatedLooks
from mlbench.records import GpuAccount, GpuState

COOL = GpuState(0, 60, 1980, 2**30)
HOT = GpuState(0, 91, 600, 2**30, ("software thermal slowdown",))


def _play_back(monkeypatch, *states: GpuState | None) -> None:
    """Let the GPU be in these states, one after the other."""
    left = iter(states)
    monkeypatch.setattr(gpu_watch, "read_gpu", lambda _index: next(left))


def test_what_slowed_a_gpu_down_in_between_is_kept(monkeypatch):
    """A GPU that was hot in the middle and is cool at both ends was throttled."""
    braked = replace(HOT, clock_mhz=800, throttled_by=("power brake",))
    _play_back(monkeypatch, COOL, HOT, braked, COOL)
    watch = GpuWatch([0])
    for _ in range(4):
        watch.look()
    assert watch.accounts == (
        GpuAccount(
            0,
            60,
            1980,
            2**30,
            ("software thermal slowdown", "power brake"),
            lowest_clock_mhz=600,
            highest_temperature_c=91,
            looks=4,
            throttled_looks=2,
        ),
    )


def test_a_gpu_that_tells_nothing_has_no_account(monkeypatch):
    """Without NVIDIA's library there is nothing to tell, and a look that fails is none."""
    _play_back(monkeypatch, None, COOL, None)
    watch = GpuWatch([0])
    watch.look()
    assert watch.accounts == ()
    watch.look()
    watch.look()
    assert [gpu.looks for gpu in watch.accounts] == [1]


def test_looks_go_on_until_their_end():
    """They come again and again by themselves, and after the end never."""
    seen, third = [], threading.Event()

    def look() -> None:
        seen.append(threading.current_thread())
        if len(seen) == 3:
            third.set()

    looks = RepeatedLooks(look, 0.001)
    assert third.wait(10)
    looks.end()
    assert not seen[0].is_alive()
    assert len(set(seen)) == 1

"""The GPU itself: does the doctor see it, and what does NVML tell?"""

import time
from collections.abc import Callable

from gpu_check.bench import Bench, Check, FailedError, document
from mlbench.host.nvml import NotToldError, read_energy_j, read_gpu

_READS = 200


def doctor(bench: Bench) -> str:
    """The doctor lists the GPU and finds PyTorch."""
    found = document(bench.run("doctor", "--json"))
    if not found["gpus"]:
        raise FailedError("it sees no GPU")
    if found["backends"]["torch"]["state"] != "ready":
        raise FailedError(f"torch is {found['backends']['torch']}")
    described = found["system"]["gpus"]
    if not described:
        raise FailedError("it counts the GPUs, but NVML does not describe them")
    return f"{found['gpus']} of {described[0]['model']}, driver {described[0]['driver']}"


def nvml(_: Bench) -> str:
    """NVML tells clock, heat and throttling, at little cost."""
    state = read_gpu(0)
    if state is None:
        raise FailedError("no state of GPU 0: is nvidia-ml-py there?")
    throttled = ", ".join(state.throttled_by) or "nothing"
    return (
        f"{state.temperature_c} C, {state.clock_mhz} MHz, slowed down by {throttled}; "
        f"a look takes {_cost(lambda: read_gpu(0))}"
    )


def energy(_: Bench) -> str:
    """The GPU's energy counter runs."""
    try:
        before_j, began_s = read_energy_j(0), time.monotonic()
        time.sleep(1.0)
        watts = (read_energy_j(0) - before_j) / (time.monotonic() - began_s)
    except NotToldError as why:
        raise FailedError(str(why)) from None
    if not 1 < watts < 3000:
        raise FailedError(f"an idle GPU seems to take {watts:.1f} W")
    return (
        f"{watts:.0f} W at rest; a reading takes {_cost(lambda: read_energy_j(0))}, "
        f"the counter moves every {_step_s() * 1e3:.0f} ms"
    )


def _cost(read: Callable[[], object]) -> str:
    """Return the median and the longest time of a reading in words."""
    taken = []
    for _ in range(_READS):
        began_s = time.perf_counter()
        read()
        taken.append(time.perf_counter() - began_s)
    taken.sort()
    return f"{taken[_READS // 2] * 1e6:.0f} us (at most {taken[-1] * 1e3:.1f} ms)"


def _step_s() -> float:
    """Return the mean time between two changes of the energy counter, over a second."""
    seen, changes, end_s = read_energy_j(0), 0, time.monotonic() + 1.0
    while time.monotonic() < end_s:
        now = read_energy_j(0)
        changes += now != seen
        seen = now
    return 1.0 / max(changes, 1)


CHECKS: list[tuple[str, Check]] = [
    ("doctor", doctor),
    ("NVML", nvml),
    ("energy counter", energy),
]

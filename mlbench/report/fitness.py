"""Whether a machine is fit to measure, from what `doctor` found. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mlbench.contracts.text import printable
from mlbench.trial.host import MAX_OTHER_CPU, MAX_STEAL

State = Literal["good", "doubtful", "bad"]

_MAX_LAG_S = 1e-3
"""Of the generator's 99th percentile: a tenth of the narrowest usual limit, 10 ms."""

_LEAST_QPS = 10_000.0  # that the generator must hold; a no-op on one slow core takes more

_OWN_TESTS = ("faulty", "null", "simulated")  # backends that serve no model


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; `why` is a part of a sentence about what is not good."""

    title: str
    state: State
    text: str
    why: str = ""


def check_all(found: Mapping[str, Any]) -> list[Check]:
    """Return what is good, doubtful or bad, from the result of `mlbench.bench.doctor.examine`."""
    return [check(found) for check in _CHECKS]


def verdict(checks: list[Check]) -> str:
    """Return whether the machine is fit to measure, and why it is not or only just."""
    bad = [check.why for check in checks if check.state == "bad"]
    if bad:
        return f"not fit to measure: {'; '.join(bad)}"
    doubts = [check.why for check in checks if check.state == "doubtful"]
    return f"fit to measure, but {'; '.join(doubts)}" if doubts else "fit to measure"


def _cores(found: Mapping[str, Any]) -> Check:
    cpu = found["system"]["cpu"]
    own, quota = len(cpu["affinity"]), cpu["quota_cores"]
    text = f"{own} of {cpu['cores']} logical cores are ours"
    if quota is None or quota >= own:
        return Check("cores", "good", f"{text}, without a CPU quota")
    why = f"a CPU quota allows {quota:.3g} of {own} cores' time"
    return Check("cores", "doubtful", f"{text}; {why}, so workers have fewer threads", why)


def _load(found: Mapping[str, Any]) -> Check:
    load = found["load"]
    busy, stolen = load["other_cpu_fraction"], load["steal_fraction"]
    text = f"other programs take {100 * busy:.0f} % of them"
    named = "; ".join(
        f"{printable(process['name'])} {100 * process['cpu_fraction']:.0f} %, pid {process['pid']}"
        for process in load["processes"]
    )
    if stolen > MAX_STEAL:
        why = f"a hypervisor takes {100 * stolen:.0f} % of our cores away"
        return Check("other load", "bad", f"{text}; {why}", why)
    if busy <= MAX_OTHER_CPU:
        return Check("other load", "good", text)
    why = f"other programs take {100 * busy:.0f} % of our cores"
    return Check("other load", "bad", f"{text}: {named or 'they ended meanwhile'}", why)


def _throttling(found: Mapping[str, Any]) -> Check:
    throttling, governor = found["throttling"], found["system"]["cpu"]["governor"]
    for key, cause in (("heat_throttles", "heat"), ("quota_throttles", "the CPU quota")):
        if times := throttling[key]:
            why = f"{cause} stopped our cores {times:,} times while we looked"
            return Check("throttling", "bad", why, why)
    if governor in ("powersave", "conservative"):
        why = f"the CPU governor is {governor}, so idle cores are slow at first"
        return Check("throttling", "doubtful", why, why)
    return Check("throttling", "good", "neither heat nor a quota stopped our cores")


def _generator(found: Mapping[str, Any]) -> Check:
    figures = found["generator"].figures
    lag_s, held_qps = figures["lag_p99_s"], figures["held_qps"]
    text = (
        f"adds {1e6 * figures['lag_p50_s']:.0f} us to a query (median), {1e6 * lag_s:.0f} us (99th "
        f"percentile) at {figures['lag_qps']:,.0f} qps; holds {held_qps:,.0f} qps"
    )
    if held_qps < _LEAST_QPS:
        why = f"the load generator holds only {held_qps:,.0f} qps"
        return Check("load generator", "bad", text, why)
    if lag_s > _MAX_LAG_S:
        why = f"the load generator is late by {1e3 * lag_s:.1f} ms now and then"
        return Check("load generator", "doubtful", text, why)
    return Check("load generator", "good", text)


def _backends(found: Mapping[str, Any]) -> Check:
    ready = [
        name
        for name, backend in found["backends"].items()
        if backend["state"] == "ready" and name not in _OWN_TESTS
    ]
    if ready:
        return Check("backends", "good", f"ready: {printable(', '.join(ready))}")
    text = "none is ready that serves a model"
    return Check("backends", "bad", text, "no backend is ready that serves a model")


def _gpus(found: Mapping[str, Any]) -> Check:
    if count := found["gpus"]:
        return Check("GPUs", "good", f"{count} NVIDIA GPU{'s' * (count > 1)}: --device gpu")
    return Check("GPUs", "good", "none: no NVIDIA driver is loaded; --device gpu will refuse")


_CHECKS: tuple[Callable[[Mapping[str, Any]], Check], ...] = (
    _cores,
    _load,
    _throttling,
    _generator,
    _backends,
    _gpus,
)

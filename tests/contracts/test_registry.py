from importlib.metadata import EntryPoint
from typing import ClassVar

import pytest

from mlbench.bench import doctor
from mlbench.contracts import registry
from mlbench.contracts.backend import stamps_its_own_times
from mlbench.contracts.errors import RequestError
from mlbench.contracts.registry import (
    backend_names,
    find_backend,
    missing_runtime,
    ready_backend,
)

OURS = {"null", "simulated", "faulty", "onnxruntime", "tensorflow", "torch"}


class Foreign:
    """A backend of somebody else's package, whose runtime is not installed."""

    OPTIONS: ClassVar = {}
    RUNTIME = ("no_such_runtime.inner", "special")
    NEEDS_MODEL = False
    inspect = predict = describe = None


class WithoutRuntime:
    """A class that forgot an attribute and a method."""

    OPTIONS: ClassVar = {}
    NEEDS_MODEL = False
    inspect = predict = None


class OddRuntime(Foreign):
    """A class that names its runtime without the extra."""

    RUNTIME = "no_such_runtime"


class HalfSelfTimed(Foreign):
    """A class that says that it stamps its own times, and cannot."""

    STAMPS_ITS_OWN_TIMES = True


def test_our_backends_are_registered():
    """Every backend of the project is found by its name."""
    assert set(backend_names()) >= OURS
    for name in OURS:
        assert find_backend(name).OPTIONS is not None


def test_only_simulated_devices_stamp_their_own_times():
    """What measures is stamped by the worker; a class that does not say otherwise is, too."""
    assert {n for n in OURS if stamps_its_own_times(find_backend(n))} == {"simulated", "faulty"}
    assert not stamps_its_own_times(Foreign)


def test_an_unknown_backend_names_the_nearest():
    """A misspelt backend is refused with the one that was meant."""
    with pytest.raises(RequestError, match=r"'onnxruntme' \(did you mean 'onnxruntime'\?\)"):
        find_backend("onnxruntme")


@pytest.fixture
def entry(monkeypatch):
    """Return a function that makes an entry point the only one, under the name `foreign`."""

    def register(value):
        only = EntryPoint("foreign", value, registry.GROUP)
        monkeypatch.setattr(registry, "entry_points", lambda **_: [only])

    return register


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("no_such_module:Backend", "cannot be imported: ModuleNotFoundError"),
        (f"{__name__}:NoSuchClass", "cannot be imported: AttributeError"),
        (f"{__name__}:WithoutRuntime", "is no backend: it has no RUNTIME, describe"),
        (f"{__name__}:OddRuntime", "its RUNTIME is neither None nor a module and an extra"),
        (f"{__name__}:HalfSelfTimed", "it has no serve, mean_service_ns"),
        (f"{__name__}:pytest", "is no backend: it has no OPTIONS, RUNTIME"),
    ],
)
def test_a_backend_that_is_none_says_so(entry, value, why):
    """What cannot be imported, or lacks what a backend has, is one line with its reason."""
    entry(value)
    with pytest.raises(RequestError, match=why) as error:
        find_backend("foreign")
    assert f"backend 'foreign' ({value})" in str(error.value)


def test_a_broken_backend_does_not_hide_the_others(entry):
    """Doctor is told what is wrong with it, and nothing is raised."""
    entry(f"{__name__}:WithoutRuntime")
    found = doctor._backend("foreign")
    assert found["state"] == "broken"
    assert "it has no RUNTIME" in found["why"]


def test_a_missing_runtime_names_the_extra(entry):
    """A runtime that is not installed gets one line with the command that installs it."""
    entry(f"{__name__}:Foreign")
    assert missing_runtime(Foreign) == "special"
    with pytest.raises(RequestError, match=r"pip install 'mlbench-coordinator\[special\]'"):
        ready_backend("foreign")


def test_a_backend_without_a_runtime_is_always_ready():
    """The null backend needs nothing to be installed."""
    assert missing_runtime(find_backend("null")) is None

from importlib.metadata import EntryPoint

import pytest

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

    RUNTIME = ("no_such_runtime", "special")


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


def test_a_backend_that_cannot_be_imported_says_so(monkeypatch):
    """A broken package of somebody else's is one line with its reason."""
    broken = EntryPoint("broken", "no_such_module:Backend", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda **_: [broken])
    with pytest.raises(RequestError, match="no_such_module"):
        find_backend("broken")


def test_a_missing_runtime_names_the_extra(monkeypatch):
    """A runtime that is not installed gets one line with the command that installs it."""
    foreign = EntryPoint("foreign", f"{__name__}:Foreign", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda **_: [foreign])
    assert missing_runtime(Foreign) == "special"
    with pytest.raises(RequestError, match=r"pip install 'mlbench-coordinator\[special\]'"):
        ready_backend("foreign")


def test_a_backend_without_a_runtime_is_always_ready():
    """The null backend needs nothing to be installed."""
    assert missing_runtime(find_backend("null")) is None

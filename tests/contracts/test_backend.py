import json

import pytest

from mlbench.contracts.backend import (
    Signature,
    TensorSpec,
    WorkerSpec,
    nearest,
    parse_options,
)
from mlbench.contracts.device import Device
from mlbench.contracts.errors import RequestError

KNOWN = {"service_ms": (2.0,), "cv": 0.0, "seed": 1, "fast": False, "graph": "all"}


def test_a_worker_spec_survives_json():
    """What a worker is told on its stdin is what the coordinator meant."""
    spec = WorkerSpec(
        index=3,
        endpoint="ipc:///a",
        backend="onnxruntime",
        options={"graph": "all"},
        model="/m.onnx",
        outputs=("a", "b"),
        feeds={"x": "/x.npy"},
        cores=(0, 2),
        batch_size=8,
        batch_timeout_ns=5,
        label_offset=1,
    )
    assert WorkerSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize(
    ("device", "kind"),
    [
        (Device("cpu:0-2", cpus=(0, 1, 2)), "cpu"),
        (Device("cuda:1", 1), "cuda"),
        (Device("cuda:0", 0), "cuda"),
    ],
)
def test_a_device_survives_json(device, kind):
    """A worker is told its device as the coordinator read it, and people see its word."""
    spec = WorkerSpec(0, "ipc:///a", "null", device=device)
    told = WorkerSpec.from_dict(json.loads(json.dumps(spec.to_dict()))).device
    assert (told, told.kind, str(told)) == (device, kind, device.name)


def test_a_worker_that_is_not_pinned_survives_json():
    """No cores means any cores, on both sides."""
    spec = WorkerSpec(0, "ipc:///a", "null")
    assert WorkerSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_a_model_that_is_needed_and_missing_is_named():
    """A worker without the model that its backend needs says how to give one."""
    assert WorkerSpec(0, "", "torch", model="/m.pt2").needed_model == "/m.pt2"
    with pytest.raises(RequestError, match=r"backend 'torch' needs a model: --model PATH"):
        _ = WorkerSpec(0, "", "torch").needed_model


def test_a_signature_survives_json():
    """Free dimensions stay free."""
    signature = Signature((TensorSpec("x", "float32", (None, 3, 224)),), ("y", "z"))
    assert Signature.from_dict(json.loads(json.dumps(signature.to_dict()))) == signature


def test_an_input_describes_itself():
    """Errors name an input with its type and shape, a free dimension as ?."""
    assert str(TensorSpec("x", "uint8", (None, 3))) == "x: uint8(?, 3)"


def test_options_get_the_types_of_their_defaults():
    """Words of the command line become numbers, lists, booleans; the rest keeps its default."""
    given = {"service_ms": "2,4.5", "cv": "0.1", "seed": "7", "fast": "true"}
    assert parse_options(given, KNOWN, "simulated") == {
        "service_ms": (2.0, 4.5),
        "cv": 0.1,
        "seed": 7,
        "fast": True,
        "graph": "all",
    }


def test_an_unknown_option_names_the_nearest():
    """A misspelt option is refused with the one that was meant, and all there are."""
    with pytest.raises(RequestError, match=r"no option 'servce_ms' \(did you mean 'service_ms'"):
        parse_options({"servce_ms": "2"}, KNOWN, "simulated")


@pytest.mark.parametrize(
    ("key", "value"), [("cv", "wide"), ("seed", "1.5"), ("service_ms", "2,x"), ("fast", "maybe")]
)
def test_a_value_that_does_not_parse_is_named(key, value):
    """A value of the wrong type is refused with the option and the value."""
    with pytest.raises(RequestError, match=f"{key}={value}"):
        parse_options({key: value}, KNOWN, "simulated")


def test_nearest_says_nothing_when_nothing_is_near():
    """No hint is better than a wrong one."""
    assert nearest("qqq", KNOWN) == ""

import io

import numpy as np
import pytest
from optional import ONNXRUNTIME, TENSORFLOW

from mlbench.models import network as net
from mlbench.models.graphdef_writer import graphdef_bytes
from mlbench.models.onnx_writer import onnx_bytes
from mlbench.models.protobuf import bytes_field, fields_of, int_field

SIZE = 9


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"),
    [
        (224, 3, 2, (0, 0, 1, 1)),
        (224, 3, 1, (1, 1, 1, 1)),
        (56, 5, 2, (1, 1, 2, 2)),
        (7, 3, 2, (1, 1, 1, 1)),
        (7, 1, 1, (0, 0, 0, 0)),
    ],
)
def test_same_padding(size: int, kernel: int, stride: int, pads: net.Pads) -> None:
    """SAME padding gives ceil(size / stride) outputs, the odd row and column at the end."""
    assert net.same_pads(size, kernel, stride) == pads


def test_folded_batch_norm_is_the_same_function() -> None:
    """A 1x1 convolution with the normalisation folded in equals the two one after the other."""
    rng = np.random.default_rng(1)
    weights = {
        "conv.weight": rng.normal(size=(4, 3, 1, 1)),
        "norm.weight": rng.uniform(0.5, 2, 4),
        "norm.bias": rng.normal(size=4),
        "norm.running_mean": rng.normal(size=4),
        "norm.running_var": rng.uniform(0.5, 2, 4),
    }
    pixel = rng.normal(size=3)
    before = weights["conv.weight"][:, :, 0, 0] @ pixel
    scale = weights["norm.weight"] / np.sqrt(weights["norm.running_var"] + 1e-3)
    expected = (before - weights["norm.running_mean"]) * scale + weights["norm.bias"]
    kernel, bias = net.fold_batch_norm(weights, "conv", "norm", 1e-3)
    np.testing.assert_allclose(kernel[:, :, 0, 0] @ pixel + bias, expected, rtol=1e-5)


def _every_op() -> net.Network:
    """A tiny network with every operation and every kind of padding."""
    rng = np.random.default_rng(2)

    def conv(name: str, source: str, shape: tuple[int, ...], **options: int) -> net.Conv:
        weight = rng.normal(size=shape).astype(np.float32)
        bias = rng.normal(size=shape[0]).astype(np.float32)
        stride = options.get("stride", 1)
        pads = net.same_pads(SIZE, shape[2], stride)
        return net.Conv(name, source, weight, bias, stride, pads, options.get("groups", 1))

    head, outputs = net.classifier_head(
        "features", rng.normal(size=(4, 5)).astype(np.float32), np.arange(5, dtype=np.float32)
    )
    ops = (
        conv("wide", net.INPUT, (4, 3, 3, 3)),
        net.Relu("wide/relu6", "wide", six=True),
        conv("deep", "wide/relu6", (4, 1, 3, 3), groups=4),
        net.Add("sum", "deep", "wide"),
        net.MaxPool("pool", "sum", size=3, stride=2, pads=(1, 1, 1, 1)),
        conv("half", "pool", (4, 4, 1, 1), stride=2),
        conv("even", "half", (4, 4, 2, 2)),
        conv("half_deep", "even", (4, 1, 3, 3), stride=2, groups=4),
        net.Relu("relu", "half_deep"),
        net.Mean("features", "relu"),
        *head,
    )
    return net.Network("tiny", (3, SIZE, SIZE), ops, outputs, {"weights": "synthetic"})


def _images() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(6, SIZE, SIZE, 3)).astype(np.float32)


def _run_onnx(layout: net.Layout, images: np.ndarray) -> list[np.ndarray]:
    ort = pytest.importorskip("onnxruntime", reason=ONNXRUNTIME)
    session = ort.InferenceSession(onnx_bytes(_every_op(), layout))
    return list(session.run(["ArgMax:0", "softmax_tensor:0"], {"input_tensor:0": images}))


def test_onnx_layouts_agree() -> None:
    """The two layouts of one network answer alike, with int64 classes and a free batch size."""
    nhwc = _run_onnx("NHWC", _images())
    nchw = _run_onnx("NCHW", _images().transpose(0, 3, 1, 2))
    assert nhwc[0].dtype == np.int64
    assert nhwc[0].shape == (6,)
    np.testing.assert_array_equal(nhwc[0], nchw[0])
    np.testing.assert_allclose(nhwc[1], nchw[1], rtol=1e-5)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_tensorflow_agrees_on_every_operation(layout: net.Layout) -> None:
    """TensorFlow computes from the frozen graph what ONNX Runtime does from the ONNX model."""
    tf = pytest.importorskip("tensorflow", reason=TENSORFLOW)
    graph = tf.compat.v1.GraphDef.FromString(graphdef_bytes(_every_op(), layout))
    imported = tf.compat.v1.wrap_function(lambda: tf.compat.v1.import_graph_def(graph, name=""), [])
    run = imported.prune("input_tensor:0", ["ArgMax:0", "softmax_tensor:0"])
    images = _images() if layout == "NHWC" else _images().transpose(0, 3, 1, 2)
    classes, probabilities = (tensor.numpy() for tensor in run(tf.constant(images)))
    expected = _run_onnx("NHWC", _images())
    np.testing.assert_array_equal(classes, expected[0])
    np.testing.assert_allclose(probabilities, expected[1], rtol=1e-4)


def _nodes(graph: bytes) -> dict[str, tuple[str, list[str]]]:
    """Return kind and inputs of each node of a GraphDef."""

    def texts(node: bytes, number: int) -> list[str]:
        return [value.decode() for value in fields_of(io.BytesIO(node), len(node), number)]

    nodes = list(fields_of(io.BytesIO(graph), len(graph), 1))
    return {texts(node, 1)[0]: (texts(node, 2)[0], texts(node, 3)) for node in nodes}


def test_graph_is_closed() -> None:
    """Every input of a node in the frozen graph is a node before it."""
    seen: set[str] = set()
    for name, (_, inputs) in _nodes(graphdef_bytes(_every_op(), "NCHW")).items():
        assert seen.issuperset(inputs)
        seen.add(name)
    assert {"input_tensor", "ArgMax", "softmax_tensor"} <= seen


def test_writers_are_deterministic() -> None:
    """The same network gives the same bytes."""
    assert onnx_bytes(_every_op(), "NHWC") == onnx_bytes(_every_op(), "NHWC")
    assert graphdef_bytes(_every_op(), "NHWC") == graphdef_bytes(_every_op(), "NHWC")


@pytest.mark.parametrize("content", [b"\x80", b"\xff" * 11, bytes_field(1, b"abc")[:-1], b"\x0b"])
def test_broken_messages_are_refused(content: bytes) -> None:
    """A message that ends early or has an unknown wire type raises ValueError."""
    with pytest.raises(ValueError, match=r"number|longer|wire type"):
        list(fields_of(io.BytesIO(content), len(content), 1))


def test_fields_round_trip() -> None:
    """Bytes fields come back in order, and fields of other numbers and kinds are skipped."""
    message = bytes_field(2, "one") + int_field(1, -1) + bytes_field(3, "x") + bytes_field(2, "two")
    assert list(fields_of(io.BytesIO(message), len(message), 2)) == [b"one", b"two"]

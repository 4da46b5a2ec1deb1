"""Writing a network as a frozen TensorFlow graph, without TensorFlow.

A GraphDef is a Protocol Buffers message of nodes; the field numbers are those of
`tensorflow/core/framework/{graph,node_def,attr_value,tensor,tensor_shape,versions}.proto`.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlbench.models import network as net
from mlbench.models.protobuf import bytes_field, int_field, packed_field

METADATA_NODE = "mlbench_metadata"
"""A string constant that nothing reads: the network's metadata as JSON."""

_PRODUCER = 134  # the GraphDef version of TensorFlow 1.15; later ones read it
_DTYPES = {np.dtype("float32"): 1, np.dtype("int32"): 3, np.dtype("int64"): 9}
_FLOAT, _INT32, _STRING, _INT64 = 1, 3, 7, 9


def graphdef_bytes(model: net.Network, layout: net.Layout) -> bytes:
    """Return the network as a serialised GraphDef of constants, with a free batch dimension.

    Its placeholder is `input_tensor`, float32 (batch, *image) in the given layout; its outputs are
    the nodes that `model.outputs` names. The same network gives the same bytes.
    """
    graph = _Graph()
    placeholder = {"dtype": _type(_FLOAT), "shape": _shape(-1, *model.input_shape(layout))}
    graph.node("Placeholder", net.INPUT, [], placeholder)
    if layout == "NCHW":
        order = graph.constant("input_nhwc/perm", np.array([0, 2, 3, 1], np.int32))
        types = {"T": _type(_FLOAT), "Tperm": _type(_INT32)}
        graph.node("Transpose", "input_nhwc", [net.INPUT, order], types)
        graph.names[net.INPUT] = "input_nhwc"
    for op in model.ops:
        _EMIT[type(op)](graph, op)
    graph.text(METADATA_NODE, json.dumps(dict(model.metadata), sort_keys=True))
    versions = int_field(1, _PRODUCER)
    return b"".join(graph.nodes) + bytes_field(4, versions)


class _Graph:
    """The encoded nodes so far; `names` says what a network's tensor is called here."""

    def __init__(self) -> None:
        self.nodes: list[bytes] = []
        self.names: dict[str, str] = {}

    def node(self, op: str, name: str, inputs: list[str], attributes: dict[str, bytes]) -> None:
        node = bytes_field(1, name) + bytes_field(2, op)
        for tensor in inputs:
            node += bytes_field(3, self.names.get(tensor, tensor))
        for key, value in sorted(attributes.items()):
            node += bytes_field(5, bytes_field(1, key) + bytes_field(2, value))
        self.nodes.append(bytes_field(1, node))

    def constant(self, name: str, values: NDArray[Any]) -> str:
        dtype = _DTYPES[values.dtype]
        content = values.astype(values.dtype.newbyteorder("<")).tobytes()
        tensor = (
            int_field(1, dtype) + bytes_field(2, _dims(*values.shape)) + bytes_field(4, content)
        )
        self.node("Const", name, [], {"dtype": _type(dtype), "value": bytes_field(8, tensor)})
        return name

    def text(self, name: str, text: str) -> None:
        tensor = int_field(1, _STRING) + bytes_field(2, _dims()) + bytes_field(8, text)
        self.node("Const", name, [], {"dtype": _type(_STRING), "value": bytes_field(8, tensor)})


def _type(dtype: int) -> bytes:
    return int_field(6, dtype)


def _dims(*sizes: int) -> bytes:
    return b"".join(bytes_field(2, int_field(1, size)) for size in sizes)


def _shape(*sizes: int) -> bytes:
    return bytes_field(7, _dims(*sizes))


def _ints(*values: int) -> bytes:
    return bytes_field(1, packed_field(3, list(values)))


_NHWC = bytes_field(2, "NHWC")


def _window(stride: int, padding: str) -> dict[str, bytes]:
    return {
        "strides": _ints(1, stride, stride, 1),
        "padding": bytes_field(2, padding),
        "data_format": _NHWC,
        "T": _type(_FLOAT),
    }


def _padded(graph: _Graph, op: net.Conv) -> tuple[str, str]:
    """Return the tensor to convolve and the padding to ask for.

    Only with stride 1 does TensorFlow's SAME not depend on the image's size. EXPLICIT padding is
    no way out: TensorFlow 2.21 aborts on it in a depthwise convolution.
    """
    rows, columns = op.weight.shape[2:]
    if not any(op.pads):
        return op.input, "VALID"
    if op.stride == 1 and op.pads == (rows // 2, columns // 2) * 2:
        return op.input, "SAME"
    return _pad(graph, op, 0.0), "VALID"


def _pad(graph: _Graph, op: net.Conv | net.MaxPool, value: float) -> str:
    top, left, bottom, right = op.pads
    pads = np.array([(0, 0), (top, bottom), (left, right), (0, 0)], np.int32)
    amounts = graph.constant(f"{op.output}/paddings", pads)
    filler = graph.constant(f"{op.output}/padding", np.array(value, np.float32))
    types = {"T": _type(_FLOAT), "Tpaddings": _type(_INT32)}
    graph.node("PadV2", f"{op.output}/pad", [op.input, amounts, filler], types)
    return f"{op.output}/pad"


def _conv(graph: _Graph, op: net.Conv) -> None:
    depthwise = op.groups > 1
    # (out, in, h, w) becomes (h, w, in, out); for depthwise (channels, 1, h, w) (h, w, channels, 1)
    axes = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
    weight = graph.constant(f"{op.output}/weight", op.weight.transpose(axes))
    kind = "DepthwiseConv2dNative" if depthwise else "Conv2D"
    tensor, padding = _padded(graph, op)
    graph.node(kind, f"{op.output}/conv", [tensor, weight], _window(op.stride, padding))
    bias = graph.constant(f"{op.output}/bias", op.bias)
    graph.node("BiasAdd", op.output, [f"{op.output}/conv", bias], {"T": _type(_FLOAT)})


def _relu(graph: _Graph, op: net.Relu) -> None:
    graph.node("Relu6" if op.six else "Relu", op.output, [op.input], {"T": _type(_FLOAT)})


def _add(graph: _Graph, op: net.Add) -> None:
    graph.node("AddV2", op.output, [op.input, op.other], {"T": _type(_FLOAT)})


def _max_pool(graph: _Graph, op: net.MaxPool) -> None:
    lowest = float(np.finfo(np.float32).min)
    tensor = _pad(graph, op, lowest) if any(op.pads) else op.input
    window = {**_window(op.stride, "VALID"), "ksize": _ints(1, op.size, op.size, 1)}
    graph.node("MaxPool", op.output, [tensor], window)


def _mean(graph: _Graph, op: net.Mean) -> None:
    axes = graph.constant(f"{op.output}/axes", np.array([1, 2], np.int32))
    graph.node("Mean", op.output, [op.input, axes], {"T": _type(_FLOAT), "Tidx": _type(_INT32)})


def _dense(graph: _Graph, op: net.Dense) -> None:
    weight = graph.constant(f"{op.output}/weight", op.weight)
    graph.node("MatMul", f"{op.output}/matmul", [op.input, weight], {"T": _type(_FLOAT)})
    bias = graph.constant(f"{op.output}/bias", op.bias)
    graph.node("BiasAdd", op.output, [f"{op.output}/matmul", bias], {"T": _type(_FLOAT)})


def _softmax(graph: _Graph, op: net.Softmax) -> None:
    graph.node("Softmax", op.output, [op.input], {"T": _type(_FLOAT)})


def _arg_max(graph: _Graph, op: net.ArgMax) -> None:
    axis = graph.constant(f"{op.output}/dimension", np.array(-1, np.int32))
    types = {"T": _type(_FLOAT), "Tidx": _type(_INT32), "output_type": _type(_INT64)}
    graph.node("ArgMax", op.output, [op.input, axis], types)


_EMIT: dict[type[net.Op], Callable[[_Graph, Any], None]] = {
    net.Conv: _conv,
    net.Relu: _relu,
    net.Add: _add,
    net.MaxPool: _max_pool,
    net.Mean: _mean,
    net.Dense: _dense,
    net.Softmax: _softmax,
    net.ArgMax: _arg_max,
}

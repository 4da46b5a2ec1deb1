"""Writing a network as ONNX."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, checker, helper, numpy_helper

from mlbench import __version__
from mlbench.models import network as net

OPSET = 17
IR_VERSION = 8  # the one that came with opset 17; older runtimes refuse newer files
_ELEMENT_TYPES = {"int64": TensorProto.INT64, "float32": TensorProto.FLOAT}


def onnx_bytes(model: net.Network, layout: net.Layout) -> bytes:
    """Return the network as a serialised ONNX model with a free batch dimension `N`.

    Its input is `input_tensor:0`, float32 (N, *image) in the given layout; its outputs are named
    `NAME:0`. The same network gives the same bytes.
    """
    graph = _Graph(model)
    source = net.INPUT + ":0"
    if layout == "NHWC":
        graph.node("Transpose", [source], "input_nchw", perm=[0, 3, 1, 2])
        graph.tensors[net.INPUT] = "input_nchw"
    for op in model.ops:
        _EMIT[type(op)](graph, op)
    image = helper.make_tensor_value_info(
        source, TensorProto.FLOAT, ["N", *model.input_shape(layout)]
    )
    outputs = [
        helper.make_tensor_value_info(
            f"{spec.name}:0", _ELEMENT_TYPES[spec.dtype], ["N", *spec.shape[1:]]
        )
        for spec in model.outputs
    ]
    proto = helper.make_model(
        helper.make_graph(graph.nodes, model.name, [image], outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="mlbench",
        producer_version=__version__,
        doc_string=model.metadata.get("description", ""),
    )
    helper.set_model_props(proto, dict(sorted(model.metadata.items())))
    checker.check_model(proto)
    return bytes(proto.SerializeToString(deterministic=True))


class _Graph:
    """The nodes and constants so far; `tensors` says what a network's tensor is called here."""

    def __init__(self, model: net.Network) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        public = (net.INPUT, *(spec.name for spec in model.outputs))
        self.tensors = {name: f"{name}:0" for name in public}

    def name(self, tensor: str) -> str:
        return self.tensors.get(tensor, tensor)

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        names = [self.name(tensor) for tensor in inputs]
        node = helper.make_node(kind, names, [self.name(output)], name=output, **attributes)
        self.nodes.append(node)

    def constant(self, name: str, values: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name


def _conv(graph: _Graph, op: net.Conv) -> None:
    weight = graph.constant(f"{op.output}/weight", op.weight)
    bias = graph.constant(f"{op.output}/bias", op.bias)
    graph.node(
        "Conv",
        [op.input, weight, bias],
        op.output,
        kernel_shape=op.weight.shape[2:],
        strides=[op.stride, op.stride],
        pads=op.pads,
        group=op.groups,
    )


def _relu(graph: _Graph, op: net.Relu) -> None:
    if op.six:
        low = graph.constant(f"{op.output}/min", np.array(0, np.float32))
        high = graph.constant(f"{op.output}/max", np.array(6, np.float32))
        graph.node("Clip", [op.input, low, high], op.output)
    else:
        graph.node("Relu", [op.input], op.output)


def _add(graph: _Graph, op: net.Add) -> None:
    graph.node("Add", [op.input, op.other], op.output)


def _max_pool(graph: _Graph, op: net.MaxPool) -> None:
    size, strides = [op.size, op.size], [op.stride, op.stride]
    graph.node("MaxPool", [op.input], op.output, kernel_shape=size, strides=strides, pads=op.pads)


def _mean(graph: _Graph, op: net.Mean) -> None:
    graph.node("GlobalAveragePool", [op.input], f"{op.output}/pool")
    graph.node("Flatten", [f"{op.output}/pool"], op.output)


def _dense(graph: _Graph, op: net.Dense) -> None:
    weight = graph.constant(f"{op.output}/weight", op.weight)
    bias = graph.constant(f"{op.output}/bias", op.bias)
    graph.node("Gemm", [op.input, weight, bias], op.output)


def _softmax(graph: _Graph, op: net.Softmax) -> None:
    graph.node("Softmax", [op.input], op.output, axis=-1)


def _arg_max(graph: _Graph, op: net.ArgMax) -> None:
    graph.node("ArgMax", [op.input], op.output, axis=-1, keepdims=0)


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

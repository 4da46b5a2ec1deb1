"""Models of all kinds are served with one command each, as somebody would type it."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from optional import TENSORFLOW, TORCH

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
ROWS, WIDTH, CLASSES = 30_522, 8, 3  # of the embedding


def _save(path, nodes, inputs, outputs, tables=(), domains=()):
    """Write an ONNX file; inputs and outputs are (name, type, shape), tables name -> array."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*i) for i in inputs],
        [o if hasattr(o, "name") else helper.make_tensor_value_info(*o) for o in outputs],
        [numpy_helper.from_array(array, name) for name, array in dict(tables).items()],
    )
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(d, 1) for d in domains)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def _floats(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="session")
def transformer(tmp_path_factory) -> Path:
    """One attention layer on embedded tokens; ids int64 (batch, seq), attention_mask likewise."""
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "ids"], ["x"]),
        *(node("MatMul", ["x", w], [w[1:]]) for w in ("wq", "wk", "wv")),
        node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["fit"]),
        node("Cast", ["attention_mask"], ["seen"], to=FLOAT),
        node("Log", ["seen"], ["bias"]),
        node("Unsqueeze", ["bias", "one"], ["bias3"]),
        node("Add", ["fit", "bias3"], ["masked"]),
        node("Softmax", ["masked"], ["share"], axis=-1),
        node("MatMul", ["share", "v"], ["mixed"]),
        node("ReduceMean", ["mixed"], ["pooled"], axes=[1], keepdims=0),
        node("MatMul", ["pooled", "head"], ["logits"]),
    ]
    square = _floats(WIDTH, WIDTH)
    tables = {"table": _floats(ROWS, WIDTH), "head": _floats(WIDTH, CLASSES), "one": np.array([1])}
    tables |= dict.fromkeys(("wq", "wk", "wv"), square)
    inputs = [(name, INT64, ["batch", "seq"]) for name in ("ids", "attention_mask")]
    path = tmp_path_factory.mktemp("zoo") / "transformer.onnx"
    return _save(path, nodes, inputs, [("logits", FLOAT, ["batch", CLASSES])], tables)


@pytest.fixture(scope="session")
def scalar(tmp_path_factory) -> Path:
    """x float32 (n, 4) times a scalar; -> class int64 (n,)."""
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["y"]),
        helper.make_node("ArgMax", ["y"], ["class"], axis=1, keepdims=0),
    ]
    inputs = [("x", FLOAT, ["n", 4]), ("factor", FLOAT, [])]
    path = tmp_path_factory.mktemp("zoo") / "scalar.onnx"
    return _save(path, nodes, inputs, [("class", INT64, ["n"])])


@pytest.fixture(scope="session")
def quantised(tmp_path_factory) -> Path:
    """Two layers whose weights and activations ONNX Runtime quantised to 8 bits."""
    from onnxruntime.quantization import quantize_dynamic

    folder = tmp_path_factory.mktemp("zoo")
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], ["logits"]),
    ]
    tables = {"w1": _floats(16, 32), "w2": _floats(32, CLASSES)}
    outputs = [("logits", FLOAT, ["n", CLASSES])]
    plain = _save(folder / "plain.onnx", nodes, [("x", FLOAT, ["n", 16])], outputs, tables)
    quantize_dynamic(plain, folder / "quantised.onnx")
    return folder / "quantised.onnx"


@pytest.fixture(scope="session")
def sequences(tmp_path_factory) -> Path:
    """A classifier as scikit-learn's converter writes it: a label, and a sequence of maps."""
    nodes = [
        helper.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0),
        helper.make_node("ZipMap", ["x"], ["all"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]),
    ]
    floats = helper.make_tensor_type_proto(FLOAT, None)
    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(INT64, floats))
    outputs = [helper.make_value_info("all", maps), ("label", INT64, ["n"])]
    path = tmp_path_factory.mktemp("zoo") / "sequences.onnx"
    return _save(path, nodes, [("x", FLOAT, ["n", 2])], outputs, domains=["ai.onnx.ml"])


@pytest.fixture(scope="session")
def keras_files(tmp_path_factory) -> tuple[Path, Path]:
    """The same network as a .keras file and as a SavedModel folder."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip(TENSORFLOW)
    import keras

    folder = tmp_path_factory.mktemp("zoo")
    pixels = keras.Input((None, None, 3), name="pixels")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(pixels))
    model = keras.Model(pixels, keras.layers.Dense(CLASSES, name="scores")(pooled))
    model.save(folder / "net.keras")
    model.export(folder / "net", verbose=False)
    return folder / "net.keras", folder / "net"


def _served(result) -> int:
    document = json.loads(result.out)
    assert result.status == 0, result.err
    assert document["failed"] == 0
    return document["completed"]


_RATE = ("--qps", 100, "--duration", 0.2, "--json", "--threads", 1)


def test_a_transformer_gets_its_sequence_length(command, transformer):
    """One --dim fixes the length in both inputs, and tokens are in the embedding's range."""
    given = ("--model", transformer, "--dataset", "synthetic", "--dim", "seq=128", "--count", 9)
    assert _served(command("trial", *given, *_RATE)) == 20
    assert _served(command("trial", *given, *_RATE, "--batch-size", 4)) == 20


def test_a_run_of_a_transformer_answers(process, transformer, tmp_path):
    """The whole benchmark runs with the same option, and records the size."""
    words = ("--model", transformer, "--dataset", "synthetic", "--dim", "seq=16", "--count", 9)
    bounds = ("--max-latency", 0.05, "--time", 0.3, "--budget", 1, "--quiet", "--threads", 1)
    result = process("run", *words, *bounds, "--output", tmp_path / "r.json")
    assert "===FINAL_RESULT" in result.out, result.err
    assert json.loads((tmp_path / "r.json").read_text())["settings"]["dims"] == {"seq": 16}


def test_a_quantised_model_is_served(command, quantised):
    """It takes floats as before; what is inside is the runtime's."""
    assert _served(command("trial", "--model", quantised, "--dataset", "synthetic", *_RATE)) == 20


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_scalar_input_is_fed(command, scalar, batch_size):
    """A tensor without dimensions is fed as such, and does not keep others from batches."""
    words = ("--model", scalar, "--dataset", "synthetic", "--batch-size", batch_size)
    assert _served(command("trial", *words, *_RATE)) == 20


def test_one_query_may_fill_a_model_without_a_batch(command, models):
    """Where --dim fixes the first dimension, a query is the whole tensor."""
    words = ("--model", models["eight"], "--dataset", "synthetic", "--dim", "scores.0=8")
    assert _served(command("trial", *words, *_RATE)) == 20


def test_an_output_that_is_a_sequence_is_passed_over_or_timed(command, sequences):
    """The tensor beside it is the answer; it can be fetched all the same when it is asked for."""
    words = ("--model", sequences, "--dataset", "synthetic", *_RATE)
    assert _served(command("trial", *words)) == 20
    assert _served(command("trial", *words, "--outputs", "all")) == 20


def test_a_sequence_is_named_among_the_outputs(refused, sequences, tmp_path):
    """A wrong name lists it as what it is, and so does accuracy that would need its class."""
    model = ("--model", sequences, "--dataset")
    line = refused("trial", "--qps", 9, *model, "synthetic", "--outputs", "labell")
    assert "no output 'labell' (did you mean 'label'?); it has: all (a sequence), label" in line
    file = tmp_path / "r.npz"
    np.savez(file, x=np.zeros((3, 2), np.float32), labels=[0, 1, 1])
    line = refused("run", *model, "npz", "--dataset-path", file, "--outputs", "all")
    assert "all (a sequence), label: name it with --outputs, or use --skip-accuracy" in line


@pytest.mark.parametrize("index", [0, 1])
def test_keras_and_saved_model_find_their_backend(command, keras_files, index):
    """A .keras file and a SavedModel folder need no --backend; --dim fixes the image's size."""
    sizes = [("pixels.1", 20), ("pixels.2", 24)]
    if index:  # the exported signature has names of its own
        from workers.backends.tf import TensorFlowBackend

        (spec,) = TensorFlowBackend.inspect(str(keras_files[1])).inputs
        sizes = [(f"{spec.name}.{axis}", size) for axis, size in ((1, 20), (2, 24))]
    words = [word for name, size in sizes for word in ("--dim", f"{name}={size}")]
    given = ("--model", keras_files[index], "--dataset", "synthetic", "--count", 9)
    assert _served(command("trial", *given, *words, *_RATE)) == 20


def test_a_torch_export_finds_its_backend(command, tmp_path):
    """A .pt2 file needs no --backend; a dimension without a good name is given by its place."""
    torch = pytest.importorskip("torch", reason=TORCH)
    layers = torch.nn.Sequential(torch.nn.Embedding(ROWS, WIDTH), torch.nn.Linear(WIDTH, CLASSES))
    free = ({0: torch.export.Dim("batch"), 1: torch.export.Dim("seq", min=2, max=512)},)
    example = (torch.zeros(2, 7, dtype=torch.int64),)
    program = torch.export.export(layers, example, dynamic_shapes=free)
    torch.export.save(program, tmp_path / "m.pt2")
    given = ("--model", tmp_path / "m.pt2", "--dataset", "synthetic", "--dim", "input.1=16")
    assert _served(command("trial", *given, *_RATE, "--count", 9)) == 20


def test_recorded_tensors_with_labels_give_an_accuracy(process, scalar, tmp_path):
    """The arrays of an .npz file are fed, and its labels are compared with the answers."""
    x = np.eye(4, dtype=np.float32)[np.arange(40) % 4]
    file, output = tmp_path / "recorded.npz", tmp_path / "r.json"
    np.savez(file, x=x, factor=np.full(40, 2, np.float32), labels=np.arange(40) % 4)
    words = ("--model", scalar, "--dataset", "npz", "--dataset-path", file, "--output", output)
    bounds = ("--max-latency", 0.05, "--time", 0.3, "--budget", 1, "--threads", 1)
    result = process("run", *words, *bounds)
    assert "check_accuracy accuacy=100.00, good_items=40, total_items=40" in result.out, result.err


def test_labels_that_are_one_off_are_told_with_the_option(process, scalar, tmp_path):
    """Where all answers are one above their labels, the run says which --label-offset to give."""
    x = np.eye(4, dtype=np.float32)[1 + np.arange(40) % 3]
    file, output = tmp_path / "recorded.npz", tmp_path / "r.json"
    np.savez(file, x=x, factor=np.full(40, 2, np.float32), labels=np.arange(40) % 3)
    words = ("--model", scalar, "--dataset", "npz", "--dataset-path", file, "--output", output)
    bounds = ("--max-latency", 0.05, "--time", 0.3, "--budget", 1, "--threads", 1)
    result = process("run", *words, *bounds)
    assert "100.0% would be with --label-offset 1" in result.err
    result = process("run", *words, *bounds, "--label-offset", 1)
    assert "accuacy=100.00" in result.out, result.err

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mlbench.contracts.backend import TensorSpec, WorkerSpec
from mlbench.contracts.device import Device
from mlbench.contracts.errors import RequestError
from workers.backends.ort import BoundRun, OrtBackend

SCORES = np.float32([[0, 0, 9, 0], [0, 9, 0, 0], [0, 0, 0, 9]])


def _load(model, **fields):
    return OrtBackend(WorkerSpec(0, "", "onnxruntime", model=str(model), **fields))


def test_a_signature_names_types_and_free_dimensions(models):
    """Inputs come with their types and shapes, a symbolic dimension is free."""
    signature = OrtBackend.inspect(str(models["pair"]))
    assert signature.inputs == (
        TensorSpec("ids", "int64", (None, 3)),
        TensorSpec("mask", "bool", (None, 2)),
    )
    assert signature.outputs == ("total",)


def test_a_fixed_batch_dimension_is_seen(models):
    """A model exported for one batch size says which."""
    (spec,) = OrtBackend.inspect(str(models["eight"])).inputs
    assert spec.shape == (8, 4)


def test_an_output_of_scores_tells_how_many_classes_there_are(models):
    """Its second dimension is known where it is fixed; class numbers tell nothing."""
    assert OrtBackend.inspect(str(models["classifier"])).classes == {"scores_out": 4}
    assert OrtBackend.inspect(str(models["images"])).classes == {}


def test_classes_are_answered(models):
    """The integer output is preferred: it is the class."""
    assert _load(models["classifier"]).predict({"scores": SCORES}).tolist() == [2, 1, 3]


def test_scores_are_turned_into_classes(models):
    """An output of scores that is asked for by name gives the same classes."""
    backend = _load(models["classifier"], outputs=("scores_out",))
    assert backend.predict({"scores": SCORES}).tolist() == [2, 1, 3]


def test_the_label_offset_is_subtracted(models):
    """A model with a background class counts one more than the labels."""
    backend = _load(models["classifier"], label_offset=1)
    assert backend.predict({"scores": SCORES}).tolist() == [1, 0, 2]


def test_a_batch_is_answered_as_its_queries_one_by_one(models):
    """Batching changes no answer."""
    backend = _load(models["classifier"])
    singles = [backend.predict({"scores": SCORES[i : i + 1]})[0] for i in range(3)]
    assert backend.predict({"scores": SCORES}).tolist() == singles


def test_several_inputs_of_other_types_are_fed(models):
    """A model with integer and boolean inputs runs; its output is one score for each query."""
    feed = {"ids": np.ones((2, 3), np.int64), "mask": np.ones((2, 2), bool)}
    assert _load(models["pair"]).predict(feed).tolist() == [0, 0]


def test_the_backend_describes_itself(models):
    """The version of the runtime and the provider really in use are told."""
    described = _load(models["one"], threads=2).describe()
    assert described["name"] == "onnxruntime"
    assert described["provider"] == "CPUExecutionProvider"
    assert described["version"]


def test_a_failing_operator_raises(models):
    """What the runtime cannot compute is an exception and not an answer."""
    backend = _load(models["lookup"])
    assert backend.predict({"index": np.array([3])}).tolist() == [13]
    with pytest.raises(Exception, match="Gather"):
        backend.predict({"index": np.array([99])})


def test_a_file_that_is_no_model_is_refused(tmp_path):
    """Garbage gives a request error that names the file, when inspected and when loaded."""
    path = tmp_path / "garbage.onnx"
    path.write_bytes(b"this is no model")
    with pytest.raises(RequestError, match=r"garbage\.onnx: it is damaged, or no ONNX"):
        OrtBackend.inspect(str(path))
    with pytest.raises(RequestError, match=r"garbage\.onnx"):
        _load(path)


def test_a_model_is_needed():
    """Without a model file there is nothing to run."""
    with pytest.raises(RequestError, match="--model"):
        OrtBackend(WorkerSpec(0, "", "onnxruntime"))


def test_an_unknown_output_names_those_there_are(models):
    """An output that the model does not have is refused with those it has."""
    with pytest.raises(RequestError, match=r"'ArgMax' \(did.*; it has: scores_out, Arg"):
        _load(models["classifier"], outputs=("ArgMax",))


@pytest.mark.parametrize(
    "options", [{"graph": "some"}, {"spinning": "often"}, {"threads": "3"}, {"graph": ""}]
)
def test_an_unknown_option_is_refused(models, options):
    """Options of the session are checked when the backend is made."""
    with pytest.raises(RequestError, match=next(iter(options))):
        _load(models["one"], options=options)


def test_every_option_value_works(models):
    """Each level of optimisation and each way of waiting gives the same answer."""
    for options in ({"graph": "off", "spinning": "1"}, {"graph": "basic", "spinning": "0"}):
        backend = _load(models["classifier"], options=options, threads=2)
        assert backend.predict({"scores": SCORES}).tolist() == [2, 1, 3]


def test_a_gpu_that_the_runtime_cannot_use_is_refused(models):
    """A runtime without the provider says so and never runs on the CPU instead."""
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("not for an ONNX Runtime that has the CUDA provider")
    with pytest.raises(RequestError, match="CUDAExecutionProvider"):
        _load(models["one"], device=Device("cuda:0", 0))


def test_bound_buffers_give_the_answers_of_a_plain_run(models):
    """A session with its inputs bound to buffers answers each batch as one without, in any order.

    The buffers lie on the CPU here; the calls are those for a GPU.
    """
    import onnxruntime

    cpu = ["CPUExecutionProvider"]
    classifier = onnxruntime.InferenceSession(str(models["classifier"]), providers=cpu)
    bound = BoundRun(classifier, ["ArgMax:0", "scores_out"], "cpu")
    for rows in (SCORES, SCORES[:1], SCORES[::-1].copy(), SCORES[1:2], SCORES[:2]):
        assert bound({"scores": rows}).tolist() == rows.argmax(axis=1).tolist()
    pair = onnxruntime.InferenceSession(str(models["pair"]), providers=cpu)
    feed = {"ids": np.arange(6).reshape(2, 3), "mask": np.ones((2, 2), bool)}
    expected = pair.run(["total"], feed)[0]
    assert np.array_equal(BoundRun(pair, ["total"], "cpu")(feed), expected)


def test_an_input_that_cannot_be_drawn_is_refused(tmp_path):
    """A model that takes strings is refused by name and type."""
    info = helper.make_tensor_value_info
    node = helper.make_node("Identity", ["text"], ["same"])
    sides = [[info(name, TensorProto.STRING, ["n", 1])] for name in ("text", "same")]
    graph = helper.make_graph([node], "strings", *sides)
    path = tmp_path / "strings.onnx"
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    with pytest.raises(RequestError, match=r"text is a tensor\(string\)"):
        OrtBackend.inspect(str(path))


def _identity(path, operator="Identity", domain="", opset=17, ir=8, dtype=TensorProto.FLOAT):
    """Write a model of one node, which may be one that no runtime knows."""
    node = helper.make_node(operator, ["x"], ["y"], domain=domain)
    x, y = (helper.make_tensor_value_info(name, dtype, ["n", 3]) for name in "xy")
    opsets = [helper.make_opsetid("", opset)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    graph = helper.make_graph([node], "graph", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=ir), path)
    return str(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"opset": 99}, r"it is too new: its opset of ai\.onnx is 99, this ONNX Runtime knows up"),
        ({"ir": 99}, "it is too new: its IR version is 99, this ONNX Runtime reads up to"),
        ({"operator": "Nonsense"}, "it uses the operator Nonsense, which opset 17 does not have"),
        ({"operator": "Own", "domain": "my.ops"}, "it uses my.ops:Own, which this ONNX Runtime"),
        (
            {"operator": "Sin", "dtype": TensorProto.BFLOAT16, "opset": 22, "ir": 10},
            "has no implementation of the operator Sin for these types",
        ),
    ],
)
def test_what_cannot_be_loaded_is_told_for_people(tmp_path, fields, message):
    """Too new, unknown or without an implementation: one line says which, and no C++ is in it."""
    path = _identity(tmp_path / "m.onnx", **fields)
    with pytest.raises(RequestError, match=message) as caught:
        OrtBackend.inspect(path)
    assert "::" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_cut_model_is_damaged(models, tmp_path):
    """Half a file is told as damaged."""
    path = tmp_path / "half.onnx"
    content = models["pair"].read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(RequestError, match=r"half\.onnx: it is damaged, or no ONNX file"):
        OrtBackend.inspect(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"its weights are in another file, w\.bin, which is not beside it"),
        (b"version https", "another file .*too short: .*Git LFS"),
    ],
)
def test_weights_in_another_file_are_missed(tmp_path, content, message):
    """Weights beside the model that are missing, or only a pointer, are told as such."""
    weights = onnx.numpy_helper.from_array(np.ones((3, 3), np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in "xy")
    graph = helper.make_graph([node], "graph", [x], [y], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "m.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "w.bin").unlink()
    if content is not None:
        (tmp_path / "w.bin").write_bytes(content)
    with pytest.raises(RequestError, match=message):
        OrtBackend.inspect(str(path))


def test_a_model_is_optimised_for_the_sizes_of_its_samples(tmp_path):
    """A free dimension whose size is known is fixed in the session."""
    graph = onnx.load(_identity(tmp_path / "m.onnx"))
    graph.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "seq"
    onnx.save(graph, tmp_path / "m.onnx")
    backend = _load(tmp_path / "m.onnx", dims={"seq": 3, "x.0": 1})
    assert backend._session.get_inputs()[0].shape == ["n", 3]


def test_usage_is_not_reported(models, monkeypatch):
    """The variable that keeps ONNX Runtime from reporting is set before it is imported."""
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    OrtBackend.inspect(str(models["one"]))
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from optional import TENSORFLOW, TENSORFLOW_GPU

from mlbench.contracts.backend import TensorSpec, WorkerSpec
from mlbench.contracts.device import Device
from mlbench.contracts.errors import RequestError
from workers.backends.tf import TensorFlowBackend, _import_tensorflow

pytestmark = pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason=TENSORFLOW)

ROOT = Path(__file__).parents[3]
WEIGHTS = np.eye(4, dtype=np.float32)
FEED = np.float32([[0, 0, 9, 0], [0, 9, 0, 0], [0, 0, 0, 9]])
CLASSES = [2, 1, 3]


@pytest.fixture(scope="module")
def tf():
    """TensorFlow, without the settings that a process can make only once: other tests use it."""
    module = _import_tensorflow()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.config.threading, "set_intra_op_parallelism_threads", lambda _n: None)
        patch.setattr(module.config.threading, "set_inter_op_parallelism_threads", lambda _n: None)
        patch.setattr(module.config, "set_visible_devices", lambda *_devices: None)
        yield module


@pytest.fixture(scope="module")
def models(tf, tmp_path_factory):
    """One tiny classifier in each format: format name -> (path, input name)."""
    folder = tmp_path_factory.mktemp("models")
    return {
        "frozen graph": (_write_frozen_graph(tf, folder / "tiny.pb"), "input_tensor:0"),
        "SavedModel": (_write_saved_model(tf, folder / "tiny"), "pixels"),
        "Keras": (_write_keras(tf, folder / "tiny.keras"), "pixels"),
    }


def _write_frozen_graph(tf, path):
    with tf.Graph().as_default() as graph:
        pixels = tf.compat.v1.placeholder(tf.float32, [None, 4], name="input_tensor")
        softmax = tf.nn.softmax(pixels @ WEIGHTS, name="softmax_tensor")
        tf.argmax(softmax, axis=1, name="ArgMax")
        tf.reduce_sum(pixels, name="total")
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return str(path)


def _write_saved_model(tf, path):
    module = tf.Module()
    module.weights = tf.Variable(WEIGHTS)

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="pixels")])
    def serve(pixels):
        return {"scores": pixels @ module.weights}

    tf.saved_model.save(module, str(path), signatures=serve)
    return str(path)


def _write_keras(tf, path):
    dense = tf.keras.layers.Dense(4, use_bias=False)
    model = tf.keras.Sequential([tf.keras.layers.Input((4,), name="pixels"), dense])
    dense.set_weights([WEIGHTS])
    model.save(path)
    return str(path)


def _spec(model, **changes):
    spec = WorkerSpec(index=0, endpoint="", backend="tensorflow", model=model, threads=1)
    return replace(spec, **changes)


@pytest.mark.parametrize("kind", ["frozen graph", "SavedModel", "Keras"])
def test_every_format_gives_the_same_classes(models, kind):
    """One classifier saved in three formats gives the same class numbers for each batch size."""
    path, name = models[kind]
    backend = TensorFlowBackend(_spec(path))
    assert backend.predict({name: FEED}).tolist() == CLASSES
    assert backend.predict({name: FEED[:1]}).tolist() == CLASSES[:1]
    assert backend.describe()["format"] == kind
    assert backend.describe()["device"] == "cpu"


@pytest.mark.parametrize("kind", ["frozen graph", "SavedModel", "Keras"])
def test_inspect_tells_each_formats_input(models, kind):
    """The input's name, dtype and shape are read from the model, with a free batch dimension."""
    path, name = models[kind]
    assert TensorFlowBackend.inspect(path).inputs == (TensorSpec(name, "float32", (None, 4)),)


@pytest.mark.parametrize(("kind", "classes"), [("frozen graph", None), ("Keras", 4)])
def test_inspect_tells_how_many_classes_there_are(models, kind, classes):
    """Scores of a fixed size tell; class numbers do not."""
    assert TensorFlowBackend.inspect(models[kind][0]).class_count(()) == classes


def test_a_frozen_graphs_outputs_are_its_loose_ends(models):
    """Without a choice, every tensor that nothing uses is an output."""
    path, _ = models["frozen graph"]
    assert TensorFlowBackend.inspect(path).outputs == ("ArgMax:0", "total:0")


def test_an_inner_tensor_can_be_the_output(models):
    """Any tensor of a frozen graph may be named; scores become classes by their largest."""
    path, name = models["frozen graph"]
    backend = TensorFlowBackend(_spec(path, outputs=("softmax_tensor:0",)))
    assert backend.predict({name: FEED}).tolist() == CLASSES


def test_the_label_offset_is_taken_off(models):
    """A model with a background class has all its class numbers moved down."""
    path, name = models["frozen graph"]
    backend = TensorFlowBackend(_spec(path, outputs=("ArgMax:0",), label_offset=1))
    assert backend.predict({name: FEED}).tolist() == [c - 1 for c in CLASSES]


def test_an_output_that_is_no_class_gives_no_prediction(models):
    """One number for the whole batch tells no classes."""
    path, name = models["frozen graph"]
    backend = TensorFlowBackend(_spec(path, outputs=("total:0",)))
    assert backend.predict({name: FEED}) is None


@pytest.mark.parametrize("kind", ["frozen graph", "SavedModel", "Keras"])
def test_an_unknown_output_is_refused(models, kind):
    """The refusal names the model's file and the output that it does not have."""
    path, _ = models[kind]
    with pytest.raises(RequestError, match=r"tiny.* has no output 'nope'"):
        TensorFlowBackend(_spec(path, outputs=("nope",)))


def test_a_read_only_feed_is_served(models):
    """Samples come from a read-only mapping, which is all the backend needs."""
    path, name = models["Keras"]
    feed = FEED.copy()
    feed.flags.writeable = False
    assert TensorFlowBackend(_spec(path)).predict({name: feed}).tolist() == CLASSES


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.pb", None, "no such file"),
        ("model.onnx", b"x", "takes a frozen graph"),
        ("junk.pb", b"junk", "it is damaged"),
        ("empty.pb", b"", "no placeholders"),
        ("junk.keras", b"junk", "it is damaged, or no"),
        ("saved_model.pb", b"x", "a SavedModel is a folder: --model /"),
    ],
)
def test_a_bad_model_file_is_refused_in_one_line(tmp_path, name, content, message):
    """A file that is missing, of another kind or broken is a bad request with its path."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RequestError, match=message) as caught:
        TensorFlowBackend.inspect(str(path))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_python_code_in_a_keras_file_is_refused(tf, tmp_path):
    """Safe mode holds: a .keras file with a lambda layer, which is code, does not load."""
    layers = [tf.keras.layers.Input((4,)), tf.keras.layers.Lambda(lambda x: x)]
    tf.keras.Sequential(layers).save(tmp_path / "code.keras")
    with pytest.raises(RequestError, match="Lambda layer, which is Python code and not run"):
        TensorFlowBackend.inspect(str(tmp_path / "code.keras"))


def test_a_layer_of_ones_own_is_told_by_its_name(tf, tmp_path):
    """A layer whose class is not in the file is named, with the format that needs no class."""

    class Own(tf.keras.layers.Layer):
        def call(self, x):
            return x

    tf.keras.Sequential([tf.keras.layers.Input((4,)), Own()]).save(tmp_path / "own.keras")
    del Own
    with pytest.raises(RequestError, match=r"a part of its own, 'Own', whose Python code is not"):
        TensorFlowBackend.inspect(str(tmp_path / "own.keras"))


def test_an_operator_that_is_not_there_is_told_by_its_name(tf, tmp_path):
    """A graph with a custom operator says which, in a short line."""
    graph = tf.compat.v1.GraphDef()
    graph.node.add(op="Nonsense", name="n")
    (tmp_path / "op.pb").write_bytes(graph.SerializeToString())
    with pytest.raises(RequestError, match="uses the operator Nonsense, which this TensorFlow"):
        TensorFlowBackend.inspect(str(tmp_path / "op.pb"))


@pytest.mark.parametrize("shape", [[], None])
def test_a_scalar_is_told_from_an_input_of_any_rank(tf, tmp_path, shape):
    """A SavedModel's scalar input has no dimensions; one that may have any number is refused."""

    class Scaled(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name="s")])
        def __call__(self, s):
            return {"y": s * 2}

    tf.saved_model.save(Scaled(), tmp_path / "m")
    if shape is None:
        with pytest.raises(RequestError, match="input s has no known number of dimensions"):
            TensorFlowBackend.inspect(str(tmp_path / "m"))
    else:
        (spec,) = TensorFlowBackend.inspect(str(tmp_path / "m")).inputs
        assert (spec.shape, spec.is_whole) == ((), True)


def test_a_gpu_that_cannot_be_used_is_refused(tf, models):
    """Asking for a GPU that TensorFlow cannot use says why, and never runs on the CPU."""
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("not for a machine with a GPU that TensorFlow can use")
    path, _ = models["frozen graph"]
    with pytest.raises(RequestError, match=r"device cuda:1: .*TensorFlow"):
        TensorFlowBackend(_spec(path, device=Device("cuda:1", 1)))


IN_ITS_OWN_PROCESS = """
import json, sys
import numpy as np
from mlbench.contracts.backend import WorkerSpec
from workers.backends.tf import TensorFlowBackend
spec, name, feed = json.load(sys.stdin)
backend = TensorFlowBackend(WorkerSpec.from_dict(spec))
classes = backend.predict({name: np.float32(feed)}).tolist()
import tensorflow as tf
threads = tf.config.threading.get_intra_op_parallelism_threads()
gpus = [gpu.name for gpu in tf.config.list_logical_devices("GPU")]
print(json.dumps([classes, backend.describe()["device"], threads, gpus]))
"""


def _serve_in_its_own_process(spec, name):
    orders = json.dumps([spec.to_dict(), name, FEED.tolist()])
    command = [sys.executable, "-c", IN_ITS_OWN_PROCESS]
    answer = subprocess.run(
        command, input=orders, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    return json.loads(answer.stdout.splitlines()[-1])


def test_a_worker_sets_its_threads_and_sees_no_gpu(models):
    """On the CPU, TensorFlow has the worker's threads, and GPUs are hidden from it."""
    path, name = models["frozen graph"]
    answer = _serve_in_its_own_process(_spec(path, threads=2), name)
    assert answer == [CLASSES, "cpu", 2, []]


@pytest.mark.gpu
def test_a_gpu_gives_the_same_classes(tf, models):
    """The model on the first GPU answers as it does on the CPU, and sees no other GPU."""
    if not tf.config.list_physical_devices("GPU"):
        pytest.skip(TENSORFLOW_GPU)
    path, name = models["frozen graph"]
    classes, device, _, gpus = _serve_in_its_own_process(
        _spec(path, device=Device("cuda:0", 0)), name
    )
    assert classes == CLASSES
    assert device != "cpu"
    assert gpus == ["/device:GPU:0"]

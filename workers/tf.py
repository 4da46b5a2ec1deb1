"""TensorFlow: frozen graphs (.pb), SavedModel folders and .keras files, on one CPU or GPU.

    feed (NumPy) --one copy to the device--> concrete function --copy back--> class numbers

Every format ends as one concrete function, so a prediction is one call into the runtime.
"""

import ctypes
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts.backend import (
    Feed,
    Predictions,
    Signature,
    TensorSpec,
    WorkerSpec,
    nearest,
    parse_options,
)
from mlbench.contracts.errors import RequestError

_NOT_AN_OUTPUT = {"Placeholder", "Const", "NoOp", "Assert"}


@dataclass(frozen=True)
class _Model:
    """A loaded model: `run` takes tensors by input name, and gives tensors by output name.

    `keep` holds what owns the variables; a function alone does not.
    """

    format: str
    signature: Signature
    run: Callable[[dict[str, Any]], Mapping[str, Any]]
    keep: Any = None


class TensorFlowBackend:
    """One model in TensorFlow 2; the process sees only the device that it was given.

    Operations run one after the other, each on `threads` threads. GPU memory grows as needed.
    """

    OPTIONS: ClassVar[Mapping[str, Any]] = {}
    RUNTIME: ClassVar[tuple[str, str] | None] = ("tensorflow", "tensorflow")
    NEEDS_MODEL: ClassVar[bool] = True

    def __init__(self, spec: WorkerSpec) -> None:
        parse_options(spec.options, self.OPTIONS, "tensorflow")
        self._tf = _import_tensorflow()
        self._device = _claim_device(self._tf, spec)
        self._model = _load(self._tf, str(spec.model), spec.outputs)
        self._outputs = spec.outputs or self._model.signature.outputs
        self._threads = spec.threads
        self._label_offset = spec.label_offset

    @classmethod
    def inspect(cls, model: str) -> Signature:
        """Read a model's signature; raises RequestError when it cannot be read."""
        tf = _import_tensorflow()
        tf.config.set_visible_devices([], "GPU")
        return _load(tf, model, ()).signature

    def predict(self, feed: Feed) -> Predictions | None:
        """Answer one batch."""
        tensors = {name: self._tf.constant(array) for name, array in feed.items()}
        results = self._model.run(tensors)
        return _class_numbers([results[name].numpy() for name in self._outputs], self._label_offset)

    def describe(self) -> dict[str, Any]:
        """Return the version, the model's format, and the one device that the process sees."""
        return {
            "name": "tensorflow",
            "version": self._tf.__version__,
            "format": self._model.format,
            "device": self._device,
            "threads": self._threads,
        }


def _import_tensorflow() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # warnings and errors only
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        import tensorflow
    except ImportError as error:
        raise RequestError(
            f"TensorFlow cannot be imported ({error}): pip install 'mlbench[tensorflow]'"
        ) from None
    return tensorflow


def _claim_device(tf: Any, spec: WorkerSpec) -> str:
    """Hide every device but the wanted one and return its name; must precede all other use."""
    tf.config.threading.set_intra_op_parallelism_threads(spec.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if not spec.device.startswith("cuda"):
        tf.config.set_visible_devices([], "GPU")
        return "cpu"
    index = int(spec.device.partition(":")[2] or 0)
    gpus = tf.config.list_physical_devices("GPU")
    if index >= len(gpus):
        raise RequestError(f"device {spec.device}: {_why_no_gpu(tf, len(gpus))}")
    tf.config.set_visible_devices(gpus[index], "GPU")
    tf.config.experimental.set_memory_growth(gpus[index], True)
    if not tf.config.list_logical_devices("GPU"):
        raise RequestError(f"device {spec.device}: TensorFlow {tf.__version__} cannot use this GPU")
    return str(tf.config.experimental.get_device_details(gpus[index]).get("device_name", "GPU"))


def _why_no_gpu(tf: Any, found: int) -> str:
    if found:
        return f"TensorFlow finds {found} GPU(s), cuda:0 to cuda:{found - 1}"
    if not tf.test.is_built_with_cuda():
        return (
            f"this TensorFlow {tf.__version__} is built without CUDA: "
            "pip uninstall tensorflow-cpu; pip install 'mlbench[tensorflow-gpu]'"
        )
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "the NVIDIA driver (libcuda.so.1) is not installed, or not passed to the container"
    build = tf.sysconfig.get_build_info()
    wanted = f"CUDA {build.get('cuda_version')} and cuDNN {build.get('cudnn_version')}"
    return (
        f"TensorFlow {tf.__version__} finds no GPU; it needs the libraries of {wanted}: "
        "pip install 'mlbench[tensorflow-gpu]', and see that nvidia-smi lists the GPU"
    )


def _load(tf: Any, path: str, outputs: Sequence[str]) -> _Model:
    """Load a model file; `outputs` must be among what it can give, none means all of them."""
    loader = _loader_of(Path(path))
    try:
        model = loader(tf, path, outputs)
    except RequestError:
        raise
    except Exception as error:  # TensorFlow, Keras and protobuf have no common error
        reason = " ".join(str(error).split())[:300]
        raise RequestError(f"model {path}: TensorFlow cannot load it: {reason}") from error
    for name in outputs:
        if name not in model.signature.outputs:
            known = list(model.signature.outputs)
            hint = nearest(name, known) or f"; it has: {', '.join(known)}"
            raise RequestError(f"model {path} has no output '{name}'{hint}")
    return model


def _loader_of(path: Path) -> Callable[[Any, str, Sequence[str]], _Model]:
    if not path.exists():
        raise RequestError(f"model {path}: no such file or folder")
    if (path / "saved_model.pb").is_file():
        return _load_saved_model
    if path.suffix == ".keras":
        return _load_keras
    if path.suffix == ".pb" and path.is_file():
        return _load_frozen_graph
    raise RequestError(
        f"model {path}: the tensorflow backend takes a frozen graph (.pb), "
        "a SavedModel folder (with a saved_model.pb) or a .keras file"
    )


def _load_frozen_graph(tf: Any, path: str, outputs: Sequence[str]) -> _Model:
    """Cut the part out of a graph of constants that leads from its placeholders to the outputs.

    Without `outputs` these are all tensors that nothing else in the graph uses.
    """
    graph_def = tf.compat.v1.GraphDef()
    graph_def.ParseFromString(Path(path).read_bytes())
    names = [f"{node.name}:0" for node in graph_def.node if node.op == "Placeholder"]
    if not names:
        raise RequestError(f"model {path}: not a frozen graph, it has no placeholders for inputs")
    used = {name.partition(":")[0].lstrip("^") for node in graph_def.node for name in node.input}
    ends = [n.name for n in graph_def.node if n.name not in used and n.op not in _NOT_AN_OUTPUT]
    wrapped = tf.compat.v1.wrap_function(
        lambda: tf.compat.v1.import_graph_def(graph_def, name=""), []
    )
    inputs = [wrapped.graph.as_graph_element(name) for name in names]
    wanted = tuple(outputs) or tuple(f"{name}:0" for name in ends)
    function = wrapped.prune(inputs, {name: _tensor(wrapped.graph, name, path) for name in wanted})
    specs = tuple(_tensor_spec(i.name, i.dtype, i.shape) for i in inputs)
    return _Model(
        "frozen graph",
        Signature(specs, wanted),
        run=lambda tensors: function(*[tensors[name] for name in names]),
    )


def _tensor(graph: Any, name: str, path: str) -> Any:
    try:
        return graph.as_graph_element(name, allow_operation=False)
    except (KeyError, ValueError):
        raise RequestError(
            f"model {path} has no output '{name}'; a frozen graph's outputs are named NODE:0"
        ) from None


def _load_saved_model(tf: Any, path: str, outputs: Sequence[str]) -> _Model:  # noqa: ARG001 - all are computed
    """Take the signature `serving_default`, or the only one that there is."""
    loaded = tf.saved_model.load(path)
    names = list(loaded.signatures)
    if "serving_default" not in names and len(names) != 1:
        raise RequestError(
            f"SavedModel {path} has no signature 'serving_default', only: {', '.join(names)}; "
            "export it with that one"
        )
    function = loaded.signatures["serving_default" if "serving_default" in names else names[0]]
    taken = function.structured_input_signature[1]
    specs = tuple(_tensor_spec(name, spec.dtype, spec.shape) for name, spec in taken.items())
    signature = Signature(specs, tuple(function.structured_outputs))
    return _Model("SavedModel", signature, lambda tensors: function(**tensors), keep=loaded)


def _load_keras(tf: Any, path: str, outputs: Sequence[str]) -> _Model:  # noqa: ARG001 - all are computed
    """Load weights and layers, but no Python code from the file (safe mode)."""
    model = tf.keras.models.load_model(path, compile=False, safe_mode=True)
    names = tuple(tensor.name for tensor in model.outputs)
    specs = tuple(_tensor_spec(i.name, tf.as_dtype(i.dtype), i.shape) for i in model.inputs)

    def call(*tensors: Any) -> dict[str, Any]:
        results = model(tensors[0] if len(tensors) == 1 else list(tensors), training=False)
        return dict(zip(names, tf.nest.flatten(results), strict=True))

    arguments = [tf.TensorSpec(spec.shape, spec.dtype) for spec in specs]
    function = tf.function(call).get_concrete_function(*arguments)
    return _Model(
        "Keras",
        Signature(specs, names),
        run=lambda tensors: function(*[tensors[spec.name] for spec in specs]),
        keep=model,
    )


def _tensor_spec(name: str, dtype: Any, shape: Any) -> TensorSpec:
    return TensorSpec(name, dtype.name, tuple(shape))


def _class_numbers(outputs: Sequence[NDArray[Any]], label_offset: int) -> Predictions | None:
    """Return class numbers, int64 (batch,), from the first output that tells them.

    That is an integer output with one number a sample, or else the place of the largest of each
    row of a float output (batch, classes). None when there is neither.
    """
    for output in outputs:
        if output.ndim == 1 and np.issubdtype(output.dtype, np.integer):
            integers: Predictions = output.astype(np.int64) - label_offset
            return integers
    for output in outputs:
        if output.ndim == 2 and np.issubdtype(output.dtype, np.floating):
            return np.asarray(np.argmax(output, axis=1) - label_offset)
    return None

"""TensorFlow: frozen graphs (.pb), SavedModel folders and .keras files, on one CPU or GPU.

    frozen graph        feed (NumPy, in place) --> session callable --> NumPy --> class numbers
    SavedModel, Keras   feed --one copy--> concrete function --> tensor --> NumPy --> class numbers

A session reads aligned samples in place. On EfficientNet-Lite0 it answers in 6.6 ms what the same
graph, pruned to a concrete function, answers in 7.6 ms (medians, side by side, on one thread).
"""

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
    parse_options,
)
from mlbench.contracts.errors import RequestError, install_command
from mlbench.contracts.predictions import class_counts, class_reader
from workers.backends.refusals import check_outputs, loading, missing_driver


@dataclass(frozen=True)
class _Model:
    """A loaded model: `run` takes a feed and gives the one chosen output as an array.

    `keep` holds what owns the variables; a function alone does not.
    """

    format: str
    signature: Signature
    run: Callable[[Feed], NDArray[Any]]
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
        model = spec.needed_model
        self._tf = _import_tensorflow()
        self._device = _claim_device(self._tf, spec)
        self._model = _load(self._tf, model, spec.outputs)
        self._threads = spec.threads
        self._classes = class_reader(spec)

    @classmethod
    def inspect(cls, model: str) -> Signature:
        """Read a model's signature; raises RequestError when it cannot be read."""
        tf = _import_tensorflow()
        tf.config.set_visible_devices([], "GPU")
        return _load(tf, model, ()).signature

    def predict(self, feed: Feed) -> Predictions | None:
        """Answer one batch."""
        return self._classes(self._model.run(feed))

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
            f"TensorFlow cannot be imported ({error}): {install_command('tensorflow')}"
        ) from None
    return tensorflow


def _claim_device(tf: Any, spec: WorkerSpec) -> str:
    """Hide every device but the wanted one and return its name; must precede all other use."""
    tf.config.threading.set_intra_op_parallelism_threads(spec.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    if spec.device.kind == "cpu":
        tf.config.set_visible_devices([], "GPU")
        return "cpu"
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        raise RequestError(f"device {spec.device}: {_why_no_gpu(tf)}")
    gpu = gpus[0]  # the process sees only its own
    tf.config.experimental.set_memory_growth(gpu, True)
    if not tf.config.list_logical_devices("GPU"):
        raise RequestError(f"device {spec.device}: TensorFlow {tf.__version__} cannot use this GPU")
    return str(tf.config.experimental.get_device_details(gpu).get("device_name", "GPU"))


def _why_no_gpu(tf: Any) -> str:
    if not tf.test.is_built_with_cuda():
        return (
            f"this TensorFlow {tf.__version__} is built without CUDA: "
            f"pip uninstall tensorflow-cpu; {install_command('tensorflow-gpu')}"
        )
    build = tf.sysconfig.get_build_info()
    wanted = f"CUDA {build.get('cuda_version')} and cuDNN {build.get('cudnn_version')}"
    return missing_driver() or (
        f"TensorFlow {tf.__version__} finds no GPU; it needs the libraries of {wanted}: "
        f"{install_command('tensorflow-gpu')}, and see that nvidia-smi lists the GPU"
    )


def _load(tf: Any, path: str, outputs: Sequence[str]) -> _Model:
    loader = _loader_of(Path(path))
    with loading(path, "TensorFlow"):
        return loader(tf, path, outputs)


def _choose_output(path: str, known: Mapping[str, Any], wanted: Sequence[str]) -> str:
    """Return the output that tells the class: the first wanted, else integer, else first of all.

    `known` maps the outputs' names to their TensorFlow dtypes.
    """
    check_outputs(path, wanted, known)
    integers = (name for name, dtype in known.items() if dtype.is_integer)
    return wanted[0] if wanted else next(integers, next(iter(known)))


def _loader_of(path: Path) -> Callable[[Any, str, Sequence[str]], _Model]:
    if not path.exists():
        raise RequestError(f"model {path}: no such file or folder")
    if (path / "saved_model.pb").is_file():
        return _load_saved_model
    if path.suffix == ".keras":
        return _load_keras
    if path.name == "saved_model.pb":
        raise RequestError(f"model {path}: a SavedModel is a folder: --model {path.parent}")
    if path.suffix == ".pb" and path.is_file():
        return _load_frozen_graph
    raise RequestError(
        f"model {path}: the tensorflow backend takes a frozen graph (.pb), "
        "a SavedModel folder (with a saved_model.pb) or a .keras file"
    )


def _load_frozen_graph(tf: Any, path: str, outputs: Sequence[str]) -> _Model:
    """Load a graph of constants; its inputs are its placeholders.

    Its outputs are the tensors that nothing else uses, and those that are asked for by name.
    """
    graph_def = tf.compat.v1.GraphDef()
    graph_def.ParseFromString(Path(path).read_bytes())
    graph = tf.Graph()
    with graph.as_default():
        tf.compat.v1.import_graph_def(graph_def, name="")
    inputs = [n.outputs[0] for n in graph.get_operations() if n.type == "Placeholder"]
    if not inputs:
        raise RequestError(f"model {path}: not a frozen graph, it has no placeholders for inputs")
    ends = _loose_ends(graph)
    inner = [t for t in _tensors(graph) if t.name in outputs]
    known = {tensor.name: tensor for tensor in [*ends, *inner]}
    chosen = _choose_output(path, {name: t.dtype for name, t in known.items()}, outputs)
    # Without a config of its own, a session takes the threads and devices set for the process.
    answer = tf.compat.v1.Session(graph=graph).make_callable(known[chosen], inputs)
    signature = Signature(
        tuple(_tensor_spec(tensor.name, tensor.dtype, tensor.shape) for tensor in inputs),
        tuple(tensor.name for tensor in ends),
        _class_counts(tf, {tensor.name: tensor for tensor in ends}),
    )
    return _Model(
        "frozen graph",
        signature,
        run=lambda feed: np.asarray(answer(*[feed[tensor.name] for tensor in inputs])),
    )


def _tensors(graph: Any) -> list[Any]:
    return [tensor for operation in graph.get_operations() for tensor in operation.outputs]


def _loose_ends(graph: Any) -> list[Any]:
    computed = [t for t in _tensors(graph) if t.op.type not in ("Placeholder", "Const")]
    return [tensor for tensor in computed if not tensor.consumers()]


def _load_saved_model(tf: Any, path: str, outputs: Sequence[str]) -> _Model:
    """Take the signature `serving_default`, or the only one that there is."""
    loaded = tf.saved_model.load(path)
    names = list(loaded.signatures)
    if "serving_default" not in names and len(names) != 1:
        raise RequestError(
            f"SavedModel {path} needs a signature 'serving_default', or just one; "
            f"it has: {', '.join(names) or 'none'}"
        )
    function = loaded.signatures["serving_default" if "serving_default" in names else names[0]]
    given = function.structured_outputs
    chosen = _choose_output(path, {name: spec.dtype for name, spec in given.items()}, outputs)
    taken = function.structured_input_signature[1]
    inputs = tuple(_tensor_spec(name, spec.dtype, spec.shape) for name, spec in taken.items())
    return _Model(
        "SavedModel",
        Signature(inputs, tuple(given), _class_counts(tf, given)),
        run=lambda feed: np.asarray(
            function(**{name: tf.constant(array) for name, array in feed.items()})[chosen]
        ),
        keep=loaded,
    )


def _load_keras(tf: Any, path: str, outputs: Sequence[str]) -> _Model:
    """Load weights and layers, but no Python code from the file (safe mode)."""
    model = tf.keras.models.load_model(path, compile=False, safe_mode=True)
    given = {tensor.name: tf.as_dtype(tensor.dtype) for tensor in model.outputs}
    place = list(given).index(_choose_output(path, given, outputs))
    inputs = tuple(_tensor_spec(i.name, tf.as_dtype(i.dtype), i.shape) for i in model.inputs)

    def call(*tensors: Any) -> Any:
        results = model(tensors[0] if len(tensors) == 1 else list(tensors), training=False)
        return tf.nest.flatten(results)[place]

    arguments = [tf.TensorSpec(spec.shape, spec.dtype) for spec in inputs]
    function = tf.function(call).get_concrete_function(*arguments)
    return _Model(
        "Keras",
        Signature(inputs, tuple(given), _class_counts(tf, {t.name: t for t in model.outputs})),
        run=lambda feed: np.asarray(function(*[tf.constant(feed[spec.name]) for spec in inputs])),
        keep=model,
    )


def _class_counts(tf: Any, outputs: Mapping[str, Any]) -> dict[str, int]:
    """Return how many classes outputs of scores tell apart; some do not even tell their rank."""
    shapes = {name: tf.TensorShape(output.shape) for name, output in outputs.items()}
    return class_counts(
        _tensor_spec(name, tf.as_dtype(output.dtype), shapes[name])
        for name, output in outputs.items()
        if shapes[name].rank is not None
    )


def _tensor_spec(name: str, dtype: Any, shape: Any) -> TensorSpec:
    if getattr(shape, "rank", 0) is None:
        raise RequestError(f"input {name} has no known number of dimensions: export it with them")
    return TensorSpec(name, dtype.name, tuple(shape))

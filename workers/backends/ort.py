"""ONNX Runtime on CPU, CUDA or TensorRT."""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from mlbench.contracts.backend import (
    Feed,
    Predictions,
    Signature,
    TensorSpec,
    WorkerSpec,
    parse_options,
)
from mlbench.contracts.device import Device
from mlbench.contracts.errors import RequestError, install_command
from mlbench.contracts.predictions import class_counts, class_reader
from workers.backends.refusals import check_outputs, loading

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(bool)": "bool",
}

_KEPT = 32  # batch sizes whose buffers stay on the device
_GPU_PROVIDERS = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


class OrtBackend:
    """One session with the worker's threads on its device.

    Options: `provider` (cuda or tensorrt) on a GPU; `spinning`, whether idle threads of the session
    wait actively (auto: only with more than one thread); `graph` (all, extended, basic, off), how
    far the graph is optimised.
    """

    OPTIONS: ClassVar[Mapping[str, Any]] = {"provider": "cuda", "spinning": "auto", "graph": "all"}
    RUNTIME: ClassVar[tuple[str, str] | None] = ("onnxruntime", "onnxruntime")
    NEEDS_MODEL: ClassVar[bool] = True

    def __init__(self, spec: WorkerSpec) -> None:
        onnxruntime = _import_onnxruntime()
        model = spec.needed_model
        options = parse_options(spec.options, self.OPTIONS, "onnxruntime")
        self._version = onnxruntime.__version__
        self._device = spec.device.name
        self._classes = class_reader(spec)
        providers = _providers(onnxruntime, spec.device, options["provider"])
        session_options = _session_options(onnxruntime, spec.threads, options)
        for name, size in spec.dims.items():  # the graph is optimised for these sizes
            session_options.add_free_dimension_override_by_name(name, size)
        self._session = _open(onnxruntime, model, session_options, providers)
        _check_provider(self._session, providers[0][0])
        known = [output.name for output in self._session.get_outputs()]
        check_outputs(model, spec.outputs, known)
        self._outputs = list(spec.outputs) or _class_output(self._session)
        self._run: Callable[[Feed], Any] = self._run_in_place
        if spec.device.kind == "cuda" and not _no_tensors(self._session).keys() & {*self._outputs}:
            self._run = BoundRun(self._session, self._outputs, "cuda")

    @classmethod
    def inspect(cls, model: str) -> Signature:
        """Read the inputs and outputs of an ONNX file; raises RequestError."""
        onnxruntime = _import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        session = _open(onnxruntime, model, options, [("CPUExecutionProvider", {})])
        inputs = tuple(_tensor_spec(model, tensor) for tensor in session.get_inputs())
        outputs = session.get_outputs()
        known = [_tensor_spec(model, output) for output in outputs if output.type in _DTYPES]
        names = tuple(output.name for output in outputs)
        return Signature(inputs, names, class_counts(known), _no_tensors(session))

    def predict(self, feed: Feed) -> Predictions | None:
        """Run one batch and return its classes, or None when the output has none."""
        return self._classes(self._run(feed))

    def _run_in_place(self, feed: Feed) -> Any:
        """On the CPU the session reads the feed's arrays where they are."""
        return self._session.run(self._outputs, feed)[0]

    def describe(self) -> dict[str, Any]:
        """Return the runtime's version and the provider in use."""
        return {
            "name": "onnxruntime",
            "version": self._version,
            "provider": self._session.get_providers()[0],
            "device": self._device,
        }


class BoundRun:
    """Runs a session with its inputs in buffers on the device, made once for each batch size.

    Without, each run allocates memory on the device for its inputs. What remains is one copy in
    and one out.
    """

    def __init__(self, session: Any, outputs: Sequence[str], device_type: str) -> None:
        self._session, self._outputs = session, tuple(outputs)
        self._device_type = device_type
        self._buffers = functools.lru_cache(maxsize=_KEPT)(self._make_buffers)

    def __call__(self, feed: Feed) -> Any:
        """Return the first output of one batch as an array."""
        shapes = tuple((name, array.shape, array.dtype.str) for name, array in feed.items())
        binding, inputs = self._buffers(shapes)
        for name, array in feed.items():
            inputs[name].update_inplace(array)
        self._session.run_with_iobinding(binding)
        return binding.get_outputs()[0].numpy()

    def _make_buffers(self, shapes: tuple[tuple[str, tuple[int, ...], str], ...]) -> Any:
        import onnxruntime

        binding, inputs = self._session.io_binding(), {}
        for name, shape, dtype in shapes:
            inputs[name] = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                shape, np.dtype(dtype).type, self._device_type, 0
            )
            binding.bind_ortvalue_input(name, inputs[name])
        for name in self._outputs:
            binding.bind_output(name, "cpu")
        return binding, inputs


def _import_onnxruntime() -> Any:
    """Import it so that it tells nobody: its official builds report usage over the network.

    The variable is what stops it from the start; asking it once it is imported would be too late.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _session_options(onnxruntime: Any, threads: int, options: Mapping[str, Any]) -> Any:
    levels = {
        "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
        "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
        "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
        "off": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    }
    if options["graph"] not in levels:
        raise RequestError(f"backend option graph={options['graph']}: one of {', '.join(levels)}")
    if options["spinning"] not in ("auto", "0", "1"):
        raise RequestError(f"backend option spinning={options['spinning']}: one of auto, 0, 1")
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = threads
    session_options.inter_op_num_threads = 1
    session_options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    session_options.graph_optimization_level = levels[options["graph"]]
    spin = threads > 1 if options["spinning"] == "auto" else options["spinning"] == "1"
    session_options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    session_options.log_severity_level = 3
    return session_options


def _open(onnxruntime: Any, model: str, options: Any, providers: list[tuple[str, Any]]) -> Any:
    with loading(model, "ONNX Runtime"):
        return onnxruntime.InferenceSession(model, options, providers=providers)


def _providers(onnxruntime: Any, device: Device, wanted: str) -> list[tuple[str, Any]]:
    """Return the provider list for a device; raises RequestError when it cannot be had."""
    if device.kind == "cpu":
        return [("CPUExecutionProvider", {})]
    if wanted not in _GPU_PROVIDERS:
        raise RequestError(f"backend option provider={wanted}: one of {', '.join(_GPU_PROVIDERS)}")
    name, available = _GPU_PROVIDERS[wanted], onnxruntime.get_available_providers()
    if name not in available:
        raise RequestError(
            f"device {device}: this ONNX Runtime has no {name} (it has {', '.join(available)}); "
            "install its GPU package: pip uninstall onnxruntime; "
            f"{install_command('onnxruntime-gpu')}"
        )
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # finds CUDA and cuDNN where pip packages put them
    settings = {"device_id": "0"}  # the process sees only its own GPU
    # Operators that a GPU provider does not have may run on the CPU; a whole model may not.
    gpu = [(name, settings)]
    if wanted == "tensorrt":
        gpu.append((_GPU_PROVIDERS["cuda"], settings))
    return [*gpu, ("CPUExecutionProvider", {})]


def _check_provider(session: Any, wanted: str) -> None:
    in_use = session.get_providers()
    if in_use[0] != wanted:
        raise RequestError(
            f"ONNX Runtime fell back to {in_use[0]}, {wanted} could not start: its libraries or "
            "the driver are missing or do not match; see the message above and "
            "'mlbench-coordinator doctor'"
        )


def _class_output(session: Any) -> list[str]:
    """Prefer an integer output such as ArgMax: it is the answer, and the least to copy.

    Where no output is a tensor, the first is fetched all the same.
    """
    others = _no_tensors(session)
    outputs = [o for o in session.get_outputs() if o.name not in others] or session.get_outputs()
    classes = [
        output.name for output in outputs if output.type in ("tensor(int64)", "tensor(int32)")
    ]
    return classes[:1] or [outputs[0].name]


def _no_tensors(session: Any) -> dict[str, str]:
    """Return what outputs are that are no tensors of numbers, by name."""
    others = [output for output in session.get_outputs() if output.type not in _DTYPES]
    return {output.name: _kind(output.type) for output in others}


def _kind(type_: str) -> str:
    """Return a word for a type such as seq(map(int64,tensor(float)))."""
    return {"seq": "sequence", "map": "map", "optional": "optional"}.get(
        type_.partition("(")[0], type_
    )


def _tensor_spec(model: str, tensor: Any) -> TensorSpec:
    if tensor.type not in _DTYPES:
        raise RequestError(
            f"{model}: input {tensor.name} is a {tensor.type}, which is not supported"
        )
    shape = tuple(dim if isinstance(dim, int) else None for dim in tensor.shape)
    names = tuple(dim if isinstance(dim, str) else None for dim in tensor.shape)
    return TensorSpec(tensor.name, np.dtype(_DTYPES[tensor.type]).name, shape, names)

"""PyTorch: TorchScript and torch.export (.pt2) files, on one CPU or GPU.

What a model file can do when it is loaded:
- TorchScript archives are read by a C++ reader that builds only TorchScript's own types; no Python
  pickle is run.
- torch.export archives fall back to Python's pickle for some entries. We force weights-only
  loading and refuse archives with pickled objects or compiled code. Their shapes are still parsed
  as expressions, so load only files that you trust.
- Files of `torch.save` are plain pickles and are refused.
"""

import json
import logging
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

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

SIGNATURE_FILE = "signature.json"
SIGNATURE_EXAMPLE = (
    '{"inputs": [{"name": "x", "dtype": "float32", "shape": [null, 3, 224, 224]}], '
    '"outputs": ["y"]}'
)
"""TorchScript does not tell shapes: a file carries them as an extra file of this kind."""

_CODE_IN_EXPORT = ("/data/aotinductor/", "/data/constants/opaque_obj_")


@dataclass(frozen=True)
class _Model:
    """A loaded model: `run` takes tensors in the order of the inputs and gives its outputs."""

    format: str
    signature: Signature
    run: Callable[..., Any]


class TorchBackend:
    """One model in PyTorch, in inference mode, on `threads` threads.

    With several threads OpenMP waits actively, which costs much on cores that are shared: seen
    35 ms a query there, and 1.8 ms with OMP_WAIT_POLICY=PASSIVE in the environment.
    """

    OPTIONS: ClassVar[Mapping[str, Any]] = {}
    RUNTIME: ClassVar[tuple[str, str] | None] = ("torch", "torch")
    NEEDS_MODEL: ClassVar[bool] = True

    def __init__(self, spec: WorkerSpec) -> None:
        parse_options(spec.options, self.OPTIONS, "torch")
        model = spec.needed_model
        self._torch = _import_torch()
        self._on_gpu = spec.device.kind == "cuda"
        self._device = _claim_device(self._torch, spec)
        self._model = _load(self._torch, model, self._device)
        self._inputs = [i.name for i in self._model.signature.inputs]
        self._chosen = _place_of(spec.outputs, self._model.signature.outputs, model)
        self._classes = class_reader(spec)

    @classmethod
    def inspect(cls, model: str) -> Signature:
        """Read a model's signature; raises RequestError when it cannot be read."""
        return _load(_import_torch(), model, "cpu").signature

    def predict(self, feed: Feed) -> Predictions | None:
        """Answer one batch."""
        torch = self._torch
        with torch.inference_mode():
            tensors = [torch.from_numpy(feed[name]).to(self._device) for name in self._inputs]
            results = self._model.run(*tensors)
        outputs = [results] if isinstance(results, torch.Tensor) else list(results)
        answer = _class_output(outputs) if self._chosen is None else outputs[self._chosen]
        return self._classes(answer.cpu().numpy())

    def describe(self) -> dict[str, Any]:
        """Return the version, the model's format, and the device in use."""
        torch = self._torch
        return {
            "name": "torch",
            "version": torch.__version__,
            "format": self._model.format,
            "device": torch.cuda.get_device_name(self._device) if self._on_gpu else "cpu",
            "threads": torch.get_num_threads(),
        }


def _import_torch() -> Any:
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    try:
        import torch
    except ImportError as error:
        raise RequestError(
            f"PyTorch cannot be imported ({error}): {install_command('torch')}"
        ) from None
    # Samples, and a model's weights in its file, are read where they lie; nothing writes to them.
    warnings.filterwarnings("ignore", message="The given (NumPy array|buffer) is not writable")
    return torch


def _claim_device(torch: Any, spec: WorkerSpec) -> str:
    torch.set_num_threads(spec.threads)
    if spec.device.kind == "cpu":
        return "cpu"
    if not torch.cuda.device_count():
        raise RequestError(f"device {spec.device}: {_why_no_gpu(torch)}")
    return "cuda:0"  # the process sees only its own GPU


def _why_no_gpu(torch: Any) -> str:
    if torch.version.cuda is None:
        return (
            f"this PyTorch {torch.__version__} is built without CUDA: "
            "install a CUDA build as https://pytorch.org/get-started tells"
        )
    return missing_driver() or (
        f"PyTorch {torch.__version__} with CUDA {torch.version.cuda} finds no GPU; "
        "see that nvidia-smi lists it and that the driver is new enough for this CUDA"
    )


def _load(torch: Any, path: str, device: str) -> _Model:
    loader = _loader_of(path)
    with loading(path, "PyTorch"):
        return loader(torch, path, device)


def _loader_of(path: str) -> Callable[[Any, str, str], _Model]:
    """Tell the format by what is in the archive, and refuse archives that bring code."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = ["/" + name.partition("/")[2] for name in archive.namelist()]
    except FileNotFoundError:
        raise RequestError(f"model {path}: no such file") from None
    except (OSError, zipfile.BadZipFile):
        raise RequestError(
            f"model {path}: it is damaged, or of another kind: the torch backend takes "
            "TorchScript or torch.export (.pt2) files"
        ) from None
    if "/constants.pkl" in names:
        return _load_torchscript
    if "/models/model.json" in names:
        if any(name.startswith(_CODE_IN_EXPORT) for name in names):
            raise RequestError(f"model {path}: has pickled objects or compiled code; not loaded")
        return _load_export
    raise RequestError(
        f"model {path}: neither TorchScript nor torch.export of a current PyTorch; a checkpoint "
        "of torch.save is no model: save it with torch.export.save or torch.jit.save"
    )


def _load_torchscript(torch: Any, path: str, device: str) -> _Model:
    extra = {SIGNATURE_FILE: ""}
    module = torch.jit.load(path, map_location=device, _extra_files=extra)
    if not extra[SIGNATURE_FILE]:
        raise RequestError(
            f"model {path}: TorchScript tells no input shapes; use torch.export.save, or "
            f"torch.jit.save(..., _extra_files={{'{SIGNATURE_FILE}': '{SIGNATURE_EXAMPLE}'}})"
        )
    signature = Signature.from_dict(json.loads(extra[SIGNATURE_FILE]))
    return _Model("TorchScript", signature, torch.jit.freeze(module.eval()))


def _load_export(torch: Any, path: str, device: str) -> _Model:
    with _raising_what_is_logged():
        program = torch.export.load(path)
    names = program.graph_signature.user_inputs
    values = {n.name: n.meta["val"] for n in program.graph.nodes if n.op == "placeholder"}
    if program.example_inputs[1] or not all(isinstance(values[n], torch.Tensor) for n in names):
        raise RequestError(f"model {path}: export it with tensors as positional arguments only")
    inputs = tuple(_tensor_spec(name, values[name]) for name in names)
    if device != "cpu":
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, device)
    outputs = tuple(str(name) for name in program.graph_signature.user_outputs)
    results = {n.name: n.meta.get("val") for n in program.graph.nodes if n.name in outputs}
    known = [_tensor_spec(n, v) for n, v in results.items() if isinstance(v, torch.Tensor)]
    return _Model("torch.export", Signature(inputs, outputs, class_counts(known)), program.module())


class _Logged(logging.Handler):
    """Keeps the last error that was logged."""

    error: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.error = record.exc_info[1]


@contextmanager
def _raising_what_is_logged() -> Iterator[None]:
    """Raise the cause that torch.export only logs; its own error refers to the log."""
    log, logged = logging.getLogger("torch.export"), _Logged()
    log.addHandler(logged)
    try:
        yield
    except Exception as error:
        raise (logged.error or error) from error
    finally:
        log.removeHandler(logged)


def _tensor_spec(name: str, value: Any) -> TensorSpec:
    shape = tuple(dim if isinstance(dim, int) else None for dim in value.shape)
    names = tuple(None if isinstance(dim, int) else str(dim) for dim in value.shape)
    return TensorSpec(name, str(value.dtype).removeprefix("torch."), shape, names)


def _place_of(wanted: Sequence[str], known: Sequence[str], path: str) -> int | None:
    """Return where the first wanted output stands among the known ones; None for no choice."""
    check_outputs(path, wanted, list(known))
    return known.index(wanted[0]) if wanted else None


def _class_output(outputs: Sequence[Any]) -> Any:
    """Prefer an integer output: it is the class already."""
    return next((o for o in outputs if not o.is_floating_point()), outputs[0])

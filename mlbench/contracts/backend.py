"""What a backend is: one device with one model, that answers batches.

A backend is a class found through the entry-point group `mlbench.backends`. It is constructed in
its own worker process with a `WorkerSpec`, loads its model there, and then serves `predict` calls.
Its module must be cheap to import: the runtime itself is imported when the class is constructed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from mlbench.contracts.device import ANY_CPU, Device
from mlbench.contracts.errors import RequestError
from mlbench.contracts.text import shown

Feed = Mapping[str, NDArray[Any]]
"""The inputs of one batch: input name -> array of shape (batch, ...)."""

Predictions = NDArray[np.int64]
"""Class numbers of one batch, shape (batch,)."""


@dataclass(frozen=True)
class TensorSpec:
    """One input of a model: its name, NumPy dtype name, and shape; None marks a free dimension.

    `dims`: the names that the model gives its dimensions, None where it gives none; it may be
    shorter than the shape.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    dims: tuple[str | None, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        dims = (
            str(self._given(axis) or "?" if size is None else size)
            for axis, size in enumerate(self.shape)
        )
        return f"{self.name}: {self.dtype}({', '.join(dims)})"

    def dim_names(self, axis: int) -> list[str]:
        """Return what a dimension is called: by the model, if it does, and by input and axis."""
        given = self._given(axis)
        return [*([given] if given else []), f"{self.name}.{axis}"]

    def _given(self, axis: int) -> str | None:
        return self.dims[axis] if axis < len(self.dims) else None

    @property
    def is_whole(self) -> bool:
        """Whether it has no batch dimension, so that a query fills the whole tensor.

        A batch dimension is free or 1, and comes first.
        """
        return self.shape[:1] not in ((None,), (1,))

    @property
    def sample_shape(self) -> tuple[int | None, ...]:
        """The shape of what one query feeds: without the batch dimension."""
        return self.shape if self.is_whole else self.shape[1:]


@dataclass(frozen=True)
class WorkerSpec:
    """Everything one worker process needs; sent to it as JSON.

    `feeds` maps each model input to the cache file (.npy, first axis is the sample) that it is
    drawn from. `whole` names those that have no batch dimension; `dims` are the sizes that named
    free dimensions have in all samples. Of a GPU as `device`, the process sees that one alone,
    which is CUDA's number 0 there, whatever its index. `cores` are the logical CPUs to pin to, or
    None. `label_offset` is subtracted from predictions (1 for models with a background class).
    `timetable_fd` and
    `claims_fd` are inherited descriptors: of the requests of the worker's line, and of the claims
    where workers share a line; without claims the worker has a line of its own. `identity`: what
    its messages are known by, another one each time that it is started. `earlier_workers`: how many
    workers the hosts before this one have.
    """

    index: int
    endpoint: str
    backend: str
    identity: str = ""
    options: dict[str, str] = field(default_factory=dict)
    model: str | None = None
    outputs: tuple[str, ...] = ()
    feeds: dict[str, str] = field(default_factory=dict)
    whole: tuple[str, ...] = ()
    dims: dict[str, int] = field(default_factory=dict)
    device: Device = ANY_CPU
    cores: tuple[int, ...] | None = None
    threads: int = 1
    batch_size: int = 1
    batch_timeout_ns: int = 0
    sample_count: int = 1
    label_offset: int = 0
    timetable_fd: int | None = None
    claims_fd: int | None = None
    earlier_workers: int = 0

    @property
    def number(self) -> int:
        """The worker's number among those of all hosts."""
        return self.earlier_workers + self.index

    @property
    def needed_model(self) -> str:
        """The model's path; raises RequestError when there is none."""
        if self.model is None:
            raise no_model(self.backend)
        return self.model

    @property
    def has_batches(self) -> bool:
        """Whether any input has a batch dimension; without, answers cannot be told apart."""
        return not self.feeds or len(self.whole) < len(self.feeds)

    @property
    def inherited(self) -> tuple[int, ...]:
        """The descriptors that the worker's process inherits."""
        return tuple(fd for fd in (self.timetable_fd, self.claims_fd) if fd is not None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, dicts and numbers, as `from_dict` takes them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "WorkerSpec":
        """Rebuild a spec from `to_dict`'s result after a trip through JSON."""
        fields = {
            "device": Device.from_dict(values["device"]),
            "outputs": tuple(values["outputs"]),
            "whole": tuple(values["whole"]),
            "cores": None if values["cores"] is None else tuple(values["cores"]),
        }
        return cls(**{**values, **fields})


_SCORES_OF = {"ArgMax:0": "softmax_tensor:0"}
"""The class numbers of MLPerf's image classifiers and of ours: each the largest of which scores."""


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives; dimension 0 of an input is the batch, where it is free or 1.

    `classes`: how many an output of scores tells apart, where the model says; an output of class
    numbers says nothing. `no_tensors`: what outputs are that are no tensors of numbers, such as
    "sequence"; they can be fetched, but tell no class.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    classes: Mapping[str, int] = field(default_factory=dict)
    no_tensors: Mapping[str, str] = field(default_factory=dict)

    @property
    def listed_outputs(self) -> str:
        """The outputs to choose from, in words."""
        kinds = self.no_tensors
        return ", ".join(f"{n} (a {kinds[n]})" if n in kinds else n for n in self.outputs)

    def tells_no_class(self, wanted: Sequence[str]) -> bool:
        """Say whether the first of these outputs, or all of the model's, are no tensors."""
        chosen = wanted[:1] or self.outputs
        return bool(chosen) and all(name in self.no_tensors for name in chosen)

    def class_count(self, wanted: Sequence[str]) -> int | None:
        """Return how many classes the answers come from; None where the model does not say.

        `wanted`: the outputs that were asked for, the first of which is the answer. Without any a
        backend prefers class numbers to scores.
        """
        chosen = wanted[:1] or self.outputs
        counts = [self.classes.get(_SCORES_OF.get(name, name)) for name in chosen]
        return counts[0] if counts and None not in counts else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, dicts and numbers, as `from_dict` takes them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Signature":
        """Rebuild a signature from `to_dict`'s result after a trip through JSON."""
        inputs = tuple(
            TensorSpec(i["name"], i["dtype"], tuple(i["shape"]), _dims(i.get("dims", ())))
            for i in values["inputs"]
        )
        more = {key: values[key] for key in ("classes", "no_tensors") if key in values}
        return cls(inputs, tuple(values["outputs"]), **more)


def _dims(names: Sequence[Any]) -> tuple[str | None, ...]:
    return tuple(None if name is None else str(name) for name in names)


class Backend(Protocol):
    """One loaded model on one device.

    OPTIONS: the `--backend-option` keys with their defaults; a value's type is its default's.
    RUNTIME: the module that must be importable and the extra that installs it, or None.
    NEEDS_MODEL: whether a model file is required.
    STAMPS_ITS_OWN_TIMES: whether it is `SelfTimed`; without the attribute it is not.
    """

    OPTIONS: ClassVar[Mapping[str, Any]]
    RUNTIME: ClassVar[tuple[str, str] | None]
    NEEDS_MODEL: ClassVar[bool]
    STAMPS_ITS_OWN_TIMES: ClassVar[bool] = False

    def __init__(self, spec: WorkerSpec) -> None:
        """Load the model; raises RequestError when it or the device cannot be had."""

    @classmethod
    def inspect(cls, model: str) -> Signature:
        """Read a model's signature; raises RequestError when it cannot be read."""

    def predict(self, feed: Feed) -> Predictions | None:
        """Answer one batch; None when the model's output is not a class for each sample.

        Blocks until the answer is in host memory. Any exception makes the batch's queries failed.
        """

    def describe(self) -> dict[str, Any]:
        """Return the runtime's name and version and the provider or device really in use."""


class SelfTimed(Backend, Protocol):
    """A backend with a clockwork of its own: its stamps count, and `predict` is not called.

    Only for devices whose times are known without a clock. One that measures could hide its queue.
    `free_ns`: when the device is free, in nanoseconds of the monotonic clock.
    """

    free_ns: int

    def serve(self, start_ns: int, items: int) -> int:
        """Serve a batch from `start_ns` (not before the device is free); return when it is done."""

    def mean_service_ns(self, items: int) -> float:
        """Return the mean nanoseconds of a batch, which stand for those of a warm-up."""


def stamps_its_own_times(backend: type[Backend]) -> bool:
    """Say whether a backend declares that it is `SelfTimed`."""
    return getattr(backend, "STAMPS_ITS_OWN_TIMES", False)


def is_self_timed(backend: Backend) -> TypeGuard[SelfTimed]:
    """Say the same of a backend that is loaded."""
    return stamps_its_own_times(type(backend))


def no_model(backend: str) -> RequestError:
    """Return the error for a backend of this name that needs a model and has none."""
    return RequestError(f"backend '{backend}' needs a model: --model PATH")


def parse_options(
    options: Mapping[str, str], known: Mapping[str, Any], backend: str
) -> dict[str, Any]:
    """Turn `KEY=VALUE` strings into the types of `known`'s defaults.

    Raises RequestError for an unknown key (naming the nearest) or a value that does not parse.
    """
    values = dict(known)
    for key, text in options.items():
        if key not in known:
            raise RequestError(
                f"backend '{backend}' has no option '{shown(key)}'{nearest(key, known)}; "
                f"it has: {', '.join(known) or 'none'}"
            )
        values[key] = _parse_value(key, text, known[key])
    return values


def _parse_value(key: str, text: str, default: Any) -> Any:
    try:
        if isinstance(default, bool):
            return {"1": True, "true": True, "0": False, "false": False}[text.lower()]
        if isinstance(default, tuple):
            return tuple(_finite(type(default[0])(part)) for part in text.split(","))
        return _finite(type(default)(text))
    except (ValueError, KeyError):
        kind = type(default[0] if isinstance(default, tuple) else default).__name__
        raise RequestError(f"backend option {key}={shown(text)}: it is not a {kind}") from None


def _finite(value: Any) -> Any:
    """Return a value as it is; raises ValueError for a number that is infinite or none."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(value)
    return value


def nearest(word: str, known: Mapping[str, Any] | list[str]) -> str:
    """Return ` (did you mean 'X'?)` for the known word closest to `word`, or an empty string."""
    import difflib  # only needed to word an error

    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""

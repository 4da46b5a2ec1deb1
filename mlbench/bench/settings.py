"""What a run was asked for: validated once, frozen, and recorded with the results."""

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from mlbench.arrivals.gamma import DEFAULT_CV
from mlbench.arrivals.kind import ArrivalKind
from mlbench.arrivals.registry import KINDS
from mlbench.bench.profiles import DataFormat, Profile, default_profile, find_profile
from mlbench.contracts.backend import nearest
from mlbench.contracts.errors import RequestError
from mlbench.contracts.text import shown
from mlbench.host.files import why_unreadable
from mlbench.models.formats import backend_of

# From the nanosecond of the clock to four months; nanoseconds in 64 bits hold 292 years.
Seconds = Annotated[float, Field(ge=1e-9, le=1e7)]
# A search in shorter trials would only begin and end them.
Measured = Annotated[float, Field(ge=1e-3, le=1e7)]
# From a query in eleven days, whose schedule still fits, to more than nanoseconds tell apart.
Rate = Annotated[float, Field(ge=1e-6, le=1e12)]
# Processes on a device, or threads in one: more than the largest machine has CPUs.
Parallel = Annotated[int, Field(ge=1, le=1024)]
# Samples are numbered in 32 bits, and counted on from one that is drawn.
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
# JSON readers hold whole numbers in 64 bits.
Seed = Annotated[int, Field(ge=0, lt=2**63)]

# 0 is an empty tensor, such as the past of a text that begins; runtimes count in 32 bits.
DimSize = Annotated[int, Field(ge=0, le=2**31 - 1)]


def _known_kind(name: str) -> str:
    if name not in KINDS:
        near = nearest(name, list(KINDS))
        raise ValueError(f"no such arrivals{near}; there are: {', '.join(KINDS)}")
    return name


KindName = Annotated[str, AfterValidator(_known_kind)]

DATASETS = ("sample", "imagenet", "synthetic", "npz")


class Settings(BaseModel):
    """The settings that `run` and `trial` share; times in seconds.

    `model` None with the backend's default profile stands for the embedded default; `dataset` None
    for a backend that takes no samples.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: str | None = None
    backend: str = "onnxruntime"
    backend_options: Mapping[str, str] = Field(default_factory=dict)
    model: Path | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    dims: Mapping[str, DimSize] = Field(default_factory=dict)
    dataset: Literal["sample", "imagenet", "synthetic", "npz"] | None = None
    dataset_path: Path | None = None
    dataset_list: Path | None = None
    preprocessing: Literal["vgg", "mobilenet"] = "mobilenet"
    data_format: DataFormat = "NCHW"
    label_offset: Annotated[int, Field(gt=-(2**31), lt=2**31)] = 0  # as predictions travel
    accuracy_target: Annotated[float, Field(ge=0, le=1)] | None = None
    skip_bad_images: bool = False
    count: Count = 500
    devices: tuple[str, ...] = ("cpu",)
    workers_per_device: Parallel | None = None
    threads: Parallel | None = None
    batch_size: Annotated[int, Field(ge=1, le=65535)] = 1
    batch_timeout_s: Annotated[float, Field(ge=0, le=60)] = 0.0
    dispatch: Literal["shared", "round-robin"] = "shared"
    start_timeout: Seconds = 300.0
    on_failure: Literal["stop", "continue"] = "stop"
    # Below, gaps are equal but for rounding; above, nearly all are too small for a float.
    arrival_cv: Annotated[float, Field(ge=1e-3, le=100)] = DEFAULT_CV
    arrival_trace: Path | None = None
    percentile: Annotated[float, Field(gt=0, lt=100)] = 99.0
    seed: Seed = Field(default_factory=lambda: secrets.randbits(32))
    skip_accuracy: bool = False
    cluster: str | None = None
    # Hosts are numbered in 16 bits, as workers are.
    hosts: Annotated[int, Field(ge=1, le=65535)] | None = None
    split: Literal["random", "round-robin"] | None = None
    insecure: bool = False

    @property
    def max_latencies_s(self) -> tuple[float, ...]:
        """The latency limits in seconds; what has limits overrides this."""
        return ()

    @property
    def has_accuracy(self) -> bool:
        """Whether every sample is served once to count right answers."""
        return False

    @model_validator(mode="after")
    def _timeout_needs_batches(self) -> Self:
        if self.batch_timeout_s > 0 and self.batch_size == 1:
            raise ValueError("--batch-timeout: only with a --batch-size above 1")
        return self

    @model_validator(mode="after")
    def _hosts_need_a_cluster(self) -> Self:
        given = {"hosts": self.hosts, "split": self.split, "insecure": self.insecure or None}
        for option, value in given.items():
            if self.cluster is None and value is not None:
                raise ValueError(f"--{option}: only with --cluster")
        if self.cluster is not None and self.on_failure == "continue":
            raise ValueError(
                "--on-failure continue: not with --cluster, where a spare host takes the place of "
                "one that is lost"
            )
        return self


_READ_BY = {"arrival_cv": "gamma", "arrival_trace": "trace"}


def _make_kinds(settings: Settings, names: Sequence[str]) -> tuple[ArrivalKind, ...]:
    for field, name in _READ_BY.items():
        if field in settings.model_fields_set and name not in names:
            raise RequestError(f"--{field.replace('_', '-')}: only with '{name}' in --arrivals")
    return tuple(KINDS[name](settings) for name in names)


class RunSettings(Settings):
    """The settings of `run`."""

    _kinds: tuple[ArrivalKind, ...] = ()
    arrivals: tuple[KindName, ...] = ("linear", "exponential")
    max_latency: tuple[Seconds, ...] = (0.010, 0.050, 0.100, 0.200)
    time: Measured = 10.0
    budget: Measured = 150.0
    precision: Annotated[float, Field(gt=0, lt=1)] = 0.02
    output: Path = Path("results.json")

    @field_validator("arrivals", "max_latency")
    @classmethod
    def _each_once(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if not values or len(set(values)) != len(values):
            raise ValueError("expected a list that names each value once")
        return values

    def model_post_init(self, _context: object) -> None:
        """Make the kinds, so that what is wrong with their options is told at once."""
        self._kinds = _make_kinds(self, self.arrivals)

    @property
    def max_latencies_s(self) -> tuple[float, ...]:
        """The latency limits in seconds."""
        return self.max_latency

    @property
    def has_accuracy(self) -> bool:
        """Whether every sample is served once to count right answers."""
        return not self.skip_accuracy

    @property
    def kinds(self) -> tuple[ArrivalKind, ...]:
        """How queries arrive, kind by kind."""
        return self._kinds


class TrialSettings(Settings):
    """The settings of `trial`."""

    _kind: ArrivalKind
    arrivals: KindName = "exponential"
    max_latency: Seconds | None = None
    qps: Rate
    duration: Seconds = 10.0
    raw: Path | None = None

    def model_post_init(self, _context: object) -> None:
        """Make the kind, so that what is wrong with its options is told at once."""
        (self._kind,) = _make_kinds(self, (self.arrivals,))

    @property
    def max_latencies_s(self) -> tuple[float, ...]:
        """The latency limit in seconds, if there is one."""
        return () if self.max_latency is None else (self.max_latency,)

    @property
    def kind(self) -> ArrivalKind:
        """How queries arrive."""
        return self._kind


S = TypeVar("S", bound=Settings)


def make_settings(kind: type[S], given: Mapping[str, Any], environment: Mapping[str, str]) -> S:
    """Complete what was given with its profile and $MODEL_DIR, $DATA_DIR; validate it.

    `given` holds only what the user asked for. Raises RequestError, one line that names the option.
    """
    for path in ("dataset_path", "dataset_list", "arrival_trace"):
        if path in given and (why := why_unreadable(Path(given[path]))):
            raise RequestError(f"{_option(path)} {given[path]}: {why}")
    given = _with_backend(given)
    profile = _choose_profile(given)
    values: dict[str, Any] = {**_profile_values(profile, given, environment), **given}
    if given.get("dataset") == "imagenet" and "dataset_path" not in values:
        _add_environment_path(values, "dataset_path", environment, "DATA_DIR", "")
    if values.get("dataset") == "synthetic":
        values["label_offset"], values["accuracy_target"] = 0, None
    try:
        return kind(**values)
    except ValidationError as error:
        raise RequestError(_one_line(error)) from None


def _with_backend(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what was given with the backend that the model's file tells, if nobody named one."""
    model = given.get("model")
    if not isinstance(model, str | Path) or given.get("backend") or given.get("profile"):
        return given
    backend = backend_of(Path(model))
    return given if backend is None else {**given, "backend": backend}


def _choose_profile(given: Mapping[str, Any]) -> Profile | None:
    if given.get("profile"):
        profile = find_profile(given["profile"])
        backend = given.get("backend", profile.backend)
        if backend != profile.backend:
            raise RequestError(
                f"profile '{profile.name}' is for backend '{profile.backend}', not '{backend}'"
            )
        return profile
    return default_profile(given.get("backend", "onnxruntime"))


def _profile_values(
    profile: Profile | None, given: Mapping[str, Any], environment: Mapping[str, str]
) -> dict[str, Any]:
    if profile is None:
        return {}
    values: dict[str, Any] = {
        "profile": profile.name,
        "backend": profile.backend,
        "dataset": profile.dataset,
        "preprocessing": profile.preprocessing,
        "data_format": profile.data_format,
    }
    if "model" in given and not given.get("profile"):
        return {**values, "profile": None}  # somebody's own model: its images may be the default's
    values["outputs"] = profile.outputs
    values["label_offset"] = profile.label_offset
    if given.get("dataset", profile.dataset) == profile.dataset:
        values["accuracy_target"] = profile.accuracy_target
    if profile.model_file is not None and "model" not in given:
        _add_environment_path(values, "model", environment, "MODEL_DIR", profile.model_file)
    if values["dataset"] == "imagenet" and "dataset_path" not in given:
        _add_environment_path(values, "dataset_path", environment, "DATA_DIR", "")
    return values


def _add_environment_path(
    values: dict[str, Any], key: str, environment: Mapping[str, str], variable: str, file: str
) -> None:
    folder = environment.get(variable)
    if not folder:
        raise RequestError(
            f"{_option(key)} is not given and {variable} is not set: give one of them"
        )
    values[key] = Path(folder, file)


_OPTIONS = {
    "devices": "--device",
    "dims": "--dim",
    "backend_options": "--backend-option",
    "batch_timeout_s": "--batch-timeout",
}


def _option(field: str) -> str:
    return _OPTIONS.get(field, "--" + field.replace("_", "-"))


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return message
    option = _option(str(first["loc"][0]))
    if first["type"] == "missing":
        return f"{option} is needed"
    known = first.get("ctx", {}).get("expected", "")
    given = shown(str(first["input"]))
    if len(first["loc"]) > 1 and isinstance(first["loc"][1], str):  # one of several KEY=VALUE
        given = f"{shown(first['loc'][1])}={given}"
    hint = nearest(given, known.replace("'", "").replace(" or ", ", ").split(", "))
    return f"{option} {given}: {message[0].lower()}{message[1:]}{hint if known else ''}"

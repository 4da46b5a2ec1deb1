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

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PositiveInt = Annotated[int, Field(ge=1)]


def _known_kind(name: str) -> str:
    if name not in KINDS:
        near = nearest(name, list(KINDS))
        raise ValueError(f"no such arrivals{near}; there are: {', '.join(KINDS)}")
    return name


KindName = Annotated[str, AfterValidator(_known_kind)]

DATASETS = ("sample", "imagenet", "synthetic")


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
    dataset: Literal["sample", "imagenet", "synthetic"] | None = None
    dataset_path: Path | None = None
    dataset_list: Path | None = None
    preprocessing: Literal["vgg", "mobilenet"] = "mobilenet"
    data_format: DataFormat = "NCHW"
    label_offset: int = 0
    accuracy_target: float | None = None
    skip_bad_images: bool = False
    count: PositiveInt = 500
    devices: tuple[str, ...] = ("cpu",)
    workers_per_device: PositiveInt | None = None
    threads: PositiveInt | None = None
    batch_size: Annotated[int, Field(ge=1, le=65535)] = 1
    batch_timeout_s: Annotated[float, Field(ge=0, le=60)] = 0.0
    dispatch: Literal["shared", "round-robin"] = "shared"
    start_timeout: Positive = 300.0
    on_failure: Literal["stop", "continue"] = "stop"
    # Below, gaps are equal but for rounding; above, nearly all are too small for a float.
    arrival_cv: Annotated[float, Field(ge=1e-3, le=100)] = DEFAULT_CV
    arrival_trace: Path | None = None
    percentile: Annotated[float, Field(gt=0, lt=100)] = 99.0
    seed: Annotated[int, Field(ge=0)] = Field(default_factory=lambda: secrets.randbits(32))
    skip_accuracy: bool = False

    @property
    def max_latencies_s(self) -> tuple[float, ...]:
        """The latency limits in seconds; what has limits overrides this."""
        return ()

    @model_validator(mode="after")
    def _timeout_needs_batches(self) -> Self:
        if self.batch_timeout_s > 0 and self.batch_size == 1:
            raise ValueError("--batch-timeout: only with a --batch-size above 1")
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
    max_latency: tuple[Positive, ...] = (0.010, 0.050, 0.100, 0.200)
    time: Positive = 10.0
    budget: Positive = 150.0
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
    def kinds(self) -> tuple[ArrivalKind, ...]:
        """How queries arrive, kind by kind."""
        return self._kinds


class TrialSettings(Settings):
    """The settings of `trial`."""

    _kind: ArrivalKind
    arrivals: KindName = "exponential"
    max_latency: Positive | None = None
    qps: Positive
    duration: Positive = 10.0
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
    for path in ("dataset_path", "dataset_list"):
        if path in given and not Path(given[path]).exists():
            raise RequestError(f"--{path.replace('_', '-')} {given[path]}: no such file or folder")
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
    option = "--" + key.replace("_", "-")
    if not folder:
        raise RequestError(f"{option} is not given and {variable} is not set: give one of them")
    values[key] = Path(folder, file)


_OPTIONS = {
    "devices": "--device",
    "backend_options": "--backend-option",
    "batch_timeout_s": "--batch-timeout",
}


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return message
    field = str(first["loc"][0])
    option = _OPTIONS.get(field, "--" + field.replace("_", "-"))
    if first["type"] == "missing":
        return f"{option} is needed"
    known = first.get("ctx", {}).get("expected", "")
    hint = nearest(str(first["input"]), known.replace("'", "").replace(" or ", ", ").split(", "))
    return f"{option} {first['input']}: {message[0].lower()}{message[1:]}{hint if known else ''}"

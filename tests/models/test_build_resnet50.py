import importlib.util
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from optional import ONNXRUNTIME, SAMPLE, SKLEARN, TENSORFLOW

from mlbench.models.metadata import model_metadata
from mlbench.models.resnet50 import VGG_MEAN

ORT = pytest.importorskip("onnxruntime", reason=ONNXRUNTIME)
pytest.importorskip("onnx", reason=SAMPLE)
pytest.importorskip("sklearn", reason=SKLEARN)

SCRIPT = Path(__file__).parents[2] / "tools" / "build_resnet50.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("build_resnet50", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _invoke(tool: ModuleType, *args: str | Path) -> Result:
    return CliRunner().invoke(tool.main, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def built(tool: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small synthetic model and its digits."""
    folder = tmp_path_factory.mktemp("built")
    options = ("--synthetic", "--small", "--output", folder, "--digits", folder / "digits")
    result = _invoke(tool, *options, "--verify")
    assert result.exit_code == 0, result.output
    assert "wrote 500 digits" in result.output
    return folder


@pytest.mark.parametrize("name", ["resnet50_v1.onnx", "resnet50_v1.pb"])
def test_files_are_labelled_synthetic(name: str, built: Path) -> None:
    """Both files say that their weights are synthetic."""
    metadata = model_metadata(built / name)
    assert metadata["weights"] == "synthetic"
    assert metadata["description"].startswith("SYNTHETIC ResNet-50 v1.5")


def test_recognises_the_written_digits(built: Path) -> None:
    """On the written images the model is as often right as its label says, less offset 1."""
    lines = (built / "digits" / "val_map.txt").read_text().split()
    names, labels = lines[::2], np.array(lines[1::2], dtype=int)
    photos = np.stack([cv2.imread(str(built / "digits" / name)) for name in names])
    images = photos[:, 4:68, 4:68].astype(np.float32) - np.array(VGG_MEAN, np.float32)
    session = ORT.InferenceSession(built / "resnet50_v1.onnx")
    feed = {"input_tensor:0": np.ascontiguousarray(images.transpose(0, 3, 1, 2))}
    (classes,) = session.run(["ArgMax:0"], feed)
    right = int((classes - 1 == labels).sum())
    assert right > 450
    assert f"{right}/500" == model_metadata(built / "resnet50_v1.onnx")["held_out_digits_right"]


def test_verify_finds_a_difference(tool: ModuleType, built: Path, tmp_path: Path) -> None:
    """Files of different weights do not pass for one model."""
    pytest.importorskip("tensorflow", reason=TENSORFLOW)
    from mlbench.contracts.errors import RunError

    other = tool.build_synthetic(8, 64)
    tool.write_files(other, tmp_path)
    (tmp_path / "resnet50_v1.onnx").write_bytes((built / "resnet50_v1.onnx").read_bytes())
    with pytest.raises(RunError, match="disagree"):
        tool.verify_files(tmp_path, 64)


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--synthetic", "--weights", "a.pth"),
        ("--weights", "a.pth", "--small"),
        ("--weights", "a.pth", "--digits", "folder"),
        ("--weights", "none.pth"),
        ("--synthetic", "--small", "--output", SCRIPT / "below_a_file"),
    ],
)
def test_wrong_requests(options: tuple[str | Path, ...], tool: ModuleType) -> None:
    """What can't be done is one line that begins with error, and exit status 2."""
    result = _invoke(tool, *options)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in result.output

import re

import pytest

from mlbench.models.formats import backend_of, why_no_model

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 7\n"


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("m.onnx", "onnxruntime"),
        ("m.ort", "onnxruntime"),
        ("m.pb", "tensorflow"),
        ("m.keras", "tensorflow"),
        ("M.KERAS", "tensorflow"),
        ("m.pt2", "torch"),
        ("m.pt", "torch"),
        ("m.pth", "torch"),
        ("m.bin", None),
        ("m", None),
    ],
)
def test_a_name_tells_the_backend(tmp_path, name, backend):
    """The suffix says who serves a file, whether it is there or not."""
    assert backend_of(tmp_path / name) == backend


def test_a_folder_with_a_saved_model_is_tensorflows(tmp_path):
    """A SavedModel is known by what is in its folder."""
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    assert backend_of(tmp_path) == "tensorflow"


@pytest.mark.parametrize(
    ("name", "content", "backend", "why"),
    [
        ("m.onnx", b"", "onnxruntime", "it is empty"),
        ("m.onnx", LFS, "onnxruntime", "it is a Git LFS pointer, not the model .*git lfs pull"),
        ("m.pt2", LFS, "torch", "it is a Git LFS pointer"),
        ("m.xyz", LFS, "somebodys", "it is a Git LFS pointer"),
        ("m.onnx", b"\n<!DOCTYPE html><html>", "onnxruntime", "it is a web page"),
        ("m.onnx", b"\x1f\x8b\x08", "onnxruntime", "it is packed with gzip: unpack it first"),
        ("m.keras", b"PK", "onnxruntime", "not for backend 'onnxruntime' but for --backend tens"),
        ("m.tflite", b"TFL3", "tensorflow", "LiteRT .TFLite. file, which no backend takes"),
        ("m.h5", b"\x89HDF", "tensorflow", r"save it with model\.save\('NAME\.keras'\)"),
    ],
)
def test_what_is_plainly_no_model_is_told(tmp_path, name, content, backend, why):
    """A pointer, a page, a packed or foreign file is known by how it begins or is called."""
    path = tmp_path / name
    path.write_bytes(content)
    assert why_no_model(path, backend) is not None
    assert re.search(why, why_no_model(path, backend))


@pytest.mark.parametrize(
    ("name", "backend"), [("m.pb", "onnxruntime"), ("m.tflite", "somebodys"), ("m", "torch")]
)
def test_what_may_be_a_model_passes(tmp_path, name, backend):
    """ONNX files may be called .pb, and which formats others' backends take is not known."""
    path = tmp_path / name
    path.write_bytes(b"\x08\x07")
    assert why_no_model(path, backend) is None


def test_a_folder_is_a_saved_model_or_none(tmp_path):
    """A folder without saved_model.pb is told so, and one whose weights are pointers names them."""
    assert "no SavedModel" in why_no_model(tmp_path, "onnxruntime")
    assert why_no_model(tmp_path, "somebodys") is None
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    assert why_no_model(tmp_path, "tensorflow") is None
    (tmp_path / "variables" / "variables.data-00000-of-00001").write_bytes(LFS)
    assert why_no_model(tmp_path, "tensorflow").startswith("its variables/variables.data-00000")

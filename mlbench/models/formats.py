"""What kind of model a path holds, and what is plainly no model; nothing is loaded.

| found                                          | backend     |
|------------------------------------------------|-------------|
| a folder with `saved_model.pb`; `.pb`, `.keras`| tensorflow  |
| `.pt2`, `.pt`, `.pth`                          | torch       |
| `.onnx`, `.ort`                                | onnxruntime |
"""

from pathlib import Path

_BY_SUFFIX = {
    ".onnx": "onnxruntime",
    ".ort": "onnxruntime",
    ".pb": "tensorflow",
    ".keras": "tensorflow",
    ".pt2": "torch",
    ".pt": "torch",
    ".pth": "torch",
}
_NOT_SERVED = {
    ".h5": "a Keras file of the old kind: save it with model.save('NAME.keras')",
    ".tflite": "a LiteRT (TFLite) file, which no backend takes: export it to ONNX",
    ".safetensors": "weights without a network: export the model to ONNX or with torch.export",
    ".gguf": "a llama.cpp file, which no backend takes",
    ".engine": "a TensorRT engine, which no backend takes: give the ONNX file that it is made of",
    ".plan": "a TensorRT engine, which no backend takes: give the ONNX file that it is made of",
}
_HEAD_BYTES = 512  # enough to tell a pointer, a page or an archive by how it begins
_LFS = b"version https://git-lfs.github.com/spec/"
_PAGES = (b"<!doctype html", b"<html")
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


def backend_of(model: Path) -> str | None:
    """Return the backend that serves such a model; None where the path does not tell."""
    if _is_file(model / "saved_model.pb"):
        return "tensorflow"
    return _BY_SUFFIX.get(model.suffix.lower())


def why_no_model(model: Path, backend: str) -> str | None:
    """Return why a readable path is plainly no model, and what to do; None where it may be one.

    Which formats there are is known of our own backends only; others may take what they like.
    """
    if backend in _BY_SUFFIX.values() and (why := _why_not_for(model, backend)):
        return why
    return _why_no_weights(model) if model.is_dir() else _why_no_content(_head(model))


def _why_not_for(model: Path, backend: str) -> str | None:
    other = backend_of(model)
    # An ONNX model may be called .pb: it was usual once.
    if other not in (None, backend) and model.suffix != ".pb":
        return f"it is not for backend '{backend}' but for --backend {other}"
    if model.is_dir():
        return None if other else "it is a folder, but no SavedModel: it has no saved_model.pb"
    if model.suffix.lower() in _NOT_SERVED:
        return f"it is {_NOT_SERVED[model.suffix.lower()]}"
    head = _head(model)
    packed = (name for magic, name in _PACKED.items() if head.startswith(magic))
    return next((f"it is packed with {name}: unpack it first" for name in packed), None)


def _why_no_weights(folder: Path) -> str | None:
    for part in (folder / "saved_model.pb", *sorted(folder.glob("variables/variables.*"))):
        if part.is_file() and (why := _why_no_content(_head(part))):
            return f"its {part.relative_to(folder)}: {why}"
    return None


def _why_no_content(head: bytes) -> str | None:
    if not head:
        return "it is empty"
    if head.startswith(_LFS):
        return "it is a Git LFS pointer, not the model itself: run 'git lfs pull' in its repository"
    if head.lstrip().lower().startswith(_PAGES):
        return "it is a web page, not a model: download the file itself"
    return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, or a folder that is closed to us
        return False


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b"?"  # whoever loads it tells why

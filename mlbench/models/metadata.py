"""Reading back what a model file says about itself, without any runtime."""

import io
import json
from pathlib import Path

from mlbench.models.graphdef_writer import METADATA_NODE
from mlbench.models.protobuf import fields_of

_MODEL_PROPS = 14  # ModelProto.metadata_props in onnx.proto
_NODES = 1  # GraphDef.node


def model_metadata(path: Path) -> dict[str, str]:
    """Return the key and value strings stored in an `.onnx` or a frozen `.pb` file.

    Empty when there are none, or the file is of another kind or can't be read: a model need not
    say anything about itself. Files made by this project have `description` and `weights`, which
    is "pretrained", "checkpoint" or "synthetic".
    """
    readers = {".onnx": _onnx_props, ".pb": _graphdef_note}
    try:
        return readers[path.suffix](path)
    except (KeyError, OSError, ValueError):
        return {}


def _onnx_props(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        entries = list(fields_of(file, path.stat().st_size, _MODEL_PROPS))
    return {_text(entry, 1): _text(entry, 2) for entry in entries}


def _graphdef_note(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        for node in fields_of(file, path.stat().st_size, _NODES):
            if _text(node, 1) == METADATA_NODE:
                return _note(node)
    return {}


def _note(node: bytes) -> dict[str, str]:
    for entry in _values(node, 5):
        if _text(entry, 1) == "value":
            (tensor,) = _values(_values(entry, 2)[0], 8)
            return dict(json.loads(_text(tensor, 8)))
    return {}


def _values(message: bytes, number: int) -> list[bytes]:
    return list(fields_of(io.BytesIO(message), len(message), number))


def _text(message: bytes, number: int) -> str:
    return b"".join(_values(message, number)).decode()

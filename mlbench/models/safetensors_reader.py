"""Reading `.safetensors` files: a JSON header, then the numbers, nothing to run.

Format: https://github.com/huggingface/safetensors#format
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from mlbench.contracts.errors import RequestError
from mlbench.models.unpickle import Weights

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}


def read_safetensors(path: Path) -> Weights:
    """Return the tensors by name; raises RequestError when the file is not whole and plain."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    try:
        header: dict[str, Any] = json.loads(content[8:start])
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        return {name: _tensor(content, start, entry) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(
            f"{path} is not a readable .safetensors file ({type(error).__name__}: {error}); "
            "save it again, in float32"
        ) from None


def _tensor(content: bytes, start: int, entry: dict[str, Any]) -> np.ndarray[Any, Any]:
    dtype = np.dtype(_DTYPES[entry["dtype"]])
    begin, end = entry["data_offsets"]
    count = math.prod(entry["shape"])
    if end - begin != count * dtype.itemsize or begin < 0:
        raise ValueError(f"{entry['shape']} does not fit {begin}..{end}")
    values = np.frombuffer(content, dtype, count, start + begin)
    return values.reshape(entry["shape"]).copy()

"""The frames between coordinator and workers.

Every frame is a header and a body. Data bodies are packed records, so that a thousand queries cost
as much to send as one. Control bodies are msgpack maps. Nothing is ever unpickled.

    coordinator -> worker   REQUESTS     header (kind, trial)   body: how many the line has
    worker -> coordinator   COMPLETIONS  header (kind, trial)   body: COMPLETION records
    both ways               CONTROL      header (kind, 0)       body: {"type": ..., ...}

A trial begins with the first REQUESTS, which every worker confirms with `begun`; then `go` tells
all of them when it starts. To end it early the coordinator sends `close`, which they answer with
`closed` after their last COMPLETIONS.

Nobody's bytes are trusted: `unpack` raises ValueError for whatever is not such a frame, of this
version, with the fields of its kind. Whether its figures can be true is looked at where it is known
what was asked (`mlbench/pool/answers.py`).
"""

import math
import struct
from typing import Any, NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

VERSION = 1
"""Of the protocol, in every frame; a frame of another one is refused."""

REQUESTS, COMPLETIONS, CONTROL = 1, 2, 3

_MARK = b"mlb"
HEADER = struct.Struct("<3sBIq")  # the mark, the version, the kind, the trial
_KNOWN = struct.Struct("<QQ")

COMPLETION = np.dtype(
    [
        ("id", "<u4"),
        ("prediction", "<i4"),  # class number, -1 when there is none
        ("start_ns", "<i8"),
        ("done_ns", "<i8"),
        ("batch", "<u4"),  # size of the batch that the query was served in
        ("status", "<u4"),
    ]
)

MOST_ANSWERS = 1 << 20
"""In one frame, of 32 MiB: at a million queries a second what a worker has ready in a second."""

MOST_CONTROL_BYTES = 1 << 16
"""A control message is a few numbers, or a description or a reason in words."""

MOST_BYTES = HEADER.size + MOST_ANSWERS * COMPLETION.itemsize

LOST, COMPLETED, FAILED = 0, 1, 2
"""Status of a query. LOST is what it stays at when no answer ever came."""

_CONTROLS: dict[str, dict[str, type]] = {
    "ready": {"backend": dict},  # loaded; how the backend describes itself
    "warm_up": {"seconds": float},
    "warm": {"service_ns": float, "slowest_ns": float, "first_ns": float},
    "error": {"message": str, "is_final": bool, "is_request": bool},
    "begun": {"trial": int},
    "go": {"trial": int, "start_ns": int},
    "close": {"trial": int, "end": int},
    "closed": {"trial": int},
    "stop": {},
}
"""For each type of control message the fields that it has, and no others."""


class Frame(NamedTuple):
    """A received frame; `body` is (known, queries) for requests, COMPLETION records or a dict."""

    kind: int
    trial: int
    body: Any


def pack_requests(trial: int, known: int, queries: int) -> bytes:
    """Tell a worker of requests: its line's first `known`, of `queries` at most.

    What they serve and when they are due stands in the line's timetable.
    """
    return _header(REQUESTS, trial) + _KNOWN.pack(known, queries)


def pack_completions(trial: int, completions: NDArray[np.void]) -> bytes:
    """Encode COMPLETION records, shape (n,), 1 to MOST_ANSWERS of them."""
    return _header(COMPLETIONS, trial) + completions.tobytes()


def pack_control(type_: str, **fields: Any) -> bytes:
    """Encode a control message of the given type."""
    return _header(CONTROL, 0) + bytes(msgpack.packb({"type": type_, **fields}))


def _header(kind: int, trial: int) -> bytes:
    return HEADER.pack(_MARK, VERSION, kind, trial)


def unpack(frame: bytes) -> Frame:
    """Decode a frame; raises ValueError, in a line, when it is none of the three kinds."""
    if len(frame) < HEADER.size:
        raise ValueError(f"a frame of {len(frame)} bytes is too short")
    mark, version, kind, trial = HEADER.unpack_from(frame)
    if mark != _MARK:
        raise ValueError("a frame without the mark of this protocol")
    if version != VERSION:
        raise ValueError(f"a frame of version {version} of the protocol, this is version {VERSION}")
    if kind == REQUESTS:
        return Frame(kind, trial, _unpack_known(frame[HEADER.size :]))
    if kind == COMPLETIONS:
        return Frame(kind, trial, _unpack_completions(frame))
    if kind == CONTROL:
        return Frame(kind, trial, _unpack_control(frame[HEADER.size :]))
    raise ValueError(f"a frame of unknown kind {kind}")


def _unpack_known(body: bytes) -> tuple[int, int]:
    if len(body) != _KNOWN.size:
        raise ValueError("a frame of requests says how many are known, and of how many")
    known, queries = _KNOWN.unpack(body)
    if not 0 < known <= queries:
        raise ValueError(f"a frame of requests where {known} of {queries} are known")
    return known, queries


def _unpack_completions(frame: bytes) -> NDArray[np.void]:
    records, rest = divmod(len(frame) - HEADER.size, COMPLETION.itemsize)
    if rest or not 0 < records <= MOST_ANSWERS:
        raise ValueError(f"a frame of {records} answers and {rest} bytes more")
    return np.frombuffer(frame, COMPLETION, offset=HEADER.size)


def _unpack_control(body: bytes) -> Any:
    if len(body) > MOST_CONTROL_BYTES:
        raise ValueError(f"a control message of {len(body)} bytes")
    try:
        message = msgpack.unpackb(body)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ValueError(f"a control message that cannot be read: {error}") from None
    type_ = message.get("type") if isinstance(message, dict) else None
    fields = _CONTROLS.get(type_) if isinstance(type_, str) else None
    if fields is None:
        raise ValueError("a control message of no known type")
    if message.keys() - {"type"} != fields.keys():
        raise ValueError(f"a control message '{type_}' with other fields than it has")
    for name, kind in fields.items():
        if not _is_a(message[name], kind):
            raise ValueError(f"a control message '{type_}' whose {name} is no {kind.__name__}")
    return message


def _is_a(value: Any, kind: type) -> bool:
    """Whether a value is of this type; a whole number is a float too, and neither is a bool."""
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is kind

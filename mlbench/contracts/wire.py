"""The frames between coordinator and workers.

Every frame is a header and a body. Data bodies are packed records, so that a thousand queries cost
as much to send as one. Control bodies are msgpack maps. Nothing is ever unpickled.

    coordinator -> worker   REQUESTS     header (kind, trial)   body: how many the line has
    worker -> coordinator   COMPLETIONS  header (kind, trial)   body: COMPLETION records
    both ways               CONTROL      header (kind, 0)       body: {"type": ..., ...}

A trial begins with the first REQUESTS, which every worker confirms with `begun`; then `go` tells
all of them when it starts. To end it early the coordinator sends `close`, which they answer with
`closed` after their last COMPLETIONS.
"""

import struct
from typing import Any, NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

REQUESTS, COMPLETIONS, CONTROL = 1, 2, 3

HEADER = struct.Struct("<qq")
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

HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS = 200, 1500
"""A peer that answers no heartbeat for this long is gone; ZeroMQ's own thread answers them."""

LOST, COMPLETED, FAILED = 0, 1, 2
"""Status of a query. LOST is what it stays at when no answer ever came."""


class Frame(NamedTuple):
    """A received frame; `body` is (known, queries) for requests, COMPLETION records or a dict."""

    kind: int
    trial: int
    body: Any


def pack_requests(trial: int, known: int, queries: int) -> bytes:
    """Tell a worker of requests: its line's first `known`, of `queries` at most.

    What they serve and when they are due stands in the line's timetable.
    """
    return HEADER.pack(REQUESTS, trial) + _KNOWN.pack(known, queries)


def pack_completions(trial: int, completions: NDArray[np.void]) -> bytes:
    """Encode COMPLETION records, shape (n,)."""
    return HEADER.pack(COMPLETIONS, trial) + completions.tobytes()


def pack_control(type_: str, **fields: Any) -> bytes:
    """Encode a control message of the given type."""
    return HEADER.pack(CONTROL, 0) + bytes(msgpack.packb({"type": type_, **fields}))


def unpack(frame: bytes) -> Frame:
    """Decode a frame; raises ValueError when it is none of the three kinds."""
    if len(frame) < HEADER.size:
        raise ValueError(f"a frame of {len(frame)} bytes is too short")
    kind, trial = HEADER.unpack_from(frame)
    if kind == REQUESTS:
        return Frame(kind, trial, _unpack_known(frame[HEADER.size :]))
    if kind == COMPLETIONS:
        return Frame(kind, trial, np.frombuffer(frame, COMPLETION, offset=HEADER.size))
    if kind == CONTROL:
        return Frame(kind, trial, _unpack_control(frame[HEADER.size :]))
    raise ValueError(f"a frame of unknown kind {kind}")


def _unpack_known(body: bytes) -> tuple[int, int]:
    if len(body) != _KNOWN.size:
        raise ValueError("a frame of requests says how many are known, and of how many")
    known, queries = _KNOWN.unpack(body)
    return known, queries


def _unpack_control(body: bytes) -> dict[str, Any]:
    message = msgpack.unpackb(body)
    if not isinstance(message, dict) or "type" not in message:
        raise ValueError("a control frame without a type")
    return message

"""The frames between coordinator and workers.

Every message has three parts after the routing identity: a kind byte, a header, a body. Data bodies
are packed NumPy records, so that a thousand queries cost as much to send as one. Control bodies are
msgpack maps. Nothing is ever unpickled.

    coordinator -> worker   REQUESTS     header (trial, sent_ns)   body: REQUEST records
    worker -> coordinator   COMPLETIONS  header (trial, 0)         body: COMPLETION records
    both ways               CONTROL      header empty              body: {"type": ..., ...}
"""

import struct
from typing import Any

import msgpack
import numpy as np

REQUESTS = b"R"
COMPLETIONS = b"C"
CONTROL = b"M"

HEADER = struct.Struct("<qq")

REQUEST = np.dtype([("id", "<u4"), ("sample", "<u4"), ("due_ns", "<i8")])
"""One query: its number in the trial, the sample to serve, when it is due (monotonic clock)."""

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

LOST, COMPLETED, FAILED = 0, 1, 2
"""Status of a query. LOST is what it stays at when no answer ever came."""


def pack_control(type_: str, **fields: Any) -> bytes:
    """Encode a control message of the given type."""
    return bytes(msgpack.packb({"type": type_, **fields}))


def unpack_control(body: bytes) -> dict[str, Any]:
    """Decode a control message; raises ValueError when it is not a map with a type."""
    message = msgpack.unpackb(body)
    if not isinstance(message, dict) or "type" not in message:
        raise ValueError("control message without a type")
    return message

"""Protocol Buffers' wire format, as much as model files need, without a schema compiler.

A message is a run of fields, each a key (number << 3 | wire type) and a value
(https://protobuf.dev/programming-guides/encoding). Messages are encoded by joining fields.
"""

from collections.abc import Iterator
from typing import IO

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def varint(value: int) -> bytes:
    """Encode an integer; negative ones as the two's complement of 64 bits."""
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def int_field(number: int, value: int) -> bytes:
    """Encode an integer, boolean or enum field."""
    return varint(number << 3 | _VARINT) + varint(value)


def bytes_field(number: int, value: bytes | str) -> bytes:
    """Encode a string, bytes or message field."""
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | _BYTES) + varint(len(raw)) + raw


def packed_field(number: int, values: list[int]) -> bytes:
    """Encode a packed repeated integer field."""
    return bytes_field(number, b"".join(map(varint, values)))


def fields_of(file: IO[bytes], size: int, wanted: int) -> Iterator[bytes]:
    """Yield each bytes field numbered `wanted` of the message in the next `size` bytes.

    The values of other fields are skipped unread. Raises ValueError when it is not a message.
    """
    end = file.tell() + size
    while file.tell() < end:
        key = _read_varint(file)
        number, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            _read_varint(file)
            continue
        if wire_type not in (_FIXED64, _BYTES, _FIXED32):
            raise ValueError(f"wire type {wire_type}")
        length = {_FIXED64: 8, _FIXED32: 4}.get(wire_type) or _read_varint(file)
        if file.tell() + length > end:
            raise ValueError("a field is longer than its message")
        if number == wanted and wire_type == _BYTES:
            yield file.read(length)
        else:
            file.seek(length, 1)


def _read_varint(file: IO[bytes]) -> int:
    value = shift = 0
    while shift < 70:
        byte = file.read(1)
        if not byte:
            raise ValueError("the file ends inside a number")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
        shift += 7
    raise ValueError("a number is longer than 64 bits")

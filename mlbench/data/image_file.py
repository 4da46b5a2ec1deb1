"""From an image file to its pixels, whatever the file really is.

Nothing is decoded before its header tells how large it is: a PNG of 120 kB can hold a thousand
million pixels, which take 6 GB of memory and 20 s.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mlbench.host.files import special_kind

_MOST_PIXELS = 2**28 // 3
"""Of one image: a quarter of a GiB in RGB, which is where Pillow begins to warn, too. Decoding
takes twice that in memory, on each core."""

_MOST_TIMES_LONGER = 1000
"""One side than the other: scaled to a short side of 256 it has 66 million pixels."""

_MOST_SCANS = 100
"""Of one JPEG. Each takes a pass over the whole image, 0.1 s for the largest; encoders make ten."""

_MOST_BYTES = 2**30  # of one file: more than the largest image takes without compression

_NO_IMAGE = "corrupt, or not a JPEG or PNG image"
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_START_OF_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of a frame, which tell its size
_BARE = {0x00, 0x01, *range(0xD0, 0xDA)}  # markers without a length, and no marker at all


@dataclass(frozen=True)
class _Header:
    width: int
    height: int
    scans: int = 1

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def longer(self) -> float:
        """How many times as long as the short side the long one is."""
        return max(self.width, self.height) / min(self.width, self.height)


class BadImageError(Exception):
    """A file that is not a whole image; the message names it and says why."""


def file_state(file: Path) -> str:
    """Return what changes when a file does; raises BadImageError when it is no plain file."""
    try:
        found = file.stat()
    except OSError as error:
        raise BadImageError(f"{file}: {error.strerror}") from None
    _check_plain(file, found)
    return f"{found.st_size} {found.st_mtime_ns}"


def read_image(file: Path) -> NDArray[np.uint8]:
    """Decode a JPEG or PNG file to upright BGR, uint8 (h, w, 3).

    The content decides, not the name. Grey and CMYK become BGR; an EXIF orientation is applied.
    Raises BadImageError when the file cannot be read, is cut short, is too large or
    is no image.
    """
    data = _read(file)
    flaw = _flaw(data)
    image = None if flaw else _decode(data)
    if image is None:
        raise BadImageError(f"{file}: {flaw or _NO_IMAGE}")
    return image


def _flaw(data: bytes) -> str | None:
    """Return why a file's content is not decoded; None when it may be."""
    if not data:
        return "the file is empty"
    if _is_cut_short(data):
        return "the JPEG is cut short (no end marker)"
    header = _header(data)
    if header is None or not header.pixels:
        return _NO_IMAGE
    if header.pixels > _MOST_PIXELS:
        return f"{header.pixels:,} pixels, more than the {_MOST_PIXELS:,} that are decoded"
    if header.longer > _MOST_TIMES_LONGER:
        return f"too long and thin: one side is {header.longer:,.0f} times the other"
    if header.scans > _MOST_SCANS:
        return f"a JPEG of {header.scans:,} scans, more than the {_MOST_SCANS} that are decoded"
    return None


def _read(file: Path) -> bytes:
    """Read a plain file; opening never waits, as it would for a writer to a FIFO."""
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
            _check_plain(file, os.fstat(opened.fileno()))
            return opened.read()
    except OSError as error:
        raise BadImageError(f"{file}: {error.strerror}") from None


def _check_plain(file: Path, found: os.stat_result) -> None:
    if kind := special_kind(found.st_mode):
        raise BadImageError(f"{file}: is {kind}, not an image")
    if found.st_size > _MOST_BYTES:
        raise BadImageError(f"{file}: larger than {_MOST_BYTES:,} bytes, so no image")


def _header(data: bytes) -> _Header | None:
    """Read what a JPEG or PNG tells before its pixels; None when it is neither."""
    try:
        if data.startswith(_PNG) and data[12:16] == b"IHDR":
            width, height = struct.unpack_from(">II", data, 16)
            return _Header(width, height)
        return _jpeg_header(data) if data.startswith(_JPEG) else None
    except struct.error:  # the header is cut short
        return None


def _jpeg_header(data: bytes) -> _Header | None:
    """Go from marker to marker, as libjpeg does, to the first frame and the first scan."""
    at, frame = len(_JPEG), 0
    while (at := data.find(b"\xff", at)) >= 0:
        (marker,) = struct.unpack_from("B", data, at + 1)
        if marker in _FRAMES and not frame:
            frame = at
        if marker == _START_OF_SCAN[1] and frame:
            height, width, colours = struct.unpack_from(">HHB", data, frame + 5)
            (of_first_scan,) = struct.unpack_from("B", data, at + 4)
            is_one_scan = data[frame + 1] not in _PROGRESSIVE and of_first_scan == colours
            return _Header(width, height, 1 if is_one_scan else data.count(_START_OF_SCAN))
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _BARE:
            at += 2
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None


def _decode(data: bytes) -> NDArray[Any] | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # raised in place of None when the header asks for an absurd size
        return None


def _is_cut_short(data: bytes) -> bool:
    """Tell a JPEG whose last scan never ends: older OpenCV fills the rest with grey.

    Inside a scan 0xFF is always followed by 0x00 or a restart marker (ITU-T T.81, B.1.1.5), so the
    end marker FF D9 after the last start of scan FF DA is the end of the image. What programs
    append after it does no harm.
    """
    if not data.startswith(_JPEG) or data.endswith(_END):
        return False
    return data.find(_END, data.rfind(_START_OF_SCAN)) < 0

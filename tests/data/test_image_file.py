"""Reading image files: what decodes, against Pillow, and what is refused."""

import os
import socket
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pictures import smooth_picture
from PIL import Image

from mlbench.data.image_file import BadImageError, file_state, read_image


def png(width: int, height: int, pixels: bytes = b"") -> bytes:
    """Return a grey PNG that says it has this size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def jpeg_of_size(width: int, height: int) -> bytes:
    """Return a small JPEG whose header says another size, behind a fill byte."""
    buffer = BytesIO()
    smooth_picture(16, 16).save(buffer, "JPEG")
    data = buffer.getvalue()
    frame = data.index(b"\xff\xc0")
    size = struct.pack(">HH", height, width)
    return data[:frame] + b"\xff" + data[frame : frame + 5] + size + data[frame + 9 :]


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_colours_decode_as_in_pillow(tmp_path: Path, mode: str, progressive: bool) -> None:
    """Grey, colour and (inverted) CMYK JPEGs decode to Pillow's RGB, within two levels."""
    file = tmp_path / "a.JPEG"
    smooth_picture(300, 260).convert(mode).save(file, "JPEG", progressive=progressive)
    expected = np.asarray(Image.open(file).convert("RGB"), dtype=int)
    assert np.abs(read_image(file)[:, :, ::-1] - expected).max() <= 2


def test_ycck_decodes_as_in_pillow(tmp_path: Path) -> None:
    """A CMYK JPEG whose Adobe marker says YCCK decodes to Pillow's RGB, within two levels."""
    buffer = BytesIO()
    smooth_picture(300, 260).convert("CMYK").save(buffer, "JPEG")
    data = bytearray(buffer.getvalue())
    data[data.index(b"Adobe") + 11] = 2  # the marker's colour transform: 0 is CMYK, 2 YCCK
    file = tmp_path / "a.JPEG"
    file.write_bytes(data)
    expected = np.asarray(Image.open(file).convert("RGB"), dtype=int)
    assert np.abs(read_image(file)[:, :, ::-1] - expected).max() <= 2


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_png_named_jpeg_decodes(tmp_path: Path, mode: str) -> None:
    """The content decides what a file is, not its name."""
    file = tmp_path / "a.JPEG"
    picture = smooth_picture(300, 260).convert(mode)
    picture.save(file, "PNG")
    expected = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(read_image(file)[:, :, ::-1], expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    """All eight orientations of EXIF decode upright, as Pillow's exif_transpose has them."""
    from PIL import ImageOps

    file = tmp_path / "a.JPEG"
    exif = Image.Exif()
    exif[0x0112] = orientation
    smooth_picture(300, 260).save(file, "JPEG", exif=exif.tobytes())
    upright = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    np.testing.assert_array_equal(read_image(file)[:, :, ::-1], upright)


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("progressive", [False, True])
def test_file_cut_short_is_bad(tmp_path: Path, kept: float, form: str, progressive: bool) -> None:
    """A file that ends early is bad and named, not filled up with grey."""
    file = tmp_path / "cut.JPEG"
    smooth_picture(300, 260).save(file, form, progressive=progressive)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(BadImageError, match=r"cut\.JPEG: "):
        read_image(file)


def test_bytes_after_the_end_do_no_harm(tmp_path: Path) -> None:
    """A JPEG with something appended, as cameras and servers do, decodes all the same."""
    file = tmp_path / "a.JPEG"
    smooth_picture(300, 260).save(file, "JPEG")
    whole = read_image(file)
    file.write_bytes(file.read_bytes() + b"\r\n" + bytes(7))
    np.testing.assert_array_equal(read_image(file), whole)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\xff\xd8\xff\xd9"])
def test_file_that_is_no_image_is_bad(tmp_path: Path, content: bytes) -> None:
    """An empty file, text and an empty JPEG are bad and named."""
    file = tmp_path / "a.JPEG"
    file.write_bytes(content)
    with pytest.raises(BadImageError, match=r"a\.JPEG: "):
        read_image(file)


def test_file_that_cannot_be_read_is_bad(tmp_path: Path) -> None:
    """What the system says about an unreadable file is passed on."""
    with pytest.raises(BadImageError, match="No such file"):
        read_image(tmp_path / "absent.JPEG")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (png(32_000, 32_000), "1,024,000,000 pixels, more than the 89,478,485"),
        (jpeg_of_size(60_000, 60_000), "3,600,000,000 pixels"),
        (png(1, 60_000), "too long and thin: one side is 60,000 times the other"),
        (png(0, 5), "corrupt"),
    ],
)
def test_a_bomb_is_not_decoded(tmp_path: Path, content: bytes, why: str) -> None:
    """What a header says is too large, or would be once scaled, is refused by its header."""
    file = tmp_path / "bomb.png"
    file.write_bytes(content)
    with pytest.raises(BadImageError, match=f"bomb.png: {why}"):
        read_image(file)


def test_a_jpeg_of_many_scans_is_not_decoded(tmp_path: Path) -> None:
    """Each scan of a progressive JPEG costs a pass over the image, in a few bytes of file."""
    file = tmp_path / "scans.jpg"
    smooth_picture(300, 260).save(file, "JPEG", progressive=True)
    data = file.read_bytes()
    last_scan = data[data.rindex(b"\xff\xda") : -2]
    file.write_bytes(data[:-2] + 100 * last_scan + data[-2:])
    with pytest.raises(BadImageError, match=r"scans\.jpg: a JPEG of 1\d\d scans"):
        read_image(file)


@pytest.fixture
def special_files(tmp_path: Path) -> dict[str, Path]:
    """Things of all kinds that are named like images."""
    files = {kind: tmp_path / f"{kind}.jpg" for kind in ("FIFO", "folder", "socket", "link")}
    os.mkfifo(files["FIFO"])
    files["folder"].mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(files["socket"]))
    files["link"].symlink_to(tmp_path / "nowhere")
    return {**files, "device": Path("/dev/zero")}


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("FIFO", "is a FIFO, not an image"),
        ("folder", "is a folder, not an image"),
        ("socket", "is a socket, not an image"),
        ("device", "is a device, not an image"),
        ("link", "No such file"),
    ],
)
def test_what_is_no_plain_file_is_bad(special_files: dict[str, Path], kind: str, why: str) -> None:
    """A FIFO, a folder, a socket, a device and a dangling link are named, and nobody waits."""
    with pytest.raises(BadImageError, match=why):
        file_state(special_files[kind])
    with pytest.raises(BadImageError):
        read_image(special_files[kind])

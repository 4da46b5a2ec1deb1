import io
import zipfile

import numpy as np
import pytest

from mlbench.contracts.backend import TensorSpec
from mlbench.contracts.cache import open_samples
from mlbench.contracts.errors import RequestError
from mlbench.data.npz import open_npz

IDS = TensorSpec("ids", "int64", (None, None), ("batch", "seq"))
SCALE = TensorSpec("scale", "float32", ())
ROWS = np.arange(12).reshape(6, 2)
SCALES = np.arange(6, dtype=np.float32)


def _open(folder, *inputs, count=500, **arrays):
    path = folder / "recorded.npz"
    np.savez(path, **arrays)
    return open_npz(path, inputs, count, folder)


def test_arrays_are_fed_by_input_name(tmp_path):
    """Each input gets the array of its name, a sample for each row, in its own type."""
    recorded = _open(tmp_path, IDS, SCALE, ids=ROWS.astype(np.int32), scale=SCALES, other=[1])
    ids, scale = (open_samples(recorded.files[name]) for name in ("ids", "scale"))
    assert ids.dtype == np.int64
    assert ids.tolist() == ROWS.tolist()
    assert scale.tolist() == SCALES.tolist()
    assert (recorded.count, recorded.labels) == (6, None)


def test_the_first_samples_are_taken(tmp_path):
    """A smaller count takes so many, with their labels; a larger one all there are."""
    recorded = _open(tmp_path, IDS, count=4, ids=ROWS, labels=np.arange(6).reshape(6, 1))
    assert recorded.count == 4
    assert recorded.labels.tolist() == [0, 1, 2, 3]
    assert open_samples(recorded.files["ids"]).shape == (4, 2)


@pytest.mark.parametrize("array", [np.asfortranarray(ROWS), ROWS.astype(">i8"), ROWS[::-1, ::-1]])
def test_memory_order_and_byte_order_do_not_matter(tmp_path, array):
    """What is fed are the values, however the array lies in the file."""
    recorded = _open(tmp_path, IDS, ids=array)
    assert open_samples(recorded.files["ids"]).tolist() == array.tolist()


def test_empty_tensors_are_taken(tmp_path):
    """A past of length 0 is a sample like any other, in either memory order."""
    past = TensorSpec("past", "float32", (None, None, 4))
    for empty in (np.zeros((6, 0, 4), np.float32), np.zeros((4, 0, 6), np.float32).T):
        recorded = _open(tmp_path, past, past=empty)
        assert open_samples(recorded.files["past"]).shape == (6, 0, 4)


def test_compressed_files_are_read(tmp_path):
    """The file of np.savez_compressed is as good."""
    path = tmp_path / "c.npz"
    np.savez_compressed(path, ids=ROWS)
    recorded = open_npz(path, [IDS], 500, tmp_path)
    assert open_samples(recorded.files["ids"]).tolist() == ROWS.tolist()


def test_another_content_makes_another_file(tmp_path):
    """Tensors that are kept are never taken for those of a changed file."""
    first = _open(tmp_path, IDS, ids=ROWS)
    second = _open(tmp_path, IDS, ids=ROWS + 1)
    assert first.files != second.files
    assert open_samples(second.files["ids"]).tolist() == (ROWS + 1).tolist()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "no array 'ids' for the input of that name; it has: none"),
        ({"id": ROWS}, "no array 'ids' for the input of that name; it has: id"),
        ({"ids": ROWS[0]}, r"array 'ids' is int64\(2,\), but .* takes \(samples, \?\)"),
        ({"ids": ROWS[:, None]}, r"'ids' is int64\(6, 1, 2\), but .* takes \(samples, \?\)"),
        ({"ids": ROWS * 1.0}, r"'ids' is float64.* takes int64: save it with .astype\('int64'\)"),
        ({"ids": ROWS.astype(object)}, "not a whole .npz file|takes int64"),
        ({"ids": ROWS[:0]}, "which has no samples"),
        ({"ids": ROWS, "labels": [1, 2]}, "all need as many samples"),
        ({"ids": ROWS, "labels": np.ones(6)}, "labels are class numbers, integers of shape"),
        ({"ids": ROWS, "labels": np.ones((6, 2), int)}, "labels are class numbers"),
        ({"ids": ROWS, "labels": np.arange(-1, 5)}, "labels from -1 to 4; classes are"),
    ],
)
def test_arrays_that_do_not_fit_are_told_in_one_line(tmp_path, arrays, message):
    """A missing name, another shape, type or length: the line says which array, and what fits."""
    with pytest.raises(RequestError, match=message) as caught:
        _open(tmp_path, IDS, **arrays)
    assert "recorded.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def _npz(path, header, content=b""):
    """Write an archive whose one array has this header, whatever follows."""
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, header)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ids.npy", member.getvalue() + content)
    return path


def test_a_file_that_claims_too_much_is_refused_unread(tmp_path):
    """Sizes are looked at before memory is taken."""
    header = {"descr": "<i8", "fortran_order": False, "shape": (1 << 20, 1 << 40)}
    with pytest.raises(RequestError, match="too little memory"):
        open_npz(_npz(tmp_path / "big.npz", header), [IDS], 500, tmp_path)


def test_an_array_that_ends_early_is_refused(tmp_path):
    """A header that promises more than there is makes no sample of other bytes."""
    header = {"descr": "<i8", "fortran_order": False, "shape": (6, 2)}
    path = _npz(tmp_path / "short.npz", header, bytes(40))
    with pytest.raises(RequestError, match=r"not a whole \.npz file.*an array ends early"):
        open_npz(path, [IDS], 500, tmp_path)
    assert list(tmp_path.glob("recorded-*.npy")) == []


@pytest.mark.parametrize("damage", ["cut", "garbage", "npy", "flipped"])
def test_damaged_files_are_refused(tmp_path, damage):
    """Whatever the file holds, it is one line that names it."""
    path = tmp_path / "r.npz"
    np.savez_compressed(path, ids=np.arange(4000).reshape(40, 100))
    content = bytearray(path.read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    elif damage == "garbage":
        content[:] = b"no archive" * 50
    elif damage == "flipped":
        content[len(content) // 2] ^= 255
    path.write_bytes(content)
    if damage == "npy":
        np.save(tmp_path / "r.npy", ROWS)
        path = tmp_path / "r.npy"
    with pytest.raises(RequestError, match=r"r\.np.: not a whole \.npz file, as np\.savez"):
        open_npz(path, [IDS], 500, tmp_path)


def test_nothing_is_unpickled(tmp_path):
    """An array of objects would run code; its type alone refuses it."""

    class Trap:
        def __reduce__(self):
            return (print, ("unpickled",))

    with pytest.raises(RequestError):
        _open(tmp_path, IDS, ids=np.array([[Trap()]], dtype=object))

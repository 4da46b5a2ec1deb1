import os
from pathlib import Path

import numpy as np
import pytest
from optional import SCIPY
from pictures import WriteImages

from mlbench.contracts.errors import RequestError
from mlbench.data.datasets import open_dataset
from mlbench.data.images import ImageList

A, B, C = "val_1.JPEG", "val_2.JPEG", "val_3.JPEG"
SYNSETS = ("n02000000", "n01000000", "n02000000")


def names_and_labels(images: ImageList) -> list[tuple[str, int]]:
    """Pair each image's name with its label."""
    assert images.labels is not None
    return [(f.name, int(n)) for f, n in zip(images.files, images.labels, strict=True)]


def test_map_gives_order_and_labels(write_images: WriteImages, tmp_path: Path) -> None:
    """A val_map.txt decides which images there are, also in sub-folders, and their order."""
    write_images("sub/" + B, A, C)
    (tmp_path / "val_map.txt").write_text(f"sub/{B} 7\n{A}\t3\n")
    images = open_dataset("imagenet", tmp_path)
    assert names_and_labels(images) == [(B, 7), (A, 3)]


def test_file_names_with_spaces_are_kept(write_images: WriteImages, tmp_path: Path) -> None:
    """In a map only the last word of a line is the label."""
    write_images("a picture.jpg")
    (tmp_path / "val_map.txt").write_text("a picture.jpg 12\n")
    assert names_and_labels(open_dataset("imagenet", tmp_path)) == [("a picture.jpg", 12)]


def test_count_takes_the_first_images(write_images: WriteImages, tmp_path: Path) -> None:
    """With a count only the first images are listed, and only they must exist."""
    write_images(A)
    (tmp_path / "val_map.txt").write_text(f"{A} 1\n{B} 2\n")
    assert names_and_labels(open_dataset("imagenet", tmp_path, count=1)) == [(A, 1)]


def test_class_folders_give_labels_and_the_flat_order(
    write_images: WriteImages, tmp_path: Path
) -> None:
    """Class folders label by their sorted index; images are sorted by name across folders."""
    write_images(*(f"{s}/{n}" for s, n in zip(SYNSETS, (A, B, C), strict=True)))
    assert names_and_labels(open_dataset("imagenet", tmp_path)) == [(A, 1), (B, 0), (C, 1)]


def test_plain_folder_has_no_labels(write_images: WriteImages, tmp_path: Path) -> None:
    """Images alone are listed in sorted order, without labels."""
    write_images(B, A)
    (tmp_path / "notes.txt").touch()
    images = open_dataset("imagenet", tmp_path)
    assert [f.name for f in images.files] == [A, B]
    assert images.labels is None


def test_synset_list_labels_a_plain_folder(write_images: WriteImages, tmp_path: Path) -> None:
    """A list of synset IDs labels the sorted images by each ID's sorted index."""
    write_images(A, B, C)
    (tmp_path / "labels.txt").write_text("\n".join(SYNSETS))
    images = open_dataset("imagenet", tmp_path, tmp_path / "labels.txt")
    assert names_and_labels(images) == [(A, 1), (B, 0), (C, 1)]


def test_number_list_labels_a_plain_folder(write_images: WriteImages, tmp_path: Path) -> None:
    """A list of class numbers labels the sorted images as it stands."""
    write_images(A, B, C)
    (tmp_path / "labels.txt").write_text("65\n970\n0\n")
    images = open_dataset("imagenet", tmp_path, tmp_path / "labels.txt", count=2)
    assert names_and_labels(images) == [(A, 65), (B, 970)]


@pytest.mark.parametrize("kind", ["map_clsloc.txt", "meta.mat"])
def test_devkit_numbers_are_translated(
    write_images: WriteImages, tmp_path: Path, kind: str
) -> None:
    """The development kit's own numbers become indices of the sorted synset IDs."""
    write_images(A, B, C)
    kit = tmp_path / "ILSVRC2012_devkit_t12/data"
    kit.mkdir(parents=True)
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("2\n1\n3\n")
    ids, synsets = [1, 2, 3], ["n03000000", "n01000000", "n02000000"]
    if kind == "meta.mat":
        io = pytest.importorskip("scipy.io", reason=SCIPY)
        table = np.array(
            [*zip(ids, synsets, strict=True), (1001, "n00000001")],
            dtype=[("ILSVRC2012_ID", object), ("WNID", object)],
        )
        io.savemat(kit / kind, {"synsets": table.reshape(-1, 1)})
    else:
        rows = [f"{s} {i} some_name" for i, s in zip(ids, synsets, strict=True)]
        (kit / kind).write_text("\n".join(rows))
    images = open_dataset("imagenet", tmp_path)
    assert names_and_labels(images) == [(A, 0), (B, 2), (C, 1)]


def test_devkit_numbers_without_their_map_are_refused(
    write_images: WriteImages, tmp_path: Path
) -> None:
    """The development kit's numbers alone mean nothing: the error asks for the kit's map."""
    write_images(A)
    (tmp_path / "ILSVRC2012_validation_ground_truth.txt").write_text("5\n")
    with pytest.raises(RequestError, match=r"put the development kit's meta.mat or map_clsloc.txt"):
        open_dataset("imagenet", tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("map_clsloc.txt", "n01440764 1 a\ntench\n", r"map_clsloc\.txt:2: 'tench' is not"),
        ("map_clsloc.txt", "n01440764 1 a\n", r"class 5 is not in the kit's synset map"),
        ("meta.mat", "text", r"meta\.mat is not the development kit's table"),
    ],
)
def test_broken_devkit_map_is_named(
    write_images: WriteImages, tmp_path: Path, name: str, content: str, message: str
) -> None:
    """A broken or incomplete map of the development kit is one clear line."""
    write_images(A)
    (tmp_path / "ILSVRC2012_validation_ground_truth.txt").write_text("5\n")
    (tmp_path / name).write_text(content)
    if name == "meta.mat":
        pytest.importorskip("scipy.io", reason=SCIPY)
    with pytest.raises(RequestError, match=message):
        open_dataset("imagenet", tmp_path)


LARGE = ("b.jpg 12345678901234567890123", "b.jpg 2147483648")


@pytest.mark.parametrize("line", ["val_2.JPEG", "val_2.JPEG dog", "val_2.JPEG -1", "", "5", *LARGE])
def test_map_line_that_does_not_parse_is_named(
    write_images: WriteImages, tmp_path: Path, line: str
) -> None:
    """A broken line of a map is an error with file and line number."""
    write_images(A, B)
    (tmp_path / "val_map.txt").write_text(f"{A} 1\n{line}\n{B} 2\n")
    with pytest.raises(RequestError, match=r"val_map\.txt:2: .* is not 'name label'"):
        open_dataset("imagenet", tmp_path, count=1)


def test_a_long_line_is_told_short(write_images: WriteImages, tmp_path: Path) -> None:
    """A line of a megabyte is refused at once, and shown by its beginning."""
    write_images(A)
    (tmp_path / "val_map.txt").write_text(f"{A} 1\n{'a' + ' ' * 1_000_000 + 'b'}\n")
    with pytest.raises(RequestError, match=r"val_map\.txt:2: .* is not 'name label'") as error:
        open_dataset("imagenet", tmp_path)
    assert len(str(error.value)) < 300


def test_a_file_that_is_listed_twice_is_named(write_images: WriteImages, tmp_path: Path) -> None:
    """The same image twice, however it is spelled, is refused with both lines."""
    write_images(A, B)
    (tmp_path / "val_map.txt").write_text(f"{A} 1\n{B} 2\n./{A} 1\n")
    with pytest.raises(RequestError, match=rf"val_map\.txt:3: .*{A} is on line 1, too"):
        open_dataset("imagenet", tmp_path)


@pytest.mark.parametrize("what", ["FIFO", "folder"])
def test_a_list_that_is_no_plain_file_is_refused(
    write_images: WriteImages, tmp_path: Path, what: str
) -> None:
    """Nobody waits for somebody to write into a FIFO."""
    write_images(A)
    listing = tmp_path / "list"
    listing.mkdir() if what == "folder" else os.mkfifo(listing)
    with pytest.raises(RequestError, match=f"list is a {what}, not a text file"):
        open_dataset("imagenet", tmp_path, listing)


def test_listed_file_that_is_missing_is_named(write_images: WriteImages, tmp_path: Path) -> None:
    """A file in the map that is not there is an error with the map's line and the file."""
    write_images(A)
    (tmp_path / "val_map.txt").write_text(f"{A} 1\n{B} 2\n")
    with pytest.raises(RequestError, match=rf"val_map\.txt:2: no such file: .*{B}"):
        open_dataset("imagenet", tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("n01440764\ndog\n", ":2: 'dog'"),
        ("1\nx\n", ":2: 'x'"),
        ("1\n12345678901234567890123\n", ":2: '12345'"[:-1]),
    ],
)
def test_label_that_does_not_parse_is_named(
    write_images: WriteImages, tmp_path: Path, lines: str, message: str
) -> None:
    """A broken line of a label list is an error with file and line number."""
    write_images(A, B)
    (tmp_path / "labels.txt").write_text(lines)
    with pytest.raises(RequestError, match=f"labels.txt{message}"):
        open_dataset("imagenet", tmp_path, tmp_path / "labels.txt")


def test_list_of_another_length_is_refused(write_images: WriteImages, tmp_path: Path) -> None:
    """One label more or less than images is an error that gives both numbers."""
    write_images(A, B)
    (tmp_path / "labels.txt").write_text("1\n2\n3\n")
    with pytest.raises(RequestError, match="3 labels for 2 images"):
        open_dataset("imagenet", tmp_path, tmp_path / "labels.txt")


def test_folder_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    """A missing folder, an empty folder and an empty list are each one clear line."""
    with pytest.raises(RequestError, match=r"cannot read .*absent \(No such file.*DATA_DIR"):
        open_dataset("imagenet", tmp_path / "absent")
    with pytest.raises(RequestError, match="no image found"):
        open_dataset("imagenet", tmp_path)
    (tmp_path / "n01440764").mkdir()
    with pytest.raises(RequestError, match="no image found"):
        open_dataset("imagenet", tmp_path)
    (tmp_path / "val_map.txt").touch()
    with pytest.raises(RequestError, match="is empty"):
        open_dataset("imagenet", tmp_path)
    (tmp_path / "val_map.txt").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(RequestError, match="is not a text file"):
        open_dataset("imagenet", tmp_path)


def test_request_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    """No folder, no such list, no such dataset and a count of zero are each one clear line."""
    with pytest.raises(RequestError, match="DATA_DIR"):
        open_dataset("imagenet")
    with pytest.raises(RequestError, match=r"cannot read .*absent\.txt"):
        open_dataset("imagenet", tmp_path, tmp_path / "absent.txt")
    with pytest.raises(RequestError, match="no images belong to dataset 'synthetic'"):
        open_dataset("synthetic")
    with pytest.raises(RequestError, match="--count 0"):
        open_dataset("imagenet", tmp_path, count=0)

from pathlib import Path

import pytest

from mlbench.contracts.errors import RequestError
from mlbench.models.files import write_atomically


def test_replaces_a_file_whole(tmp_path: Path) -> None:
    """The file is there with its new content, in a folder made for it, and nothing else is."""
    path = tmp_path / "new" / "model.pb"
    write_atomically(path, b"first")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]


def test_unwritable_path_is_told(tmp_path: Path) -> None:
    """A path that can't be written is one clear line."""
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match=r"can't write .*model\.pb"):
        write_atomically(tmp_path / "file" / "model.pb", b"")

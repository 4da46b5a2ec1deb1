import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from optional import SAMPLE

from mlbench.contracts.errors import RequestError
from mlbench.data.datasets import open_dataset


def pretend_foolbox(monkeypatch: pytest.MonkeyPatch, folder: Path | None) -> None:
    """Let foolbox seem to be installed in `folder`, or not at all."""
    spec = None
    if folder is not None:
        spec = ModuleSpec("foolbox", None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: spec)


@pytest.mark.skipif(importlib.util.find_spec("foolbox") is None, reason=SAMPLE)
def test_twenty_photos_with_their_labels() -> None:
    """The sample dataset is foolbox's photos in sorted order, labelled by their names."""
    images = open_dataset("sample", count=3)
    assert images.labels is not None
    assert images.labels.tolist() == [243, 559, 438]
    assert len(open_dataset("sample").files) == 20


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without foolbox the error gives the command that installs it."""
    pretend_foolbox(monkeypatch, None)
    with pytest.raises(RequestError, match=r"pip install 'mlbench-coordinator\[sample\]'"):
        open_dataset("sample")


def test_other_photos_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Photos that differ from the known ones are an error, not a silent change of the answers."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/imagenet_00_243.jpg").write_bytes(b"other")
    pretend_foolbox(monkeypatch, tmp_path)
    with pytest.raises(RequestError, match=r"the 1 sample photos .* are not those of foolbox"):
        open_dataset("sample")

"""Files that hosts need: found where they are the same, sent where they are not."""

from pathlib import Path

import pytest

from mlbench.cluster.files import FileStore, describe_files, read_chunks
from mlbench.contracts.errors import RunError


@pytest.fixture
def model(tmp_path, monkeypatch) -> Path:
    """Return a model with external data, on a host whose cache folder is empty."""
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "net.onnx.data").write_bytes(b"weights" * 100)
    path = folder / "net.onnx"
    path.write_bytes(b"graph")
    return path


def _send(store: FileStore, files) -> None:
    for place in store.missing(files):
        for chunk in read_chunks(Path(files[place].path)):
            store.receive(files[place], chunk)


def test_external_data_comes_along(model) -> None:
    """A model's data beside it is a file of its own, of the same group."""
    names = {file.name: file.group for file in describe_files([model])}
    assert names.keys() == {"net.onnx", "net.onnx.data"}
    assert len(set(names.values())) == 1


def test_what_is_the_same_is_not_sent(model) -> None:
    """A host that has the same bytes at the same path uses them."""
    files, store = describe_files([model]), FileStore()
    assert store.missing(files) == ()
    assert store.paths[str(model)] == str(model)


def test_what_is_missing_is_sent_once(model, tmp_path) -> None:
    """A missing model arrives whole, beside its data, and is found again by the next run."""
    files = describe_files([model])
    content = model.read_bytes()
    away = tmp_path / "away"
    model.parent.rename(away)
    store = FileStore()
    for place in store.missing(files):
        store.receive(files[place], (away / files[place].name).read_bytes())
    there = Path(store.paths[str(model)])
    assert there.read_bytes() == content
    assert there.with_name("net.onnx.data").is_file()
    assert FileStore().missing(files) == ()


def test_a_file_that_differs_is_never_used(model) -> None:
    """Other bytes at the same path do not count: the right ones are sent, those stay."""
    files, sent = describe_files([model]), model.read_bytes()
    model.write_bytes(b"other")
    store = FileStore()
    assert len(store.missing(files)) == 2
    store.receive(files[0], sent)
    assert Path(store.paths[str(model)]).read_bytes() == sent
    assert model.read_bytes() == b"other"


def test_damage_on_the_way_is_told(model, tmp_path) -> None:
    """What arrives with another sum is refused, and what arrives in part is swept away."""
    files = describe_files([model])
    model.write_bytes(b"other")
    store = FileStore()
    store.missing(files)
    with pytest.raises(RunError, match="damaged"):
        store.receive(files[0], b"grapf")
    store.sweep()
    assert not list((tmp_path / "cache").rglob("*.tmp"))

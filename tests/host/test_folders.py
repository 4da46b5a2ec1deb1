from pathlib import Path

import pytest

from mlbench.contracts.errors import RequestError
from mlbench.host.folders import cache_dir


def test_environment_names_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MLBENCH_CACHE wins over XDG_CACHE_HOME, which wins over the home folder; all get made."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MLBENCH_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_dir() == tmp_path / ".cache/mlbench"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg/mlbench"
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path / "mine"))
    assert cache_dir() == tmp_path / "mine"
    assert cache_dir().is_dir()


def test_folder_that_cannot_be_written_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A cache folder that cannot be made is an error that names the folder and the variable."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("MLBENCH_CACHE", str(tmp_path / "file/cache"))
    with pytest.raises(RequestError, match=r"file/cache .*set MLBENCH_CACHE"):
        cache_dir()

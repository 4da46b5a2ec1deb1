from pathlib import Path

import pytest
from pictures import WriteImages, smooth_picture


@pytest.fixture
def write_images(tmp_path: Path) -> WriteImages:
    """Return a function that writes small JPEGs of the given names and returns their paths."""

    def write(*names: str) -> list[Path]:
        paths = [tmp_path / name for name in names]
        for seed, path in enumerate(paths):
            path.parent.mkdir(parents=True, exist_ok=True)
            smooth_picture(280, 260, seed).save(path, "JPEG")
        return paths

    return write

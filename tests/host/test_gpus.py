from pathlib import Path

import pytest

from mlbench.host.gpus import gpu_name, only_gpu, visible_gpus


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    """Return a driver's folder that lists three GPUs."""
    for bus in ("0000:01:00.0", "0000:02:00.0", "0000:03:00.0"):
        (tmp_path / bus).mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("shown", "names"),
    [
        (None, ["0", "1", "2"]),
        ("", []),
        ("2,0", ["2", "0"]),
        (" 1 , 2 ", ["1", "2"]),
        ("1,-1,2", ["1"]),
        ("0,7,1", ["0"]),
        ("GPU-8f1c,1", ["GPU-8f1c", "1"]),
    ],
)
def test_gpus_are_those_that_cuda_shows(driver: Path, shown: str | None, names: list[str]) -> None:
    """CUDA_VISIBLE_DEVICES chooses and orders the GPUs, up to the first that is none."""
    environment = {} if shown is None else {"CUDA_VISIBLE_DEVICES": shown}
    assert visible_gpus(environment, driver) == names


def test_without_a_driver_there_is_no_gpu(tmp_path: Path) -> None:
    """A machine without the driver shows nothing, whatever the environment says."""
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "0"}, tmp_path / "none", tmp_path) == []


def test_device_files_tell_where_the_drivers_folder_is_hidden(tmp_path: Path) -> None:
    """A sandbox that passes device files alone shows as many GPUs as it passes."""
    for name in ("nvidia0", "nvidia3", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert visible_gpus({}, tmp_path / "none", tmp_path) == ["0", "1"]


@pytest.mark.parametrize("shown", [None, "", "2,0", " 1 , 2 ", "1,-1,2", "GPU-8f1c,1"])
def test_a_gpu_has_one_name_whoever_asks(driver: Path, shown: str | None) -> None:
    """Each GPU that may be asked for is named as it is listed, and shown alone by that name."""
    environment = {} if shown is None else {"CUDA_VISIBLE_DEVICES": shown}
    names = visible_gpus(environment, driver)
    assert [gpu_name(index, environment) for index in range(len(names))] == names
    for index, name in enumerate(names):
        assert visible_gpus(only_gpu(index, environment), driver) == [name]

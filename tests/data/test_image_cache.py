import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from pictures import WriteImages

from mlbench.contracts.cache import open_samples
from mlbench.contracts.errors import RequestError
from mlbench.data import build, cache
from mlbench.data.cache import BuiltCache, build_cache
from mlbench.data.events import DataEvent, ImagesPrepared
from mlbench.data.image_file import read_image
from mlbench.data.images import ImageList
from mlbench.data.preprocess import PREPROCESSING, prepare
from mlbench.host.kept import FileAwaited, FileDamaged

NAMES = [f"{i:02}.JPEG" for i in range(40)]


class Events(list[DataEvent]):
    """Remembers what is told; may interrupt the work as Ctrl-C does."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        super().__init__()
        self._interrupt_at = interrupt_at

    def __call__(self, event: DataEvent) -> None:
        """Remember one event."""
        self.append(event)
        if isinstance(event, ImagesPrepared) and event.done == self._interrupt_at:
            raise KeyboardInterrupt


@pytest.fixture
def images(write_images: WriteImages) -> ImageList:
    """Forty images with labels 0 to 39."""
    return ImageList(tuple(write_images(*NAMES)), np.arange(len(NAMES)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty cache folder."""
    path = tmp_path / "cache"
    path.mkdir()
    return path


def built(images: ImageList, folder: Path, events: Events | None = None, **more: Any) -> BuiltCache:
    """Build with small fixed choices."""
    how = PREPROCESSING["mobilenet"]
    return build_cache(
        images, how, "NHWC", folder, Events() if events is None else events, threads=2, **more
    )


def expected_sample(file: Path) -> np.ndarray[Any, Any]:
    """Prepare one file without the cache."""
    out = np.empty((224, 224, 3), np.float32)
    prepare(read_image(file), PREPROCESSING["mobilenet"], "NHWC", out)
    return out


def test_cache_holds_each_prepared_image(images: ImageList, folder: Path) -> None:
    """Sample i is image i prepared, float32, mapped read-only, and nothing else is left behind."""
    cache = built(images, folder)
    samples = open_samples(cache.path)
    assert samples.shape == (40, 224, 224, 3)
    assert not samples.flags.writeable
    for sample, file in zip(samples, images.files, strict=True):
        np.testing.assert_array_equal(sample, expected_sample(file))
    assert {p.suffix for p in folder.iterdir()} == {".npy", ".sums", ".lock"}


def test_second_build_does_nothing(images: ImageList, folder: Path) -> None:
    """A finished cache is found again and no image is prepared."""
    first, events = built(images, folder), Events()
    assert built(images, folder, events).path == first.path
    assert events == []


def test_progress_ends_at_the_total(images: ImageList, folder: Path) -> None:
    """Progress counts up to the number of images."""
    events = Events()
    built(images, folder, events)
    done = [event.done for event in events if isinstance(event, ImagesPrepared)]
    assert len(done) == len(events)
    assert done == sorted(done)
    assert events[-1] == ImagesPrepared(40, 40)


def test_changes_make_another_cache(images: ImageList, folder: Path) -> None:
    """A changed file, another layout, preprocessing or count each have their own cache."""
    how = PREPROCESSING["mobilenet"]
    paths = {
        built(images, folder).path,
        built(images.first(39), folder).path,
        build_cache(images, how, "NCHW", folder, Events()).path,
        build_cache(images, PREPROCESSING["vgg"], "NHWC", folder, Events()).path,
    }
    images.files[3].write_bytes(images.files[3].read_bytes() + b"\0")
    paths.add(built(images, folder).path)
    assert len(paths) == 5


def test_interrupted_build_goes_on(
    images: ImageList, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an interruption only what was missing is prepared, and the result is whole."""
    with pytest.raises(KeyboardInterrupt):
        built(images, folder, Events(interrupt_at=16))
    assert not list(folder.glob("*.npy"))
    read: list[Path] = []

    def remembering(file: Path) -> Any:
        read.append(file)
        return read_image(file)

    monkeypatch.setattr(build, "read_image", remembering)
    cache = built(images, folder)
    assert not set(read) & set(images.files[:16])
    for sample, file in zip(open_samples(cache.path), images.files, strict=True):
        np.testing.assert_array_equal(sample, expected_sample(file))


def test_what_an_interrupted_build_lost_is_prepared_again(images: ImageList, folder: Path) -> None:
    """A build that goes on trusts its samples by their sums, not because they were written."""
    with pytest.raises(KeyboardInterrupt):
        built(images, folder, Events(interrupt_at=16))
    with next(folder.glob("*.partial")).open("r+b") as partial:
        partial.write(bytes(2 << 20))  # as after a crash of the machine
    cache = built(images, folder)
    for sample, file in zip(open_samples(cache.path), images.files, strict=True):
        np.testing.assert_array_equal(sample, expected_sample(file))


def test_journal_without_its_samples_is_not_trusted(images: ImageList, folder: Path) -> None:
    """When someone removed the unfinished file, all images are prepared again."""
    with pytest.raises(KeyboardInterrupt):
        built(images, folder, Events(interrupt_at=16))
    next(folder.glob("*.partial")).unlink()
    samples = open_samples(built(images, folder).path)
    np.testing.assert_array_equal(samples[0], expected_sample(images.files[0]))


def zero(samples: Any) -> None:
    """Lose two samples."""
    samples[5:7] = 0


def flip(samples: Any) -> None:
    """Change one bit."""
    samples.reshape(-1).view(np.uint8)[700_001] ^= 1


def swap(samples: Any) -> None:
    """Exchange two samples."""
    samples[[3, 4]] = samples[[4, 3]]


@pytest.mark.parametrize("damage", [zero, flip, swap])
def test_a_damaged_cache_is_never_served(
    images: ImageList, folder: Path, damage: Callable[[Any], None]
) -> None:
    """Zeros, one changed bit and samples in another order are noticed, told, and built again."""
    path = built(images.first(9), folder).path
    samples = np.load(path, mmap_mode="r+")
    damage(samples)
    samples.flush()
    events = Events()
    assert built(images.first(9), folder, events).path == path
    assert events == [FileDamaged(path), ImagesPrepared(9, 9)]
    for sample, file in zip(open_samples(path), images.files, strict=False):
        np.testing.assert_array_equal(sample, expected_sample(file))


@pytest.mark.parametrize("size", [0, 100, 5_000_000, 9_000_000])
def test_a_cache_of_another_length_is_never_served(
    images: ImageList, folder: Path, size: int
) -> None:
    """A file that was cut short or has grown is built again."""
    path = built(images.first(9), folder).path
    os.truncate(path, size)
    events = Events()
    built(images.first(9), folder, events)
    assert events[0] == FileDamaged(path)
    assert len(open_samples(path)) == 9


def test_only_samples_that_are_served_are_looked_at(
    images: ImageList, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a trial draws from the first samples only, damage behind them does not matter."""
    path = built(images, folder).path
    samples = np.load(path, mmap_mode="r+")
    samples[30] = 0
    monkeypatch.setattr(cache, "_resident", lambda *_: 17)
    assert built(images, folder, only_resident=True).resident == 17
    assert not samples[30].any()
    events = Events()
    built(images, folder, events)
    assert events[0] == FileDamaged(path)


def test_bad_image_stops_the_build(images: ImageList, folder: Path) -> None:
    """A corrupt image is an error that names it and the option that leaves it out."""
    images.files[20].write_bytes(images.files[20].read_bytes()[:300])
    with pytest.raises(RequestError, match=r"20\.JPEG: .*--skip-bad-images"):
        built(images, folder)


def test_bad_images_are_left_out_on_request(images: ImageList, folder: Path) -> None:
    """Left out, bad images are listed; samples, files and labels stay aligned."""
    for index in (0, 20, 39):
        images.files[index].write_bytes(b"broken")
    cache = built(images, folder, skip_bad=True)
    samples = open_samples(cache.path)
    assert len(samples) == len(cache.images.files) == 37
    assert [Path(s.split(":")[0]).name for s in cache.skipped] == ["00.JPEG", "20.JPEG", "39.JPEG"]
    assert cache.images.labels is not None
    for sample, file, label in zip(samples, cache.images.files, cache.images.labels, strict=True):
        assert file.name == NAMES[label]
        np.testing.assert_array_equal(sample, expected_sample(file))
    assert built(images, folder, skip_bad=True).skipped == cache.skipped


def test_cache_without_bad_images_is_no_licence(images: ImageList, folder: Path) -> None:
    """A cache that was built without its bad images is refused when they are not to be skipped."""
    images.files[7].write_bytes(b"broken")
    built(images, folder, skip_bad=True)
    with pytest.raises(RequestError, match=r"07\.JPEG: "):
        built(images, folder)


def test_nothing_readable_is_an_error(images: ImageList, folder: Path) -> None:
    """When all images are bad there is nothing to run on, skipping or not."""
    for file in images.files:
        file.write_bytes(b"broken")
    with pytest.raises(RequestError, match="none of the 40 images can be read"):
        built(images, folder, skip_bad=True)


def test_image_that_vanished_is_named(images: ImageList, folder: Path) -> None:
    """A listed file that is gone is an error before anything is built."""
    images.files[5].unlink()
    with pytest.raises(RequestError, match=r"05\.JPEG: No such file.*--skip-bad-images"):
        built(images, folder)
    assert list(folder.iterdir()) == []


def test_what_is_no_file_is_left_out_on_request(images: ImageList, folder: Path) -> None:
    """A dangling link, a folder and a FIFO are bad images like others."""
    for index in (1, 2, 3):
        images.files[index].unlink()
    images.files[1].symlink_to("nowhere")
    images.files[2].mkdir()
    os.mkfifo(images.files[3])
    with pytest.raises(RequestError, match=r"01\.JPEG: No such file.*--skip-bad-images"):
        built(images.first(9), folder)
    found = built(images.first(9), folder, skip_bad=True)
    assert [Path(s.split(":")[0]).name for s in found.skipped] == ["01.JPEG", "02.JPEG", "03.JPEG"]
    assert len(open_samples(found.path)) == 6


def test_too_little_memory_is_found_first(
    images: ImageList, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples that do not fit in memory are refused with both sizes, before the build."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10 << 20))
    with pytest.raises(RequestError, match=r"40 samples need 23\.0 MiB, 10\.0 MiB .*\(17 fit\)"):
        built(images, folder)
    assert list(folder.iterdir()) == []
    monkeypatch.setattr(cache, "_USUAL_COUNT", 17)
    assert (built(images, folder).resident, len(built(images, folder).images.files)) == (17, 40)


def test_full_disk_is_found_first(
    images: ImageList, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too little room for the cache is an error that names the folder, and leaves no file of it."""

    def no_room(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build.os, "posix_fallocate", no_room)
    with pytest.raises(RequestError, match=r"prepared images in .*No space left.*MLBENCH_CACHE"):
        built(images, folder)
    assert {p.suffix for p in folder.iterdir()} == {".lock"}


def test_second_process_waits_for_the_first(images: ImageList, folder: Path) -> None:
    """While another process builds, this one says so, waits, and then finds the work done."""
    finished = built(images, folder)
    lock = finished.path.with_suffix(".npy.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    told: list[DataEvent] = []

    def release(event: DataEvent) -> None:
        told.append(event)
        lock.close()

    cache = build_cache(images, PREPROCESSING["mobilenet"], "NHWC", folder, release)
    assert cache.path == finished.path
    assert told == [FileAwaited(finished.path)]

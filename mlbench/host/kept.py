"""Files that are built once and kept between runs: one builder at a time, never a damaged file.

    NAME           what is kept
    NAME.sums      what it held when it was built: its length, and a sum of each of its blocks
    NAME.partial   what is being built
    NAME.lock      held while the others are looked at or written

Sums are XXH3 of 64 bits, which tells any damage at the speed of memory. They are no defence against
someone who may write to the folder.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import xxhash

from mlbench.host.files import replacing

_BLOCK_BYTES = 1 << 20  # is read and summed in a tenth of a millisecond


@dataclass(frozen=True)
class FileAwaited:
    """Another process looks at or builds the same file; this one waits for it."""

    path: Path


@dataclass(frozen=True)
class FileDamaged:
    """A kept file is not what was built, and is built again."""

    path: Path


KeptEvent = FileAwaited | FileDamaged
TellKept = Callable[[KeptEvent], None]


@dataclass(frozen=True)
class Sums:
    """What a file held when it was built: its length, and the sums of its `blocks`.

    The first block has `head_bytes`, the others `block_bytes`, the last what is left. `note` is
    what else the builder wants to find again, as JSON.
    """

    file_bytes: int
    head_bytes: int
    block_bytes: int
    blocks: Sequence[int]
    note: Mapping[str, Any] = field(default_factory=dict)

    def bounds(self, index: int) -> tuple[int, int]:
        """Return where a block begins and ends, in bytes."""
        begin = self.head_bytes + (index - 1) * self.block_bytes if index else 0
        end = self.head_bytes + index * self.block_bytes
        return begin, min(end, self.file_bytes)


def tell_nobody(_: KeptEvent) -> None:
    """Hear an event, and do nothing."""


def keep(
    path: Path,
    build: Callable[[Path], Sums],
    tell: TellKept = tell_nobody,
    blocks: int | None = None,
) -> Sums:
    """Build `path`, or find it built and whole; return its sums.

    `build` writes the file to the path that it is given, to the disk, and returns the sums of what
    it wrote. Only the first so many `blocks` are looked at, or all. It tells when it waits for
    another process, and when a file is built again because it was damaged.
    """
    with _locked(path, tell):
        sums = read_sums(path)
        if sums is not None and is_whole(path, sums, blocks):
            return sums
        if path.exists():
            tell(FileDamaged(path))
        draft = path.with_name(f"{path.name}.partial")
        sums = build(draft)
        write_sums(path, sums)
        draft.replace(path)
        return sums


def sums_of(path: Path) -> Sums:
    """Return the sums of a file that was just written."""
    size = path.stat().st_size
    bare = Sums(size, min(size, _BLOCK_BYTES), _BLOCK_BYTES, ())
    count = max(-(-size // _BLOCK_BYTES), 1)
    with path.open("rb") as file:
        blocks = [block_sum(file.fileno(), *bare.bounds(index)) for index in range(count)]
    return replace(bare, blocks=blocks)


def write_sums(path: Path, sums: Sums) -> None:
    """Put the sums of a file beside it, with a sum of their own."""
    text = json.dumps({"name": path.name, **asdict(sums)})
    with replacing(_beside(path)) as file:
        file.write(f"{text}\n{_text_sum(text)}\n".encode())


def read_sums(path: Path) -> Sums | None:
    """Return the sums beside a file; None when they are missing, damaged or another file's."""
    try:
        text, text_sum = _beside(path).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    if text_sum != _text_sum(text):
        return None
    values = json.loads(text)  # as it was written here, or by another version
    try:
        return Sums(**values) if values.pop("name") == path.name else None
    except (KeyError, TypeError):
        return None


def is_whole(path: Path, sums: Sums, blocks: int | None = None) -> bool:
    """Say whether a file still has its length, and its first `blocks`, or all, their sums."""
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_size == sums.file_bytes and all(
                block_sum(file.fileno(), *sums.bounds(index)) == expected
                for index, expected in enumerate(sums.blocks[:blocks])
            )
    except OSError:  # a disk that cannot read it back has damaged it, too
        return False


def is_damaged(path: Path) -> bool:
    """Say whether a file is not what the sums beside it tell; without sums nobody knows."""
    if not _beside(path).exists():
        return False
    sums = read_sums(path)
    return sums is None or not is_whole(path, sums)


def block_sum(descriptor: int, begin: int, end: int) -> int:
    """Return the sum of a part of an open file."""
    return sum_of(os.pread(descriptor, end - begin, begin))


def sum_of(content: bytes | memoryview) -> int:
    """Return the sum of some bytes."""
    return xxhash.xxh3_64_intdigest(content)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sums")


def _text_sum(text: str) -> str:
    return f"{sum_of(text.encode()):016x}"


@contextmanager
def _locked(path: Path, tell: TellKept) -> Iterator[None]:
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(FileAwaited(path))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield

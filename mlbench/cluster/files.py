"""The model and the samples that hosts need: the same bytes everywhere, sent once to each host.

A file is known by its name, its length and the sum of its bytes. A host has it where it lies at the
same path as on the coordinator's host, or among what was sent before; anything else is sent, and
kept in the host's cache folder. A file whose sum is another is never used.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import xxhash

from mlbench.contracts.errors import RunError
from mlbench.host.folders import cache_dir

CHUNK_BYTES = 16 << 20
"""Sent at a time: a tenth of a second at 1 Gbit/s, after which progress is told."""


@dataclass(frozen=True)
class HostFile:
    """A file by its path on the coordinator's host, its length, and its sum (XXH3, 128 bits).

    Files with one `group` lie in one folder: those that a model refers to by their names.
    """

    path: str
    size: int
    digest: str
    group: str = ""

    @property
    def name(self) -> str:
        """The file's own name."""
        return Path(self.path).name


def describe_files(paths: Iterable[Path]) -> tuple[HostFile, ...]:
    """Read files, and those beside them whose names begin with theirs, as external data's do."""
    found: list[HostFile] = []
    for path in paths:
        own = [_describe(one) for one in _with_company(path)]
        group = xxhash.xxh3_128_hexdigest("".join(file.digest for file in own).encode())
        found += [HostFile(file.path, file.size, file.digest, group) for file in own]
    return tuple(found)


def _with_company(path: Path) -> list[Path]:
    """Return a file and its external data, which exporters call FILE.data or FILE_data."""
    names = (f"{path.name}.data", f"{path.name}_data")
    return [path, *(path.with_name(name) for name in names if path.with_name(name).is_file())]


def _describe(path: Path) -> HostFile:
    digest = xxhash.xxh3_128()
    for chunk in read_chunks(path):
        digest.update(chunk)
    return HostFile(str(path), path.stat().st_size, digest.hexdigest())


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield the content of a file in pieces; one that is empty for an empty file."""
    with path.open("rb") as file:
        chunk = file.read(CHUNK_BYTES)
        yield chunk
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


class FileStore:
    """The files of one host. `paths`: where each lies here, by its path on the coordinator's."""

    def __init__(self) -> None:
        self.paths: dict[str, str] = {}
        self._drafts: dict[str, Path] = {}

    def missing(self, files: Sequence[HostFile]) -> tuple[int, ...]:
        """Return the places of those files that have to be sent; note where the others lie.

        Files of one group are used where they lie side by side, or not at all.
        """
        missing = []
        for group in dict.fromkeys(file.group for file in files):
            own = [place for place, file in enumerate(files) if file.group == group]
            if all(_is_same(Path(files[place].path), files[place]) for place in own):
                self.paths |= {files[place].path: files[place].path for place in own}
                continue
            for place in own:
                kept = _kept_at(files[place])
                if _is_same(kept, files[place]):
                    self.paths[files[place].path] = str(kept)
                else:
                    missing.append(place)
        return tuple(missing)

    def receive(self, file: HostFile, chunk: bytes) -> None:
        """Append bytes to a file that is missing; once all are there it is kept.

        Raises RunError when they are not what was announced, or the disk refuses.
        """
        path = _kept_at(file)
        try:
            draft = self._drafts.get(file.path) or self._begin(file, path)
            with draft.open("ab") as out:
                out.write(chunk)
                size = out.tell()
            if size < file.size:
                return
            if not _is_same(draft, file):
                raise RunError(f"{file.name} arrived damaged; run again")
            draft.replace(path)
        except OSError as error:
            raise RunError(f"cannot write {path}: {error.strerror}") from None
        del self._drafts[file.path]
        self.paths[file.path] = str(path)

    def _begin(self, file: HostFile, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        draft.write_bytes(b"")
        self._drafts[file.path] = draft
        return draft

    def sweep(self) -> None:
        """Remove what arrived in part."""
        for draft in self._drafts.values():
            with contextlib.suppress(OSError):
                draft.unlink()


def _kept_at(file: HostFile) -> Path:
    """Return where a file is kept that was sent; its name is no path, whatever was announced."""
    return cache_dir() / "sent" / file.group / file.name


def _is_same(path: Path, file: HostFile) -> bool:
    """Say whether a file is here, and is the one that was announced."""
    try:
        return path.stat().st_size == file.size and _describe(path).digest == file.digest
    except OSError:
        return False

import fcntl
import json
from pathlib import Path

import pytest

from mlbench.host.kept import FileAwaited, FileDamaged, KeptEvent, Sums, keep, sums_of

CONTENT = bytes(range(256)) * 20_000  # five blocks, the last one not whole


class Builder:
    """Writes the content, and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, draft: Path) -> Sums:
        """Build the file."""
        self.calls += 1
        draft.write_bytes(CONTENT)
        return sums_of(draft)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is kept."""
    return tmp_path / "kept.bin"


def test_a_file_is_built_once(path: Path) -> None:
    """The second time it is found, by the same sums, and nothing is told."""
    build, told = Builder(), list[KeptEvent]()
    assert keep(path, build, told.append).blocks == keep(path, build, told.append).blocks
    assert (build.calls, told) == (1, [])
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("at", [0, 1_048_576, 5_119_999])
def test_every_byte_counts(path: Path, at: int) -> None:
    """One changed byte in any block has the file built again, with a word."""
    build, told = Builder(), list[KeptEvent]()
    keep(path, build)
    path.write_bytes(CONTENT[:at] + bytes([CONTENT[at] ^ 64]) + CONTENT[at + 1 :])
    keep(path, build, told.append)
    assert (build.calls, told) == (2, [FileDamaged(path)])
    assert path.read_bytes() == CONTENT


def test_only_the_blocks_asked_for_are_looked_at(path: Path) -> None:
    """Damage in the third block is not seen by who uses two."""
    build = Builder()
    keep(path, build)
    path.write_bytes(CONTENT[: 2 << 20] + b"?" + CONTENT[(2 << 20) + 1 :])
    keep(path, build, blocks=2)
    assert build.calls == 1
    keep(path, build, blocks=3)
    assert build.calls == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda sums: sums.unlink(),
        lambda sums: sums.write_bytes(sums.read_bytes()[:-20]),
        lambda sums: sums.write_bytes(b"\xff\xfe"),
        lambda sums: sums.write_text(sums.read_text().replace(": 5120000", ": 5120001")),
        lambda sums: sums.write_text("[" * 100_000 + "\n00000000\n"),
        lambda sums: sums.write_text("\n\n\n"),
    ],
)
def test_a_file_without_its_sums_is_built_again(path: Path, damage) -> None:
    """Sums that are missing, cut short, changed or something else vouch for nothing."""
    build, told = Builder(), list[KeptEvent]()
    keep(path, build)
    damage(path.with_name("kept.bin.sums"))
    keep(path, build, told.append)
    assert (build.calls, told) == (2, [FileDamaged(path)])


def test_another_file_s_sums_vouch_for_nothing(path: Path, tmp_path: Path) -> None:
    """A file and its sums that were copied to another name are not taken for what belongs there."""
    other = tmp_path / "other.bin"
    keep(other, Builder())
    other.rename(path)
    other.with_name("other.bin.sums").rename(path.with_name("kept.bin.sums"))
    build = Builder()
    keep(path, build)
    assert build.calls == 1


def test_a_failed_build_leaves_no_file(path: Path) -> None:
    """What was not finished is not found by anybody."""

    def fail(draft: Path) -> Sums:
        draft.write_bytes(CONTENT[:100])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep(path, fail)
    assert not path.exists()
    build = Builder()
    keep(path, build)
    assert build.calls == 1


def test_a_note_comes_back(path: Path) -> None:
    """What the builder notes beside the sums is there the next time."""

    def build(draft: Path) -> Sums:
        draft.write_bytes(b"x")
        return Sums(1, 1, 1, sums_of(draft).blocks, {"skipped": {"3": "why"}})

    keep(path, build)
    assert keep(path, build).note == {"skipped": {"3": "why"}}
    assert json.loads(path.with_name("kept.bin.sums").read_text().splitlines()[0])["blocks"]


def test_one_process_builds_at_a_time(path: Path) -> None:
    """While another holds the lock, this one says so and waits."""
    lock = path.with_name("kept.bin.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    told: list[KeptEvent] = []

    def release(event: KeptEvent) -> None:
        told.append(event)
        lock.close()

    keep(path, Builder(), release)
    assert told == [FileAwaited(path)]

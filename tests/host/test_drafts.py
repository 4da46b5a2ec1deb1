import os
import subprocess
import sys

from mlbench.host.files import replacing


def test_drafts_of_killed_writers_are_removed(tmp_path):
    """A write removes what dead processes left of the same file, and no living one's draft."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f".a.json.{dead.pid}.tmp"
    others = [tmp_path / f".a.json.{os.getppid()}.tmp", tmp_path / f".b.json.{dead.pid}.tmp"]
    for draft in (left, *others):
        draft.write_text("half")
    with replacing(tmp_path / "a.json") as file:
        file.write(b"whole")
    assert not left.exists()
    assert all(draft.exists() for draft in others)
    assert (tmp_path / "a.json").read_bytes() == b"whole"

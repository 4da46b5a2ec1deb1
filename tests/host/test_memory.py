from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from mlbench.host import memory

FILES = {
    "v2": {
        "memory.max": "1000",
        "memory.current": "900",
        "memory.stat": "anon 5\ninactive_file 200\nactive_file 50\n",
    },
    "v1": {
        "memory/memory.limit_in_bytes": "1000",
        "memory/memory.usage_in_bytes": "900",
        "memory/memory.stat": "inactive_file 200\nactive_file 50\n",
    },
    "v2 without limit": {"memory.max": "max", "memory.current": "900"},
    "none": {},
}


@pytest.mark.parametrize(
    ("version", "available"), [("v2", 350), ("v1", 350), ("v2 without limit", 5000), ("none", 5000)]
)
def test_a_container_has_its_own_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, available: int
) -> None:
    """What a control group still allows counts, its cached files as free."""
    for name, text in FILES[version].items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=5000))
    assert memory.available_bytes() == available

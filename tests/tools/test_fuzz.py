"""The fuzzer plays on what it is given, finds what is wrong, and says where."""

import random
from pathlib import Path

import fuzz
import pytest
from fuzzing import targets
from fuzzing.mutate import odd_bytes, odd_text


@pytest.mark.parametrize("name", targets.TARGETS)
def test_some_cases_of_each_target(name: str, tmp_path: Path) -> None:
    """Nothing that is read ends otherwise than by a refusal."""
    for case in range(20):
        targets.play(name, 1, case, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_case_is_the_same_each_time() -> None:
    """What a seed and a number make can be made again."""
    first, second = targets.generator(5, "labels"), targets.generator(5, "labels")
    for _ in range(50):
        assert odd_bytes(first, bytes(100)) == odd_bytes(second, bytes(100))
        assert odd_text(first, ["a 1", "b 2"]) == odd_text(second, ["a 1", "b 2"])


def test_a_crash_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that is no refusal is told with its case, and the cases after it are played."""

    def fail_at_seven(_seed: random.Random, _folder: Path) -> None:
        played.append(1)
        if len(played) == 8:
            raise ZeroDivisionError("seven")

    played: list[int] = []
    monkeypatch.setitem(targets.TARGETS, "settings", fail_at_seven)
    cases, troubles = fuzz.fuzz("settings", 1, 0.5)
    assert cases > 8
    assert troubles[0].startswith("case 7 crashes: Traceback")
    assert "ZeroDivisionError: seven" in troubles[0]

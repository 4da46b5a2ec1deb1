from collections.abc import Callable
from typing import Any

import pytest

from mlbench.queueing import loop


def test_without_a_folder_for_machine_code_it_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where numba finds no folder to write to, functions are compiled and not kept."""

    def njit(function: Callable[[], int], *, cache: bool = False) -> tuple[Any, bool]:
        if cache:
            raise RuntimeError("no locator available")
        return function, cache

    monkeypatch.setattr(loop, "njit", njit)
    assert loop._compiled(len) == (len, False)

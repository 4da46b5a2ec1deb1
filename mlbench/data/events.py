"""What is told while samples are prepared."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ImagesPrepared:
    """So many of all images are prepared by now."""

    done: int
    total: int


@dataclass(frozen=True)
class CacheAwaited:
    """Another process prepares the same samples; this one waits for it."""

    path: Path


DataEvent = ImagesPrepared | CacheAwaited
TellData = Callable[[DataEvent], None]

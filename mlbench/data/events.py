"""What is told while samples are prepared."""

from collections.abc import Callable
from dataclasses import dataclass

from mlbench.host.kept import KeptEvent


@dataclass(frozen=True)
class ImagesPrepared:
    """So many of all images are prepared by now."""

    done: int
    total: int


@dataclass(frozen=True)
class ImagesStreamed:
    """`count` images do not fit in memory: trials draw from the first `resident`."""

    count: int
    resident: int


DataEvent = ImagesPrepared | ImagesStreamed | KeptEvent
TellData = Callable[[DataEvent], None]

"""The live view: events in, drawings on a terminal out, a few times a second at most.

It draws when something is told, and has no thread: the coordinator's loop tells how a trial goes
right after it has sent queries ahead, when it would rest. A drawing takes about a tenth of a
millisecond, so that the device's cores do not miss it (`tools/bench_live_view.py`).
"""

import time
from collections.abc import Callable

from rich.console import Console

from mlbench.bench.events import Event
from mlbench.data.events import ImagesPrepared
from mlbench.pool.events import TrialUnderWay, WorkersAwaited
from mlbench.report.live.drawing import Canvas, draw
from mlbench.report.live.glyphs import ASCII, UNICODE
from mlbench.report.live.ink import Ink, cells
from mlbench.report.live.region import Region
from mlbench.report.live.scene import Scene

_LEAST_S = 0.2  # between drawings of what changes all the time


class LiveView:
    """Shows a scene in a region of the console's terminal; a listener."""

    def __init__(
        self, console: Console, region: Region, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._region = region
        self._clock = clock
        self._scene = Scene()
        self._ink = Ink(console)
        self._glyphs = UNICODE if console.encoding.startswith("utf") else ASCII
        self._drawn_s = -_LEAST_S

    def __call__(self, event: Event) -> None:
        """Take note of an event, and draw unless that was done a moment ago."""
        self._scene.hear(event)
        now_s = self._clock()
        is_tick = isinstance(event, TrialUnderWay | WorkersAwaited | ImagesPrepared)
        if is_tick and now_s - self._drawn_s < _LEAST_S:
            return
        self._drawn_s = now_s
        width, height = self._console.size
        lines = draw(self._scene, Canvas(width, height, self._glyphs))
        self._region.show([(self._ink.paint(line), cells(line)) for line in lines])

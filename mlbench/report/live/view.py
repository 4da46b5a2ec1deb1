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
from mlbench.report.live.ink import Ink, Line, cells, fitted
from mlbench.report.live.region import Painted, Region
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
        encoding = getattr(console.file, "encoding", None) or "utf-8"
        self._glyphs = UNICODE if encoding.lower().startswith("utf") else ASCII
        self._drawn_s = -_LEAST_S
        self._canvas: Canvas | None = None
        self._painted: dict[Line, Painted] = {}

    def __call__(self, event: Event) -> None:
        """Take note of an event, and draw unless that was done a moment ago."""
        self._scene.hear(event)
        now_s = self._clock()
        is_tick = isinstance(event, TrialUnderWay | WorkersAwaited | ImagesPrepared)
        if is_tick and now_s - self._drawn_s < _LEAST_S:
            return
        self._drawn_s = now_s
        canvas = Canvas(*self._console.size, self._glyphs)
        if canvas != self._canvas:
            self._canvas, self._painted = canvas, {}
        lines = draw(self._scene, canvas)
        # Most lines are those of the last drawing: to paint them again would take half of the time.
        known = {line: self._painted.get(line) or self._paint(line, canvas) for line in lines}
        self._painted = known
        self._region.show([known[line] for line in lines])

    def _paint(self, line: Line, canvas: Canvas) -> Painted:
        fit = fitted(line, canvas.width - 1, self._glyphs.cut)
        return self._ink.paint(fit), cells(fit)

"""Make the picture of a run for the documents: the live view in its middle, and its end.

    python tools/picture_live_view.py docs/images/run.svg --budget 60

It is a real run of the embedded default; the options are those of `run`. What a terminal shows in a
trial after half of the budget, and the table at the end, go into one SVG, which asks no network
for fonts.
"""

import re
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from mlbench import run as benchmark
from mlbench.bench.events import AccuracyMeasured, Event, RunStarted, TrialFinished
from mlbench.cli.commands import cli
from mlbench.cli.options import given_only
from mlbench.pool.events import TrialUnderWay
from mlbench.report.final_table import Ending, final_table
from mlbench.report.live.drawing import Canvas, draw
from mlbench.report.live.glyphs import UNICODE
from mlbench.report.live.ink import STYLES, Line, fitted
from mlbench.report.live.scene import Scene
from mlbench.report.loglines import LogLines

_WIDTH, _HEIGHT = 100, 40
_BUDGET_SHARE, _TRIAL_SHARE = 0.6, 0.6  # used by then: intervals have closed in, a trial is going
_LINES_BEFORE = 3


@dataclass
class Photographer:
    """Keeps what a terminal shows at the moment that is wanted."""

    scene: Scene = field(default_factory=Scene)
    ending: Ending = field(default_factory=Ending)
    log: list[str] = field(default_factory=list)
    log_then: list[str] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Look at an event."""
        self.scene.hear(event)
        match event:
            case RunStarted(settings):
                self.ending = Ending(settings.percentile, settings.output)
            case AccuracyMeasured(_, accuracy):
                self.ending.accuracy = accuracy
            case TrialFinished(trial):
                self.ending.host.count(trial)
        if not self.lines and isinstance(event, TrialUnderWay) and self._is_the_moment(event):
            self.lines = draw(self.scene, Canvas(_WIDTH, _HEIGHT, UNICODE))
            self.log_then = self.log[-_LINES_BEFORE:]

    def _is_the_moment(self, seen: TrialUnderWay) -> bool:
        used = self.scene.measured_s >= _BUDGET_SHARE * self.scene.budget_s > 0
        return used and seen.elapsed_s >= _TRIAL_SHARE * seen.length_s and seen.length_s > 1


def options(words: list[str]) -> dict[str, Any]:
    """Return the options of `run` that these words give."""
    command = cli.commands["run"]
    with command.make_context("run", words) as context:
        given = dict(context.params)
    for name in ("quiet", "as_json"):
        given.pop(name)
    return given_only(given)


def main() -> None:
    """Run, and write the picture."""
    path, *words = sys.argv[1:]
    photographer = Photographer()
    recorded = Console(record=True, width=_WIDTH, highlight=False, file=sys.stderr)
    result = benchmark([LogLines(photographer.log.append), photographer], **options([*words]))
    recorded.print(Text(f"$ {shlex.join(['mlbench-coordinator', 'run', *words])}", "bold"))
    for line in photographer.log_then:
        recorded.print(Text(line), overflow="ellipsis", no_wrap=True)
    for whole in photographer.lines:
        line = fitted(whole, _WIDTH - 1, UNICODE.cut)
        recorded.print(Text.assemble(*((text, STYLES.get(style, "")) for text, style in line)))
    recorded.print(Text("...", "dim"))
    recorded.print(final_table(result.answers, photographer.ending))
    picture = recorded.export_svg(title="mlbench-coordinator run")
    bare = re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    Path(path).write_text("\n".join(line.rstrip() for line in bare.splitlines()) + "\n")


if __name__ == "__main__":
    main()

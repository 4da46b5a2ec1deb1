"""The page of a report: what is to be said of its sources, as HTML."""

from collections.abc import Sequence
from pathlib import Path

from mlbench import __version__
from mlbench.report.html import words
from mlbench.report.html.content import Page
from mlbench.report.html.facts import RunFacts
from mlbench.report.html.fields import table, text
from mlbench.report.html.run_sections import cautions, run_sections
from mlbench.report.html.run_sentence import model_name, run_sentence, runs_sentence
from mlbench.report.html.sources import RawSource, Source, SweepSource, TrialSource
from mlbench.report.html.sweep_sections import sweep_page
from mlbench.report.html.trial_sections import raw_page, trial_page

_TEMPLATES = Path(__file__).parent / "templates"


def make_pages(sources: Sequence[Source]) -> list[Page]:
    """Return what a report says of its sources: all runs together, each other one by itself."""
    runs = [source for source in sources if isinstance(source, RunFacts)]
    pages = [runs_page(runs)] if runs else []
    for number, source in enumerate(sources):
        match source:
            case TrialSource():
                pages.append(trial_page(source, f"t{number}"))
            case RawSource():
                pages.append(raw_page(source, f"w{number}"))
            case SweepSource():
                pages.append(sweep_page(source, f"g{number}"))
    return pages


def runs_page(runs: Sequence[RunFacts]) -> Page:
    """Return the page of runs laid over each other."""
    one = runs[0] if len(runs) == 1 else None
    return Page(
        title=f"{model_name(one)}: latency-bounded throughput" if one else "Runs side by side",
        sentence=run_sentence(one) if one else runs_sentence(runs),
        about=_about(one) if one else words.listed([run.name for run in runs]),
        cautions=cautions(runs),
        sections=run_sections(runs),
    )


def _about(run: RunFacts) -> str:
    cpu = table(run.system.get("cpu"))
    parts = [
        run.name,
        text(run.settings.get("backend"), 40),
        text(cpu.get("model"), 80),
        f"{cpu['cores']} cores" if isinstance(cpu.get("cores"), int) else "",
        run.started[:16].replace("T", " "),
    ]
    return " · ".join(filter(None, parts))


def render(pages: Sequence[Page]) -> str:
    """Return the HTML of a report: one file, which needs no other and no network."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (_TEMPLATES / "style.css").read_text()
    template = environment.get_template("page.html.j2")
    return template.render(pages=pages, style=style, version=__version__)

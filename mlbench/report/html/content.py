"""What a page is made of, before it is HTML."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "number", "range", "verdict"]
Shape = Literal[
    "circle",
    "cross",
    "diamond",
    "square",
    "triangle",
    "jewel",
    "line",
    "marked",
    "dashes",
    "band",
    "capacity",
]


@dataclass(frozen=True)
class Column:
    """A column of a table; numbers stand to the right."""

    title: str
    kind: Kind = "text"


@dataclass(frozen=True)
class Table:
    """A table. `bars`: a share of 1 for each row, drawn in the cell of column `bar_in`."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    bars: Sequence[float | None] = ()
    bar_in: int = -1
    block: Literal["table"] = "table"


@dataclass(frozen=True)
class Key:
    """What a colour and a shape in a chart stand for.

    `number`: of the series, whose line has dashes or marks of its own.
    """

    label: str
    shape: Shape
    colour: str
    number: int = 0


@dataclass(frozen=True)
class Chart:
    """A chart drawn for wide and for narrow screens (SVG); `numbers` says the same in figures."""

    title: str
    says: str
    wide: str
    narrow: str
    keys: Sequence[Key]
    numbers: Table
    block: Literal["chart"] = "chart"


@dataclass(frozen=True)
class Text:
    """Sentences, each a paragraph of its own."""

    sentences: Sequence[str]
    block: Literal["text"] = "text"


@dataclass(frozen=True)
class Code:
    """A command, as it is typed."""

    lines: str
    block: Literal["code"] = "code"


@dataclass(frozen=True)
class Folded:
    """Blocks that are folded away under a title until a reader wants them."""

    title: str
    blocks: Sequence["Table | Text | Code"]
    block: Literal["folded"] = "folded"


Block = Table | Chart | Text | Code | Folded


@dataclass(frozen=True)
class Section:
    """A part of the page; one without blocks is left out."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A page: the answer in one sentence, what it is about, what to be careful of, the rest."""

    title: str
    sentence: str
    about: str
    cautions: Sequence[str]
    sections: Sequence[Section]

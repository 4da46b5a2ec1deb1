"""Making something odd out of something usual, by a random generator that is given."""

import random

ODD_NUMBERS = (
    "0",
    "-1",
    "nan",
    "inf",
    "1e400",
    "1e-400",
    "1e12",
    "9" * 23,
    "9" * 5000,
    "2147483648",
)
ODD_WORDS = ("", " ", "\x00", "\x1b[2J", "\u202e", "é", "../..", "-", "=", ",", "x" * 5000)
_ODD_BYTES = (b"\x00", b"\xff", b"\x7f\xff\xff\xff", b"\xff" * 8, b"\n", b'"', b"{", b"[" * 2000)


def odd_word(rng: random.Random) -> str:
    """Return a number or a word that hardly anybody expects."""
    kinds = (ODD_NUMBERS, ODD_WORDS, (str(rng.randrange(2000)), str(rng.random() * 10)))
    return rng.choice(rng.choice(kinds))


def odd_bytes(rng: random.Random, usual: bytes) -> bytes:
    """Return some bytes with a few changes: flipped, lost, doubled, put in, or cut off."""
    content = bytearray(usual)
    for _ in range(rng.choice((0, 1, 1, 2, 5, 30))):
        _change(rng, content)
    return bytes(content)


def odd_text(rng: random.Random, lines: list[str]) -> bytes:
    """Return lines of text with some of them changed, moved, doubled or left out, as bytes."""
    lines = list(lines)
    for _ in range(rng.choice((0, 1, 2, 4))):
        place = rng.randrange(len(lines))
        words = lines[place].split(" ")
        words[rng.randrange(len(words))] = odd_word(rng)
        changed = rng.choice((" ".join(words), lines[place] + odd_word(rng), odd_word(rng)))
        lines[place : place + rng.choice((0, 1, 1, 1, 2))] = [changed] * rng.choice((0, 1, 1, 3))
        lines = lines or [odd_word(rng)]
    text = rng.choice(("\n", "\n", "\r\n")).join(lines)
    encoded = text.encode(rng.choice(("utf-8",) * 5 + ("utf-16", "latin-1")), "replace")
    return odd_bytes(rng, encoded) if rng.random() < 0.2 else encoded


def _change(rng: random.Random, content: bytearray) -> None:
    begin = rng.randrange(len(content) + 1)
    # Headers are where most goes wrong: half of all changes are within the first 200 bytes.
    begin = begin % 200 if rng.random() < 0.5 else begin
    end = begin + rng.choice((1, 1, 1, 4, 30))
    match rng.randrange(6):
        case 0:
            content[begin:end] = rng.randbytes(end - begin)
        case 1:
            del content[begin:end]
        case 2:
            content[begin:begin] = content[begin:end]
        case 3:
            content[begin:begin] = rng.choice(_ODD_BYTES)
        case 4:
            del content[begin:]
        case _:
            for place in range(begin, min(end, len(content))):
                content[place] ^= 1 << rng.randrange(8)

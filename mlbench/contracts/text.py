"""Text that is safe to show."""

_SHOWN = 60  # characters: what is quoted leaves room for the reason in a line


def printable(text: str) -> str:
    r"""Return text with whatever is no printable character as its escape, such as \x1b.

    Models, file names and plug-ins bring text of their own. On a terminal a control character in
    it could erase lines, or write others in their place.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(text: str) -> str:
    """Return what somebody gave as an error quotes it: its beginning, where it is long."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."

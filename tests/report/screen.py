"""A terminal as far as the live view uses one: what stands on it after some bytes."""

import re

_TOKEN = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


class Screen:
    """Rows of text and a cursor; lines longer than `width` wrap. It refuses unknown escapes."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.rows: list[str] = [""]
        self._row = self._column = 0

    def write(self, text: str) -> None:
        """Take in what was sent."""
        for match in _TOKEN.finditer(text):
            numbers, command, control, plain = match.groups()
            if command:
                self._obey(command, numbers)
            elif control == "\r":
                self._column = 0
            elif control == "\n":
                self._down()
            else:
                for character in plain:
                    self._put(character)

    def _obey(self, command: str, numbers: str) -> None:
        match command:
            case "A":
                self._row -= int(numbers or 1)
                assert self._row >= 0, "moved above the screen"
            case "K":
                self.rows[self._row] = self.rows[self._row][: self._column]
            case "J":
                self.rows[self._row] = self.rows[self._row][: self._column]
                del self.rows[self._row + 1 :]
            case "m":
                pass
            case _:
                raise AssertionError(f"unknown escape {numbers}{command}")

    def _put(self, character: str) -> None:
        if self._column == self.width:
            self._down()
        row = self.rows[self._row].ljust(self._column)
        self.rows[self._row] = row[: self._column] + character + row[self._column + 1 :]
        self._column += 1

    def _down(self) -> None:
        self._row, self._column = self._row + 1, 0
        if self._row == len(self.rows):
            self.rows.append("")

    @property
    def text(self) -> str:
        """What can be read."""
        return "\n".join(row.rstrip() for row in self.rows)

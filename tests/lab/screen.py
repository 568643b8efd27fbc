"""What a terminal shows once it has been sent a text: its lines, wrapped where they are too long.

assert Screen("moving\\r\\x1b[Kmessage\\n", columns=80).lines == ["message"]

It knows what a provisioner uses: carriage return, new line, and erasing to the end of the line.
"""

from __future__ import annotations

import re


class Screen:
    """A terminal that is as long as it need be."""

    def __init__(self, text: str, columns: int) -> None:
        self.columns = columns
        self._rows = [""]
        self._column = 0
        for piece in re.findall(r"\x1b\[K|\r|\n|[^\x1b\r\n]", text):
            self._take(piece)

    @property
    def lines(self) -> list[str]:
        """The rows, without spaces at their ends; the last one only if something stands there."""
        rows = [row.rstrip() for row in self._rows]
        return rows if rows[-1] else rows[:-1]

    def _take(self, piece: str) -> None:
        row = self._rows[-1]
        if piece == "\r":
            self._column = 0
        elif piece == "\n":
            self._new_row()
        elif piece == "\x1b[K":
            self._rows[-1] = row[: self._column]
        else:
            if self._column == self.columns:
                self._new_row()
                row = ""
            self._rows[-1] = row[: self._column].ljust(self._column) + piece + row[self._column + 1 :]
            self._column += 1

    def _new_row(self) -> None:
        self._rows.append("")
        self._column = 0

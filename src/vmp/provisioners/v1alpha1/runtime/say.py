"""What the user is told: progress, warnings, errors, and with V=1 each command. The last line may move."""

from __future__ import annotations

import os
import re
import shlex
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class Problem(Exception):
    """Ends a run: what is wrong, and in the hints what to do about it."""

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(message)
        self.hints = [hint for hint in hints if hint]

    def text(self) -> str:
        """Return the message, and below it the hints, indented."""
        lines = [line for hint in self.hints for line in hint.rstrip("\n").split("\n")]
        return "\n  ".join([f"error: {self}", *lines])


class MovingLine:
    """The last line of the terminal, where one at a time shows how far its work is. Messages are printed above it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: object = None
        self._text = ""
        self._ended = False
        self.several = False
        """More than one machine is at work: then nobody has the line."""

    def columns(self) -> int:
        """Return how wide the line may be; 0 where none is to be shown."""
        return 0 if self.several else _terminal_columns()

    def show(self, owner: object, text: str) -> bool:
        """Show a text in place of the one before; False where another owner has the line."""
        with self._lock:
            if self._ended or self._owner not in (None, owner):
                return False
            self._owner, self._text = owner, text
            _put(self._drawn())
            return True

    def release(self, owner: object) -> None:
        """Erase the line, if it is the owner's, and leave it to others."""
        with self._lock:
            if self._owner is owner:
                self._erase()

    def end(self) -> None:
        """Erase the line, whoever has it, and show none any more: this run ends."""
        with self._lock:
            if self._owner is not None:
                self._erase()
            self._ended = True

    @contextmanager
    def lent(self) -> Iterator[int]:
        """Leave the line to another program for the length of a block; give its columns, or 0 for no line."""
        owner = object()
        columns = self.columns()
        try:
            yield columns if columns and self.show(owner, "") else 0
        finally:
            self.release(owner)

    def print_above(self, data: bytes, stream: int) -> None:
        """Print whole lines; the moving one is below them again at once."""
        with self._lock:
            erase, draw = (b"", b"") if self._owner is None else (_ERASE, self._drawn())
            if stream == 2:
                _put(erase + data + draw)  # in one breath: another program may have been lent the line
                return
            _put(erase)
            try:
                _put(data, stream)
            finally:
                _put(draw)

    def _drawn(self) -> bytes:
        return f"\r{self._text}\x1b[K".encode(errors="replace")

    def _erase(self) -> None:
        self._owner = None
        _put(_ERASE)


_ERASE = b"\r\x1b[K"
moving_line = MovingLine()


def _terminal_columns() -> int:
    """Return the width of the terminal on which somebody watches our messages; 0 where nobody does.

    VMP_PROGRESS tells it to a program that another one has started. What runs in the background shows no line that
    moves: it would stand where the user types.
    """
    given = os.environ.get("VMP_PROGRESS", "")
    if given.isdecimal():
        return int(given)
    if os.environ.get("TERM", "dumb") == "dumb" or not os.isatty(2):
        return 0
    try:
        if os.tcgetpgrp(2) != os.getpgrp():
            return 0
    except OSError:
        pass  # it is not the terminal from which we were started
    try:
        return os.get_terminal_size(2).columns or 80
    except OSError:
        return 0


def write(text: str, stream: int = 2) -> None:
    """Write a whole line or several at once, so that lines of VMs at work side by side do not mix."""
    moving_line.print_above(f"{text}\n".encode(errors="surrogateescape"), stream)


def _put(data: bytes, stream: int = 2) -> None:
    try:
        while data:
            data = data[os.write(stream, data) :]
    except OSError:
        if stream == 1:
            raise
        # Nobody reads our messages any more: that is no reason to leave the work half done.


def printable(text: str, lines: int = 20) -> str:
    """Return the last lines, without anything that a terminal would obey."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    plain = "".join([letter for letter in plain if letter.isprintable() or letter in "\t\n"])
    return "\n".join(plain.rstrip("\n").split("\n")[-lines:]).strip("\n")


def show(words: Sequence[str]) -> None:
    """With V=1, show a command as it could be pasted into a shell, but for the password of a URL."""
    if os.environ.get("V") == "1":
        shown = [re.sub(r"(://[^/\s:@]*):[^/\s@]*@", r"\1:...@", word) for word in words]
        write(f"+ {shlex.join(shown)}")

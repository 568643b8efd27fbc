"""What the user is told: progress, warnings, errors, and with V=1 each command."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence


class Problem(Exception):
    """Ends a run: what is wrong, and in the hints what to do about it."""

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(message)
        self.hints = [hint for hint in hints if hint]

    def text(self) -> str:
        """Return the message, and below it the hints, indented."""
        lines = [line for hint in self.hints for line in hint.rstrip("\n").split("\n")]
        return "\n  ".join([f"error: {self}", *lines])


def write(text: str, stream: int = 2) -> None:
    """Write a whole line or several at once, so that lines of VMs at work side by side do not mix."""
    data = f"{text}\n".encode(errors="surrogateescape")
    try:
        while data:
            data = data[os.write(stream, data) :]
    except OSError:
        if stream == 1:
            raise
        # Nobody reads our messages any more: that is no reason to leave the work half done.


def printable(text: str, lines: int = 20) -> str:
    """Return the last lines, without anything that a terminal would obey."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]", "", text)
    return "\n".join(plain.rstrip("\n").split("\n")[-lines:]).strip("\n")


def show(words: Sequence[str]) -> None:
    """With V=1, show a command as it could be pasted into a shell, but for the password of a URL."""
    if os.environ.get("V") == "1":
        shown = [re.sub(r"(://[^/\s:@]*):[^/\s@]*@", r"\1:...@", word) for word in words]
        write(f"+ {shlex.join(shown)}")


def on_terminal() -> bool:
    """Tell whether somebody watches our messages."""
    return sys.stderr is not None and sys.stderr.isatty()

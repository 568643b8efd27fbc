"""A command on a pseudo-terminal of its own, for what talks to a person: `make -C vm1 console`.

As in

    with Console(["make", "-C", "vm1", "console"]) as console:
        console.expect("Welcome to", timeout=60)
        console.send("uname\\n")
        console.expect("Linux")

where a failing `expect` shows what the terminal showed.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

SHOWN_CHARACTERS = 4000
NUDGE_SECONDS = 3.0
ROWS, COLUMNS = 50, 200  # wide, so that no message is broken into lines


class ConsoleError(AssertionError):
    """What was waited for did not come; the message ends with what came instead."""


class Console:
    """Runs `command` from the start, and keeps all that it prints in `transcript`."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        echo: bool = False,
    ) -> None:
        self.command = [str(word) for word in command]
        self.transcript = ""
        self._echo = echo  # to standard output, for somebody who watches
        self._seen = 0  # expect() looks no further back than this
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
        # The controlling terminal of a session of its own: ssh reads passwords from that one.
        self._process = subprocess.Popen(
            self.command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env=env,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def __enter__(self) -> Console:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process of the command, which leads its group and its session."""
        return self._process.pid

    def expect(self, pattern: str, timeout: float = 10, nudge: str = "") -> re.Match[str]:
        """Wait until `pattern` (multi-line regular expression) comes after the last match.

        `nudge` is typed every few seconds meanwhile: a prompt that was printed before we looked comes again.
        """
        deadline = time.monotonic() + timeout
        expression = re.compile(pattern, re.MULTILINE)
        while True:
            if match := expression.search(self.transcript, self._seen):
                self._seen = match.end()
                return match
            seconds = deadline - time.monotonic()
            if self._read(min(seconds, NUDGE_SECONDS) if nudge else seconds):
                continue
            code = self._process.poll()
            if nudge and seconds > 0 and code is None:
                self.send(nudge)
                continue
            why = f"did not come within {timeout:g} s" if code is None else f"did not come, and it ended with {code}"
            raise self._error(f"{pattern!r} {why}")

    def send(self, text: str) -> None:
        """Type `text`; Enter is `\\n`, Ctrl+] is `\\x1d`."""
        os.write(self._master, text.encode())

    def wait(self, timeout: float = 10) -> int:
        """Wait until the command ends, and return its exit code."""
        deadline = time.monotonic() + timeout
        while self._read(deadline - time.monotonic()):
            pass
        try:
            return self._process.wait(max(0.0, deadline - time.monotonic()) + 0.5)
        except subprocess.TimeoutExpired:
            raise self._error(f"still runs after {timeout:g} s") from None

    def close(self) -> None:
        """Hang up, as closing the terminal's window would; what does not end by that is killed."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _read(self, seconds: float) -> bool:
        """Take what comes within `seconds`; False when nothing does, or never will."""
        if not select.select([self._master], [], [], max(0.0, seconds))[0]:
            return False
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:  # EIO: the last one that had the terminal open has gone
            return False
        # A guest's terminal sends what it likes.
        text = data.decode(errors="replace").replace("\r\n", "\n")
        self.transcript += text
        if self._echo:
            print(text, end="", flush=True)
        return bool(data)

    def _error(self, what: str) -> ConsoleError:
        return ConsoleError(
            f"{shlex.join(self.command)}: {what}; the terminal showed:\n{self.transcript[-SHOWN_CHARACTERS:]}"
        )


def main(arguments: Sequence[str]) -> int:
    """Show what a command prints on a terminal until a pattern comes: console.py --until PATTERN -- COMMAND..."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--until", required=True, metavar="PATTERN", help="a regular expression")
    parser.add_argument("--timeout", type=float, default=60, metavar="SECONDS")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    with Console(options.command, echo=True) as console:
        try:
            console.expect(options.until, timeout=options.timeout)
        except ConsoleError as error:
            print(f"\n{error}", file=sys.stderr)
            return 1
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

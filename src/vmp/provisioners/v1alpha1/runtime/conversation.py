"""A conversation with one virsh over pipes: it is told a command, its answer is read, and only then comes the next.

Around each answer stand two marks that virsh's own `echo` prints; they hold a random word, so nothing that libvirt says
can pass for one. Errors come on a pipe of their own. If this process dies, virsh reaches the end of its input and ends.
"""

from __future__ import annotations

import os
import selectors
import shlex
import subprocess
import time
from collections.abc import Sequence
from typing import NamedTuple

from .programs import end, environment
from .say import Problem

_PROMPTS = (b"virsh # ", b"virsh > ")
_NO_CACHE = "/dev/null"
_INPUTRC = b"""set convert-meta off
set input-meta on
set output-meta on
set disable-completion on
set bell-style none
set enable-bracketed-paste off
"\\t": self-insert
"""


class Failed(Problem):
    """libvirt refused a command; the message is its own words."""


class Lost(Problem):
    """The connection was lost, or virsh died or hung: nothing is known of what was asked."""


class Hung(Lost):
    """virsh has not answered in time, and was ended."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"virsh took longer than {seconds:g} seconds and was ended",
            "V1ALPHA1_COMMAND_TIMEOUT_SECS gives it more time; V=1 shows what it was asked",
        )


def lost(uri: str, words: str = "") -> Lost:
    """Return the error of a virsh that has ended by itself; ``words`` are its own."""
    hint = f"see whether libvirt answers: {shlex.join(['virsh', '-c', uri, 'version'])}"
    return Lost(words or f"the connection to {uri} was lost", hint)


class Replies(NamedTuple):
    """What virsh has said to commands that were sent in one breath."""

    outputs: list[str | None]
    """One for each command; None where virsh did not understand it."""
    errors: str
    """Of all of them; a pipe of its own, on which nothing says whose they are."""
    echo: bytes
    """What stood before the first answer: with readline, the command itself."""


class Conversation:
    """One virsh that reads its commands from a pipe."""

    def __init__(self, words: Sequence[str], uri: str, directory: str) -> None:
        self.uri = uri
        self._word = os.urandom(8).hex()
        self._count = 0
        inputrc = _temporary(_INPUTRC)
        more = {"INPUTRC": f"/dev/fd/{inputrc}", "TERM": "dumb"}
        if uri.partition("?")[0].endswith("/system"):
            more["XDG_CACHE_HOME"] = _NO_CACHE  # no history is read or written there, even if we are killed
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                words, stdin=pipe, stdout=pipe, stderr=pipe, env=environment(**more), pass_fds=[inputrc], cwd=directory
            )
        except FileNotFoundError:
            raise Problem("virsh is not installed; it is needed to talk to libvirt") from None
        finally:
            os.close(inputrc)
        self.pid = self._process.pid
        streams = (self._process.stdin, self._process.stdout, self._process.stderr)
        self._in, self._out, self._err = [stream.fileno() for stream in streams if stream]
        for stream in (self._in, self._out, self._err):
            os.set_blocking(stream, False)

    def end(self) -> None:
        """End virsh by a signal: at the end of its input it would write its commands into the user's history."""
        self._process.terminate()
        self._read_to_end(bytearray())  # it ends at once, which `end` would see some milliseconds later
        end(self._process)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            try:
                if stream:
                    stream.close()
            except OSError:
                pass  # it had unsent words for a virsh that is gone

    def exchange(self, commands: Sequence[str], seconds: float) -> Replies:
        """Send commands, and wait for the answers to all; 0 seconds are for ever. Raises Lost and Hung."""
        lines, marks = "", []
        for command in commands:
            self._count += 1
            begin, finish = f"/@/{self._word}/{self._count}<", f"/@/{self._word}/{self._count}>"
            # The quotes keep virsh's echo of this line from looking like the marks that `echo` prints.
            lines += f"echo '/@/''{begin[3:]}' ; {command}\necho '/@/''{finish[3:]}'\n\n"
            marks.append((begin.encode(), finish.encode()))
        for stream in (self._out, self._err):
            while _read(stream):
                pass  # what virsh said unasked, such as that a connection ended while nobody used it
        said, errors = self._read_until(lines.encode(errors="surrogateescape"), marks[-1][1], seconds)
        outputs: list[str | None] = []
        place = 0
        for start_mark, end_mark in marks:
            end = said.index(end_mark, place)
            start = said.find(start_mark, place, end)
            prompt = max(said.rfind(prompt, place, end) for prompt in _PROMPTS)
            answer = said[start + len(start_mark) : prompt if prompt > start else end]
            outputs.append(answer.decode(errors="surrogateescape") if start >= 0 else None)
            place = end + len(end_mark)
        echo = said.partition(marks[0][0])[0]
        return Replies(outputs, errors.decode(errors="replace"), echo)

    def _read_until(self, lines: bytes, finish: bytes, seconds: float) -> tuple[bytes, bytes]:
        """Send lines, reading all the while, as both pipes are small, until the last mark has come."""
        deadline = time.monotonic() + seconds if seconds else None
        said = {self._out: bytearray(), self._err: bytearray()}
        with selectors.DefaultSelector() as selector:
            for stream in said:
                selector.register(stream, selectors.EVENT_READ)
            selector.register(self._in, selectors.EVENT_WRITE)
            searched = 0
            while said[self._out].find(finish, searched) < 0:
                searched = max(0, len(said[self._out]) - len(finish))
                left = None if deadline is None else deadline - time.monotonic()
                events = selector.select(left) if left is None or left > 0 else []
                if not events:
                    raise Hung(seconds)
                for key, _ in events:
                    if key.fd == self._in:
                        lines = self._send(lines)
                        if not lines:
                            selector.unregister(self._in)
                        continue
                    data = os.read(key.fd, 65536)
                    said[key.fd] += data
                    if not data:
                        selector.unregister(key.fd)
                        if key.fd == self._out:
                            raise self._death(bytes(said[self._err]))
        while data := _read(self._err):
            said[self._err] += data
        return bytes(said[self._out]), bytes(said[self._err])

    def _send(self, lines: bytes) -> bytes:
        """Send what the pipe takes, and return the rest; nothing is left for a virsh that is gone."""
        try:
            return lines[os.write(self._in, lines) :]
        except BlockingIOError:
            return lines
        except OSError:
            return b""

    def _death(self, errors: bytes) -> Lost:
        """Return the error of a virsh that has ended by itself: it could not connect, or somebody ended it."""
        said = bytearray(errors)
        self._read_to_end(said)
        lines = [line.removeprefix("error: ") for line in said.decode(errors="replace").splitlines()]
        words = "\n  ".join([line for line in lines if line and _NO_CACHE not in line])
        return lost(self.uri, words)

    def _read_to_end(self, errors: bytearray) -> None:
        """Add what virsh still says of errors, until it has ended, or has said nothing for a second."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._err, selectors.EVENT_READ)
            while selector.select(1) and (data := os.read(self._err, 65536)):
                errors += data


def _read(stream: int) -> bytes:
    try:
        return os.read(stream, 65536)
    except BlockingIOError:
        return b""


def _temporary(content: bytes) -> int:
    """Return a descriptor of a file that has no name."""
    if hasattr(os, "memfd_create"):
        found = os.memfd_create("vmp")
    else:
        import tempfile

        found = os.dup(tempfile.TemporaryFile().fileno())  # noqa: SIM115
    os.write(found, content)
    os.lseek(found, 0, os.SEEK_SET)
    return found

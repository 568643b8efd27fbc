"""A conversation with one virsh: it keeps one connection, and is asked and told one thing after the other.

virsh reads commands from its standard input. Around each answer stand two marks that its own `echo` prints; they hold
a random word, so nothing that libvirt says can pass for one. Errors come on a pipe of their own. Each question is sent
only after the last answer was read: if this process dies, virsh reaches the end of its input and ends.
Where a virsh cannot converse (it lacks readline), each question is a process of its own: slower, and as correct.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import threading
import time
from collections.abc import Sequence

from .programs import end, environment, run
from .say import Problem, show

_PROMPTS = (b"virsh # ", b"virsh > ")

_NO_CACHE = "/dev/null"

_FIRST = 60.0
"""Seconds for the first answer, the connection included."""

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


def quote(word: str) -> str:
    """Quote a word for virsh's own parser, which reads quotes as a shell does."""
    return "'" + word.replace("'", "'\\''") + "'"


class Virsh:
    """One connection to libvirt. It opens when it is first used."""

    def __init__(
        self, uri: str, seconds: int, directory: str = ".", shown_uri: str = "", *, read_only: bool = False
    ) -> None:
        self.uri = uri
        self.seconds = seconds
        self.directory = directory
        self._shown = ["virsh", *(["-r"] if read_only else []), "-c", shown_uri or uri]
        self._words = ["virsh", "-q", *(["-r"] if read_only else []), "-c", uri]
        self._process: subprocess.Popen[bytes] | None = None
        self._converses = True
        self._word = ""
        self._count = 0
        self._lock = threading.Lock()

    def ask(self, *words: str, seconds: int | None = None) -> str:
        """Return what a command prints. Raises Failed with libvirt's words, or Lost."""
        show([*self._shown, *words])
        if any(ord(letter) < 32 or ord(letter) == 127 for word in words for letter in word):
            return self._ask_process(words, seconds)
        with self._lock:
            if self._converses and self._process is None:
                self._begin()
            if self._converses:
                return self._converse(" ".join(map(quote, words)), self._bound(seconds))
        return self._ask_process(words, seconds)

    def try_(self, *words: str) -> str:
        """Carry out a command that may be refused; return libvirt's words then, else ''."""
        try:
            self.ask(*words)
        except Failed as error:
            return str(error) or "libvirt gave no reason"
        return ""

    def close(self) -> None:
        """End virsh by a signal: at the end of its input it would write its commands into the user's history."""
        if self._process is not None:
            process, self._process = self._process, None
            end(process)
            for stream in (process.stdin, process.stdout, process.stderr):
                try:
                    stream and stream.close()
                except OSError:
                    pass

    def _bound(self, seconds: int | None) -> float:
        return float(self.seconds if seconds is None else seconds)

    def _begin(self) -> None:
        inputrc = _temporary(_INPUTRC)
        more = {"INPUTRC": f"/dev/fd/{inputrc}", "TERM": "dumb"}
        if self.uri.partition("?")[0].endswith("/system"):
            more["XDG_CACHE_HOME"] = _NO_CACHE  # no history is read or written there, even if we are killed
        self._word = os.urandom(8).hex()
        try:
            self._process = subprocess.Popen(
                self._words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment(**more),
                pass_fds=[inputrc],
                cwd=self.directory,
            )
        except FileNotFoundError:
            raise Problem("virsh is not installed; it is needed to talk to libvirt") from None
        finally:
            os.close(inputrc)
        for stream in (self._process.stdout, self._process.stderr):
            assert stream
            os.set_blocking(stream.fileno(), False)
        try:
            echoed = self._exchange("echo ready", min(self._bound(None) or _FIRST, _FIRST))[2]
        except Hung:  # it lives, and is silent: without readline it may keep its answers to itself
            self._converses = False
            return
        if b"echo ready" not in echoed:  # no readline: a line may have 1023 bytes at most
            self.close()
            self._converses = False

    def _converse(self, command: str, seconds: float) -> str:
        answer, errors, _ = self._exchange(command, seconds)
        failure = "\n".join(
            [line[7:] if line.startswith("error: ") else f"  {line}" for line in errors.splitlines() if line]
        )
        if answer is None or errors.lstrip("\n").startswith("error: "):
            raise Failed(failure or "virsh gave no answer")
        return answer

    def _exchange(self, command: str, seconds: float) -> tuple[str | None, str, bytes]:
        """Send a command; return its output (None if virsh did not understand it), its errors, and the echo of it."""
        assert self._process and self._process.stdin and self._process.stdout and self._process.stderr
        self._count += 1
        begin, finish = f"/@/{self._word}/{self._count}<", f"/@/{self._word}/{self._count}>"
        # The quotes keep virsh's echo of this line from looking like the marks that `echo` prints.
        lines = f"echo '/@/''{begin[3:]}' ; {command}\necho '/@/''{finish[3:]}'\n\n"
        self._drain()
        try:
            output, errors = self._read_until(lines.encode(errors="surrogateescape"), finish.encode(), seconds)
        except BaseException:
            self._kill()  # whoever asks next, after Ctrl+C too, asks another virsh
            raise
        before, found, rest = output.partition(begin.encode())
        if not found:
            return None, errors.decode(errors="replace"), before
        rest = rest[: rest.index(finish.encode())]
        prompt = max(rest.rfind(prompt) for prompt in _PROMPTS)
        if prompt >= 0:
            rest = rest[:prompt]
        return rest.decode(errors="surrogateescape"), errors.decode(errors="replace"), before

    def _drain(self) -> None:
        """Forget what virsh said unasked, such as that a connection ended while nobody used it."""
        assert self._process
        for stream in (self._process.stdout, self._process.stderr):
            assert stream
            while _read(stream.fileno()):
                pass

    def _read_until(self, lines: bytes, finish: bytes, seconds: float) -> tuple[bytes, bytes]:
        """Send lines, reading all the while, as both pipes are small, until the last mark has come."""
        process = self._process
        deadline = time.monotonic() + seconds if seconds else None
        assert process and process.stdin and process.stdout and process.stderr
        streams = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
        out, err = streams
        with selectors.DefaultSelector() as selector:
            for stream in streams:
                selector.register(stream, selectors.EVENT_READ)
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin.fileno(), selectors.EVENT_WRITE)
            while finish not in streams[out]:
                left = None if deadline is None else deadline - time.monotonic()
                events = selector.select(left) if left is None or left > 0 else []
                if not events:
                    raise Hung(f"virsh took longer than {seconds:g} seconds and was ended")
                for key, _ in events:
                    if key.fd == process.stdin.fileno():
                        try:
                            lines = lines[os.write(key.fd, lines) :]
                        except OSError:
                            lines = b""
                        if not lines:
                            selector.unregister(key.fd)
                        continue
                    data = os.read(key.fd, 65536)
                    streams[key.fd] += data
                    if not data:
                        selector.unregister(key.fd)
                        if key.fd == out:
                            self._die(bytes(streams[err]))
        while data := _read(err):
            streams[err] += data
        return bytes(streams[out]), bytes(streams[err])

    def _die(self, errors: bytes) -> None:
        """virsh has ended by itself: it could not connect, or somebody ended it."""
        assert self._process and self._process.stderr
        while data := os.read(self._process.stderr.fileno(), 65536) if _wait(self._process.stderr.fileno()) else b"":
            errors += data
        self._kill()
        lines = [line.removeprefix("error: ") for line in errors.decode(errors="replace").splitlines()]
        words = "\n  ".join([line for line in lines if line and _NO_CACHE not in line])
        raise Lost(words or f"the connection to {self.uri} was lost")

    def _kill(self) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            end(process)

    def _ask_process(self, words: Sequence[str], seconds: int | None) -> str:
        bound = self._bound(seconds)
        ended = run([*self._words, *words], bound, cwd=self.directory)
        if ended.timed_out:
            raise Hung(f"virsh took longer than {bound:g} seconds and was ended")
        if ended.code < 0:
            raise Lost(f"the connection to {self.uri} was lost")
        if ended.code:
            raise Failed(ended.errors.replace("error: ", "").strip("\n").replace("\n", "\n  "))
        return ended.output


def _wait(stream: int) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return bool(selector.select(1))


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

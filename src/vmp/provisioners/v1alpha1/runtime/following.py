"""What a guest prints on its serial console, followed beside other work: the words of an installer."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import threading
from collections import deque

from .console import open_console
from .facts import Vm
from .files import remove
from .say import printable

_PAUSES = (2, 4, 8, 15, 30)
"""Seconds before each next try to attach, where nothing was printed: there may be no serial console."""
_LONGEST = 4096
"""Letters of a line that has no end, such as one on which a wheel turns."""
_BEGINNING = "Escape character is "
"""How virsh's last line begins before the guest's first."""


def _lock_file(vm: Vm) -> str:
    return vm.file(".console.lock")


def is_followed(vm: Vm) -> bool:
    """Tell whether a run of ours is attached to the console, which gives it up to who asks."""
    try:
        file = os.open(_lock_file(vm), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(file)


class Following:
    """What a guest prints on its serial console from now on."""

    def __init__(self, vm: Vm) -> None:
        self._vm = vm
        self._lines: deque[str] = deque(maxlen=200)
        self._rest = ""
        self._greeted = False
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._file = -1

    def __enter__(self) -> Following:
        try:
            self._file = os.open(_lock_file(self._vm), os.O_WRONLY | os.O_CREAT, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pass  # another run follows it, too: libvirt lets one of the two
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._ended.set()
            if self._process:
                self._process.kill()  # while it is attached, it hears no gentler signal
        self._thread.join(5)
        if self._file >= 0:
            remove(_lock_file(self._vm))
            os.close(self._file)

    def last(self) -> str:
        """Return the last line that says something."""
        return next((line for line in (_line(self._rest), *reversed(self._lines)) if line), "")

    def tail(self) -> list[str]:
        """Return the last lines, below a heading."""
        lines = [*list(self._lines)[-20:], *filter(None, [_line(self._rest)])]
        return ["the end of the console:", *lines] if lines else ["the console shows nothing"]

    def _follow(self) -> None:
        """Be attached until the end. Who is sent away by `virsh console --force`, or comes too early, comes again."""
        tries = 0
        while not self._ended.is_set():
            heard = len(self._rest) + len(self._lines)
            try:
                self._attach()
            except OSError:
                pass  # virsh could not be started, or has ended
            tries = 0 if heard != len(self._rest) + len(self._lines) else min(tries + 1, len(_PAUSES) - 1)
            self._ended.wait(_PAUSES[tries])

    def _attach(self) -> None:
        with self._lock:
            if self._ended.is_set():
                return
            self._process, master = open_console(self._vm)
        self._greeted = False
        try:
            while data := os.read(master, 65536):
                self._take(data.decode(errors="replace"))
        finally:
            os.close(master)
            self._process.wait()

    def _take(self, text: str) -> None:
        """Take what was printed. An installer with windows moves the cursor where others begin a line."""
        *lines, self._rest = re.split(r"[\r\n]+|\x1b\[[0-9;]*[HfdJ]", self._rest + text)
        self._rest = self._rest[-_LONGEST:]
        for line in lines:
            if self._greeted:
                self._lines.extend(filter(None, [_line(line)]))
            self._greeted = self._greeted or line.startswith(_BEGINNING)


def _line(text: str) -> str:
    return printable(text, 1).strip()

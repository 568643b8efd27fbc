"""Files of the directory: their sizes, their removal, and locks, so that runs that share a file take turns."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from .say import Problem, write


def size_of(path: str) -> int:
    """Return the bytes of a file; 0 where there is none."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def read_text(path: str) -> str:
    """Return what a small file says; '' where it cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError):
        return ""


def write_text(path: str, text: str) -> None:
    """Write a file whole or not at all. What is written may hold passwords: the umask leaves it to its owner."""
    try:
        with open(f"{path}.tmp", "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        os.replace(f"{path}.tmp", path)
    except OSError as error:
        remove(f"{path}.tmp")
        directory = os.path.dirname(os.path.abspath(path))
        raise Problem(
            f"cannot write into the directory of this VM: {error.strerror}",
            f"see whether its disk is full: df {directory}",
        ) from None


def remove(*paths: str) -> None:
    """Remove files, if they are there."""
    for path in paths:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass


class Turn:
    """A lock that a run holds while it is its turn."""

    def __init__(self, file: int, name: str, who: str) -> None:
        self._file = file
        self._name = name
        self._who = who

    def take(self) -> None:
        """Wait for the lock."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            write(f"{self._name}: waiting for another run that {self._who}")
            fcntl.flock(self._file, fcntl.LOCK_EX)

    @contextmanager
    def let_others(self) -> Iterator[None]:
        """Let other runs take their turn for the length of a block. What was looked at before may then have changed."""
        fcntl.flock(self._file, fcntl.LOCK_UN)
        yield
        self.take()


@contextmanager
def lock(path: str, name: str, who: str) -> Iterator[Turn]:
    """Wait for a lock and hold it for the length of a block; the kernel frees it when the run ends, however it ends."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise Problem(
            f"cannot write {path}: {error.strerror}",
            "a run writes into this directory: make it writable, or use a copy of it elsewhere",
        ) from None
    try:
        turn = Turn(file, name, who)
        turn.take()
        yield turn
    finally:
        os.close(file)


@contextmanager
def scratch(path: str, text: str) -> Iterator[str]:
    """Hold a text in a file for the length of a block, for virsh to read."""
    write_text(path, text)
    try:
        yield path
    finally:
        remove(path)

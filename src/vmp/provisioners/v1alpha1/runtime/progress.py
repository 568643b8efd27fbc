"""How far work is that takes long: a line that moves on a terminal, a line every ten seconds elsewhere.

A thread looks from time to time. Work that ends before it has looked costs nothing, and nothing is shown of it.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from .facts import Vm
from .say import Problem, moving_line, printable, write

LOOK_SECONDS = 0.25
FIRST_SECONDS = 1.0
"""After so long the line that moves is shown."""
LINE_SECONDS = 10.0
"""So far apart are the lines where none moves."""
_RATE_SECONDS = 8.0
"""For so long back a rate is told."""
_STILL_SECONDS = 5.0
"""After so long without a byte it is said that nothing comes."""
_MARGIN = 3
"""Columns that stay free: the terminal itself writes ^C there, which must not break the line."""
_HEAD = 20
"""So many columns are left to the names before the rate or the time left goes: a message above has them whole."""


class Progress:
    """Shows how far the work of a block is, by what is done, or by the time.

    ``done`` returns the bytes that are done so far, None where nobody knows; ``total`` is how many there will be, or
    returns it once it is known; 0 stands for not known. ``seconds`` is how long the work may take. ``note`` returns a
    text of which the last line is shown. The callables are called from another thread, and may raise OSError.
    """

    def __init__(
        self,
        vm: Vm,
        what: str,
        *,
        total: int | Callable[[], int] = 0,
        done: Callable[[], int | None] | None = None,
        seconds: int = 0,
        note: Callable[[], str] | None = None,
    ) -> None:
        self._head = _visible(f"{vm.name}: {what}")
        self._total = total
        self._done = done
        self._seconds = seconds
        self._note = note
        self._pace = Pace()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._stop.set()
            self._thread.join()
        finally:
            moving_line.release(self)

    def _watch(self) -> None:
        begin = line = time.monotonic()
        while not self._stop.wait(LOOK_SECONDS):
            self._look()
            columns, now = moving_line.columns(), time.monotonic()
            if not columns:
                moving_line.release(self)
                if now - line >= LINE_SECONDS:
                    write(self._text(now - begin, 0))
                    line = now
            elif now - begin >= FIRST_SECONDS:
                moving_line.show(self, self._text(now - begin, max(1, columns - _MARGIN)))
                line = now

    def _look(self) -> None:
        try:
            done = self._done() if self._done else None
        except (OSError, ValueError):  # the file is not there yet, or not any more
            done = None
        if done is not None:
            self._pace.add(time.monotonic(), done)

    def _text(self, elapsed: float, columns: int) -> str:
        try:
            note = self._note() if self._note else ""
            total = self._total() if callable(self._total) else self._total
        except (OSError, ValueError, Problem):
            note, total = "", 0
        parts = self._pace.parts(time.monotonic(), total)
        if not parts:
            limit = f" of {clock(self._seconds)}" if self._seconds else ""
            parts = (f"{clock(elapsed)}{limit}", "", "")
        return fit(self._head, parts, _visible(printable(note, 1)), columns)


class Pace:
    """How much is done, and how fast it grows."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._changed = 0.0

    def add(self, now: float, done: int) -> None:
        """Take down what is done at a time."""
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()  # it has begun anew
        if not self._seen or done > self._seen[-1][1]:
            self._changed = now
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > _RATE_SECONDS:
            self._seen.popleft()

    def parts(self, now: float, total: int) -> Sequence[str]:
        """Return the share, the rate and the time left, or instead of both for how long nothing has come.

        Without a total the amount stands for the share. Nothing is returned where nothing is known.
        """
        if not self._seen:
            return ()
        (begin, first), (end, done) = self._seen[0], self._seen[-1]
        share = f"{min(100, done * 100 // total)}%" if total else amount(done)
        if total and done >= total:
            return (share, "", "")
        if now - self._changed >= _STILL_SECONDS:
            return (share, "", f"nothing for {clock(now - self._changed)}")
        rate = (done - first) / (end - begin) if end > begin else 0
        if not rate:
            return (share, "", "")
        return (share, f"{amount(rate)}/s", f"{clock((total - done) / rate)} left" if total else "")


def reading(vm: Vm, what: str, descriptor: int) -> Progress:
    """Return the progress of work that reads a file to its end, by itself or in a program that got the descriptor."""
    position = partial(os.lseek, descriptor, 0, os.SEEK_CUR)
    return Progress(vm, what, total=os.fstat(descriptor).st_size, done=position)


def amount(count: float) -> str:
    """Return a number of bytes in words."""
    if count >= 1 << 30:
        return f"{count / (1 << 30):.1f} GiB"
    if count >= 1 << 20:
        return f"{count / (1 << 20):.{0 if count >= 10 << 20 else 1}f} MiB"
    return f"{count / 1024:.0f} KiB"


def clock(seconds: float) -> str:
    """Return seconds as 0:42 or 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def fit(head: str, parts: Sequence[str], note: str, columns: int) -> str:
    """Return one line: who does what, how far, how fast, how long. 0 columns are as many as it takes.

    What matters less goes first: the end of the note, the middle of the head, the rate, the time left.
    """
    columns = columns or 1 << 20
    share, rate, left = parts
    for chosen in ((share, rate, left), (share, left), (share,)):
        tail = "".join([f", {part}" for part in chosen if part])
        room = columns - width_of(tail)
        if room >= min(width_of(head), _HEAD):
            text = shortened(head, room) + tail
            return text + _cut(f": {note}", columns - width_of(text)) if note else text
    text = (shortened(head, room) + tail).removeprefix(", ")
    return text if width_of(text) <= columns else ""


def _cut(text: str, columns: int) -> str:
    """Return a text without its end, if that is too long; nothing where little would be left of it."""
    if width_of(text) <= columns:
        return text
    while text and width_of(text) > columns - 3:
        text = text[:-1]
    return f"{text}..." if len(text) > 4 else ""


def shortened(text: str, columns: int) -> str:
    """Return a text without its middle, if it is too long."""
    if width_of(text) <= columns:
        return text
    left, right = text[: len(text) // 2], text[len(text) // 2 :]
    while right and width_of(left) + width_of(right) > columns - 3:
        left, right = (left[:-1], right) if len(left) > len(right) else (left, right[1:])
    return f"{left}...{right}" if right else ""


def width_of(text: str) -> int:
    """Return how many columns a text takes at most: what is not ASCII may take two."""
    return len(text) if text.isascii() else sum([1 if letter.isascii() else 2 for letter in text])


def _visible(text: str) -> str:
    """Return a text of which each character is seen, and none moves the cursor or turns the direction."""
    return "".join([letter if letter.isprintable() else " " for letter in text])


class ReadBy:
    """How far a program of ours has read a file: Linux tells where its descriptor stands. None where nobody tells.

    While virsh looks for the next hole of a sparse file, it stands there: of 24,000 looks at 2,000 pieces 6 saw that.
    """

    def __init__(self, pid: Callable[[], int | None], path: str) -> None:
        self._pid = pid
        self._path = path
        self._place = ""
        self._position: int | None = None

    def __call__(self) -> int | None:
        """Return the position; the last one that was seen, once the program has closed the file."""
        try:
            self._place = self._place or self._find()
            if self._place:
                with open(self._place, encoding="ascii") as file:
                    self._position = int(file.readline().split()[1])
        except (OSError, ValueError, IndexError):
            self._place = ""
        return self._position

    def _find(self) -> str:
        """Return the file of /proc that tells of the descriptor."""
        place = f"/proc/{self._pid() or 0}/fd"
        wanted = os.stat(self._path)
        for name in os.listdir(place):
            try:
                if os.path.samestat(os.stat(f"{place}/{name}"), wanted):
                    return f"{place}info/{name}"
            except OSError:
                continue  # it was closed meanwhile
        return ""

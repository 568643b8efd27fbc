"""Other programs: whether they are installed, how long they may take, and work beside other work."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from .say import Problem, show

T = TypeVar("T")
_running: set[subprocess.Popen[bytes]] = set()


def have(*commands: str) -> str:
    """Return the first of the commands that is installed, or ''."""
    for command in commands:
        for directory in os.get_exec_path():
            path = os.path.join(directory, command)
            if os.path.isfile(path) and os.access(path, os.X_OK):
                return command
    return ""


def need(purpose: str, *commands: str) -> str:
    """Return the first of the commands that is installed; without any the run ends before it changes a thing."""
    found = have(*commands)
    if not found:
        raise Problem(f"{' or '.join(commands)} is not installed; it is needed to {purpose}")
    return found


class Ended(NamedTuple):
    """How a program ended, and what it printed."""

    code: int
    output: str
    errors: str
    timed_out: bool


def environment(**more: str) -> dict[str, str]:
    """Return the environment of programs whose output we read: untranslated, with the user's characters."""
    found = {key: value for key, value in os.environ.items() if key not in _UNWANTED}
    found["LC_CTYPE"] = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or "C"
    found.update(LC_MESSAGES="C", LC_NUMERIC="C", LC_COLLATE="C", **more)
    return found


_UNWANTED = frozenset(["LC_ALL", "LANGUAGE", "VIRSH_DEFAULT_CONNECT_URI", "CDPATH", "POSIXLY_CORRECT", "GREP_OPTIONS"])


def run_program(
    words: Sequence[str],
    seconds: float = 0,
    *,
    input: bytes | None = None,
    output: int | None = subprocess.PIPE,
    errors: int | None = subprocess.PIPE,
    own_group: bool = False,
    environment_: Mapping[str, str] | None = None,
    cwd: str | None = None,
) -> Ended:
    """Run a program to its end, or end it after so many seconds (0: never), with all it started if ``own_group``."""
    show(words)
    stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
    try:
        process = subprocess.Popen(
            words,
            stdin=stdin,
            stdout=output,
            stderr=errors,
            env=environment() if environment_ is None else environment_,
            start_new_session=own_group,
            cwd=cwd,
        )
    except OSError as error:
        return Ended(127, "", f"{words[0]}: {error.strerror}", False)
    timed_out = False
    _running.add(process)
    try:
        out, err = process.communicate(input, seconds or None)
    except subprocess.TimeoutExpired:
        timed_out = True
        end(process, own_group)
        out, err = process.communicate()
    except BaseException:
        end(process, own_group)
        raise
    finally:
        _running.discard(process)
    return Ended(process.returncode, _text(out), _text(err), timed_out)


def _text(data: bytes | None) -> str:
    return (data or b"").decode(errors="surrogateescape")


def end(process: subprocess.Popen[bytes], group: bool = False) -> None:
    """End a program that we started, at first gently."""
    for number, seconds in ((15, 5.0), (9, 5.0)):
        try:
            if group:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
            process.wait(seconds)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def end_all() -> None:
    """End the programs that are still at work, when the run itself ends early."""
    for process in list(_running):
        try:
            process.terminate()
        except ProcessLookupError:
            continue


class Beside(Generic[T]):
    """Work that goes on beside other work. Whoever wants its result waits for it, and gets its error, if it failed."""

    def __init__(self, work: Callable[..., T], *arguments: Any) -> None:
        self._work = work
        self._arguments = arguments
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._do, daemon=True)
        self._thread.start()

    def _do(self) -> None:
        try:
            self._result.append(self._work(*self._arguments))
        except BaseException as error:
            self._error = error

    def wait(self) -> None:
        """Wait for the end of the work, whatever it is: another error is the one to tell."""
        self._thread.join()

    def result(self) -> T:
        """Wait for the end of the work, and return what it gave or raise what it raised."""
        self.wait()
        if self._error is not None:
            raise self._error
        return self._result[0]

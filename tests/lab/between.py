"""Stands between a provisioner and virsh: sees each command of their conversation before virsh does.

`install` puts a program in virsh's place. It keeps a log of the commands, and runs a script of the test's before each.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

REAL = "/usr/bin/virsh"


def command_of(line: str) -> list[str]:
    """Return the words of the command that a line has behind the mark; none for a line of marks alone."""
    mark, separator, command = line.strip().partition(" ; ")
    words = shlex.split(command) if separator and mark.startswith("echo ") else []
    return [] if words[:1] == ["echo"] else words


def mark_of(line: bytes) -> bytes:
    """Return the line without its command: virsh then prints the mark, and does nothing."""
    return line.partition(b" ; ")[0] + b"\n"


class Between:
    """One virsh, with this process between it and whoever talks to it."""

    def __init__(self, arguments: list[str], real: str = REAL) -> None:
        self.virsh = subprocess.Popen(
            [real, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False
        )
        self._token = f"{os.urandom(8).hex()}"
        self._done = threading.Event()
        self._pump = threading.Thread(target=self._copy_output)
        self._pump.start()
        signal.signal(signal.SIGTERM, lambda *_: self.virsh.terminate())

    def _copy_output(self) -> None:
        assert self.virsh.stdout
        while data := os.read(self.virsh.stdout.fileno(), 65536):
            os.write(1, data)
            if f"/@/{self._token}".encode() in data:
                self._done.set()
        os._exit(self.virsh.wait())  # who talks to it sees that it has ended

    def say(self, line: bytes) -> None:
        """Send a line to virsh."""
        assert self.virsh.stdin
        try:
            self.virsh.stdin.write(line)
            self.virsh.stdin.flush()
        except BrokenPipeError:
            pass

    def wait(self) -> None:
        """Wait until virsh has done all that was said so far; its answer is then spoilt."""
        self.say(f"echo '/@/''{self._token}'\n\n".encode())
        while not self._done.wait(0.05) and self.virsh.poll() is None:
            pass

    def converse(self, judge: Callable[[bytes, list[str]], bytes | None]) -> int:
        """Hand on each line as the judge returns it, until whoever talks to virsh has ended; return the exit code."""
        for line in sys.stdin.buffer:
            words = command_of(line.decode())
            changed = judge(line, words) if words else line
            if changed is not None:
                self.say(changed)
        assert self.virsh.stdin
        try:
            self.virsh.stdin.close()
        except BrokenPipeError:
            pass
        self._pump.join()
        return 0


def install(
    directory: Path, script: str = ":", log: Path | None = None, env_path: str = "", real: str = REAL
) -> dict[str, str]:
    """Return an environment whose virsh runs a script before each command, with its words as $1 and so on.

    The log gets a line for each start of virsh, `virsh ARGUMENTS`, and for each command.
    """
    directory.mkdir(exist_ok=True)
    (directory / "between.py").write_bytes(Path(__file__).read_bytes())  # a run may not see this checkout
    program = directory / "virsh"
    log = log or directory / "log"
    program.write_text(
        f"#!/usr/bin/python3 -I\nimport sys\nsys.path.insert(0, {str(directory)!r})\n"
        f"import between\nsys.exit(between.run({script!r}, {str(log)!r}, {real!r}, sys.argv[1:]))\n"
    )
    program.chmod(0o755)
    return {"PATH": f"{directory}:{env_path or os.environ['PATH']}"}


def run(script: str, log: str, real: str, arguments: list[str]) -> int:
    """Be virsh."""

    def note(line: str) -> None:
        with open(log, "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def before(words: list[str]) -> None:
        note(shlex.join(words))
        if script == ":":
            return
        subprocess.run(["sh", "-c", script, "sh", *words], stdin=subprocess.DEVNULL, check=False)

    def judge(line: bytes, words: list[str]) -> bytes:
        before(words)
        return line

    note(shlex.join(["virsh", *arguments]))
    if len(arguments) > 3 or arguments[:2] != ["-q", "-c"]:
        before(arguments[3:] if arguments[:2] == ["-q", "-c"] else arguments)
        os.execv(real, [real, *arguments])
    return Between(arguments, real).converse(judge)

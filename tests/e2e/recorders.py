"""What a provisioner tells other programs: wrappers that come first in PATH, write down, and go on to the real one."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NamedTuple

from between import install
from world import ENVIRONMENT

COMMANDS = ("virsh", "virt-install", "curl", "ssh", "genisoimage", "7z")

_WRAPPER = """#!/bin/sh
printf '%s\\0' "$LIBVIRT_DEFAULT_URI" "$@" >{file}.$$
PATH={path} exec {command} "$@"
"""


class Call(NamedTuple):
    """One start of a command."""

    command: str
    uri: str
    arguments: list[str]


class Recorder:
    """Records the calls of COMMANDS made with `environment`."""

    def __init__(self, directory: Path) -> None:
        self._records = directory / "records"
        self._records.mkdir(parents=True)
        wrappers = directory / "bin"
        wrappers.mkdir()
        for command in COMMANDS:
            wrapper = wrappers / command
            file = shlex.quote(str(self._records / command))
            wrapper.write_text(_WRAPPER.format(file=file, command=command, path=ENVIRONMENT["PATH"]))
            wrapper.chmod(0o755)
        self._commands = directory / "commands"
        (wrappers / "virsh").rename(directory / "counting-virsh")
        install(wrappers, log=self._commands, real=str(directory / "counting-virsh"))
        self.environment = {"PATH": f"{wrappers}:{ENVIRONMENT['PATH']}"}

    def take(self) -> list[Call]:
        """Return the calls since the last time."""
        found = []
        for record in sorted(self._records.iterdir(), key=lambda path: path.stat().st_mtime_ns):
            uri, *arguments = record.read_bytes().decode().split("\0")[:-1]
            found.append(Call(record.name.rpartition(".")[0], uri, arguments))
            record.unlink()
        return found

    def take_commands(self) -> list[str]:
        """Return the words of all that virsh was told since the last time, as its parser reads them."""
        lines = self._commands.read_text().splitlines() if self._commands.exists() else []
        self._commands.unlink(missing_ok=True)
        return [word for line in lines for word in shlex.split(line)]

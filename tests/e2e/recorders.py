"""What a provisioner tells other programs: wrappers that come first in PATH, write down, and go on to the real one."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NamedTuple

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
        self.environment = {"PATH": f"{wrappers}:{ENVIRONMENT['PATH']}"}

    def take(self) -> list[Call]:
        """Return the calls since the last time."""
        found = []
        for record in sorted(self._records.iterdir(), key=lambda path: path.stat().st_mtime_ns):
            uri, *arguments = record.read_bytes().decode().split("\0")[:-1]
            found.append(Call(record.name.rpartition(".")[0], uri, arguments))
            record.unlink()
        return found


def queued(calls: list[Call]) -> list[str]:
    """Return the words of all commands that were queued for virsh, as its parser reads them."""
    batches = [call.arguments[3] for call in calls if call.command == "virsh" and call.arguments[:2] == ["-q", "-c"]]
    return [word for batch in batches for word in shlex.split(batch)]

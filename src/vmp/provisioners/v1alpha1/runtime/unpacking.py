"""An archive to the file in it, by the first of the programs that is installed."""

from __future__ import annotations

import subprocess

from .facts import Vm
from .programs import have, run_program
from .say import Problem, show

UNPACKERS = {
    "7z": ("7zz", "7z", "7za", "7zr"),
    "xz": ("xz",),
    "gz": ("gzip",),
    "bz2": ("bzip2",),
    "zst": ("zstd",),
}
"""What unpacks each type of archive: the first that is installed."""


def unpack(vm: Vm, part: str, whole: str) -> int:
    """Unpack the image's archive into a file; return the exit code of the program that did it."""
    kind = vm.image.archive
    unpacker = have(*UNPACKERS[kind])
    if kind == "7z":
        words = [unpacker, "e", "-so", "-spd", part, f"-i!{_member(vm, unpacker, part)}"]
    else:
        words = [unpacker, "-dc"] if kind != "zst" else [unpacker, "-q", "-dc"]
    show(words)
    with open(whole, "wb") as output, open(part, "rb") as archive:
        return subprocess.call(words, stdin=archive, stdout=output)


def _member(vm: Vm, unpacker: str, part: str) -> str:
    """Return which file of a 7z archive it is to be."""
    members, path = [], ""
    for line in [*run_program([unpacker, "l", "-ba", "-slt", part]).output.splitlines(), ""]:
        if line.startswith("Path = "):
            path = line[7:]
        elif line == "Folder = +" or line.startswith("Attributes = D"):
            path = ""
        elif not line and path:
            members.append(path)
            path = ""
    url, wanted = vm.image.url, vm.image.member
    if not wanted and len(members) > 1:
        raise Problem(f"the archive {url} holds more than one file; say which one (archive.path)", *members)
    if wanted and members and wanted not in members:
        raise Problem(f"the archive {url} holds no '{wanted}', but", *members)
    return wanted or "".join(members)

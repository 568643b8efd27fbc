"""An archive to the file in it, by the first of the programs that is installed."""

from __future__ import annotations

import os
import subprocess
from functools import partial

from .facts import Vm
from .files import size_of
from .programs import have, run_program
from .progress import Progress, reading
from .say import Problem, printable, show, write

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
    unpacker, what = have(*UNPACKERS[kind]), f"unpacking {os.path.basename(vm.image.path)}"
    with open(part, "rb") as archive:
        if kind == "7z":  # it opens the archive itself, and tells how large the file in it is
            member, size = _member(vm, unpacker, part)
            words = [unpacker, "e", "-so", "-spd", part, f"-i!{member}"]
            progress = Progress(vm, what, total=size, done=partial(size_of, whole))
        else:
            words = [unpacker, "-dc"] if kind != "zst" else [unpacker, "-q", "-dc"]
            progress = reading(vm, what, archive.fileno())
        show(words)
        with open(whole, "wb") as output, progress:
            ended = subprocess.run(words, stdin=archive, stdout=output, stderr=subprocess.PIPE, check=False)
    errors = printable(ended.stderr.decode(errors="surrogateescape"))
    if errors:
        write(errors)
    return ended.returncode


def _member(vm: Vm, unpacker: str, part: str) -> tuple[str, int]:
    """Return which file of a 7z archive it is to be, and how many bytes it has, as far as the archive tells."""
    members: dict[str, int] = {}
    path, size = "", 0
    for line in [*run_program([unpacker, "l", "-ba", "-slt", part]).output.splitlines(), ""]:
        if line.startswith("Path = "):
            path, size = line[7:], 0
        elif line.startswith("Size = "):
            size = int(line[7:]) if line[7:].isdecimal() else 0
        elif line == "Folder = +" or line.startswith("Attributes = D"):
            path = ""
        elif not line and path:
            members[path] = size
            path = ""
    url, wanted = vm.image.url, vm.image.member
    if not wanted and len(members) > 1:
        raise Problem(f"the archive {url} holds more than one file; say which one (archive.path)", *members)
    if wanted and members and wanted not in members:
        raise Problem(f"the archive {url} holds no '{wanted}', but", *members)
    member = wanted or "".join(members)
    return member, members.get(member, 0)

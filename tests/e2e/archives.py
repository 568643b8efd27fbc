"""One archive of each type that an image may come in, and the Debian package with what unpacks it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple


class Archive(NamedTuple):
    """How a test packs a file, and the package that `tests/lab/install` has for unpacking it."""

    pack: Callable[[bytes], bytes]
    package: str


def seven_zip(members: dict[str, bytes]) -> bytes:
    """Return a 7z archive of these files."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        for member, content in members.items():
            (directory / member).write_bytes(content)
        subprocess.run(["7z", "a", "made.7z", "--", *members], cwd=directory, check=True, capture_output=True)
        return (directory / "made.7z").read_bytes()


def filtered(*command: str) -> Callable[[bytes], bytes]:
    """Return what packs with a program that reads standard input."""
    return lambda content: subprocess.run(command, input=content, check=True, capture_output=True).stdout


ARCHIVES = {
    "7z": Archive(lambda content: seven_zip({"disk.raw": content}), "p7zip-full"),
    "xz": Archive(lambda content: lzma.compress(content, preset=0), "xz-utils"),
    "gz": Archive(lambda content: gzip.compress(content, 1), "gzip"),
    "bz2": Archive(lambda content: bz2.compress(content, 1), "bzip2"),
    "zst": Archive(filtered("zstd", "-q", "-1"), "zstd"),
}

"""Programs that read ISO images: each lists one, and takes a file out of it.

Measured with xorriso 1.5.4, bsdtar 3.6.2 and 7-Zip 26.02: where the image ends within the file, bsdtar and 7-Zip exit
with an error, and xorriso may fill it up with zeros and exit with 0. xorriso reads what is no image as an empty one.
bsdtar takes names for patterns, and needs UTF-8 for Joliet.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from .facts import Vm
from .files import size_of
from .programs import Ended, environment, have, run_program


class IsoEntry(NamedTuple):
    """What an image has at a path."""

    kind: str
    """`-` is a file, `d` a directory, `l` a symbolic link; other letters are as ls has them."""
    size: int
    target: str = ""
    """Where a link leads."""


IsoEntries = dict[str, IsoEntry]
"""By path from the root of the image, without a slash at the beginning."""


class Listing(NamedTuple):
    """What a program says of an image."""

    ended: Ended
    entries: IsoEntries


_BLOCK = 2048
"""The bytes of a block of an ISO image."""


class Reader(NamedTuple):
    """One program: its commands, and how its list is read."""

    name: str
    list_words: Callable[[str], list[str]]
    read_list: Callable[[str], IsoEntries]
    extract_words: Callable[[str, str, str], list[str]]
    """Takes the image, the path in it, and where the file shall be."""
    prints: bool
    """The file comes on standard output."""


def list_image(vm: Vm, reader: Reader, image: str) -> Listing:
    """Return what an image has."""
    ended = run_program(reader.list_words(image), vm.knobs.command_timeout, environment_=_utf8())
    return Listing(ended, reader.read_list(ended.output))


def extract_file(vm: Vm, reader: Reader, image: str, path: str, target: str, size: int) -> Ended:
    """Take one file out of an image; the deadline is that of the knob, and as many seconds more for each 64 MiB."""
    words = reader.extract_words(image, path, target)
    seconds = vm.knobs.command_timeout * (1 + size // (64 << 20))
    if not reader.prints:
        ended = run_program(words, seconds, environment_=_utf8())
        if _end_of_data(ended.output) > size_of(image):
            return ended._replace(code=ended.code or 1, errors="the image ends within the file")
        return ended
    with open(target, "wb") as file:
        return run_program(words, seconds, output=file.fileno(), environment_=_utf8())


def _utf8() -> dict[str, str]:
    return environment(LC_CTYPE="C.UTF-8")


def readers() -> list[Reader]:
    """Return the programs that are installed, the best first."""
    return [reader for reader in READERS if have(reader.name)]


def _list_by_xorriso(image: str) -> list[str]:
    return ["xorriso", "-no_rc", "-report_about", "SORRY", "-indev", f"stdio:{image}", "-find", "/", "-exec", "lsdl"]


def _extract_by_xorriso(image: str, path: str, target: str) -> list[str]:
    words = ["xorriso", "-no_rc", "-report_about", "SORRY", "-osirrox", "on", "-indev", f"stdio:{image}"]
    return [*words, "-find", f"/{path}", "-exec", "report_lba", "--", "-extract", f"/{path}", target]


def _end_of_data(text: str) -> int:
    """Return where in the image a file ends that xorriso reports: `File data lba:  0 , 75 , 147 , 300000 , '/a'`."""
    end = 0
    for extent in re.finditer(r"^File data lba: +\d+ , +(\d+) , +(\d+) , +(\d+) , ", text, re.MULTILINE):
        start, blocks, size = [int(number) for number in extent.groups()]
        end = max(end, start * _BLOCK + min(blocks * _BLOCK, size))
    return end


def _read_xorriso(text: str) -> IsoEntries:
    """Read lines as of `ls -l`, with paths quoted for a shell: `lrwxrwxrwx 1 0 0 0 Dec 1 03:01 '/a' -> 'b'`."""
    found: IsoEntries = {}
    for line in text.split("\n"):
        words, quote, rest = line.partition("'/")
        fields = words.split()
        if quote and len(fields) >= 5 and fields[4].isdigit():
            path, _, target = rest.partition("' -> '") if line[0] == "l" else (rest, "", "")
            path, target = [word.removesuffix("'").replace("'\"'\"'", "'") for word in (path, target)]
            found[path] = IsoEntry(line[0], int(fields[4]), target)
    return found


def _list_by_bsdtar(image: str) -> list[str]:
    options = "mtree:!all,mtree:type,mtree:link,mtree:size"
    return ["bsdtar", "-c", "-f", "-", "--format=mtree", "--options", options, f"@{image}"]


def _extract_by_bsdtar(image: str, path: str, _: str) -> list[str]:
    pattern = re.sub(r"([][*?\\])", r"\\\1", path)
    return ["bsdtar", "-x", "-O", "-n", "-f", image, "--", pattern]


def _read_bsdtar(text: str) -> IsoEntries:
    """Read mtree(5): `./a\\040b type=file size=3`."""
    found: IsoEntries = {}
    for line in text.split("\n"):
        name, *words = line.split(" ")
        facts = dict([word.partition("=")[::2] for word in words])
        kind = {"file": "-", "dir": "d", "link": "l"}.get(facts.get("type", ""), "?")
        if name.startswith("./") and words:
            found[_without_octal(name[2:])] = IsoEntry(
                kind, int(facts.get("size", "0")), _without_octal(facts.get("link", ""))
            )
    return found


def _without_octal(text: str) -> str:
    data = os.fsencode(text)
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), data))


def _list_by_7z(image: str, program: str) -> list[str]:
    return [program, "l", "-ba", "-slt", "--", image]


def _extract_by_7z(image: str, path: str, program: str) -> list[str]:
    return [program, "e", "-so", "-spd", f"-i!{path}", "--", image]


def _read_7z(text: str) -> IsoEntries:
    """Read blocks of `Path = a`, `Folder = -`, `Size = 3`, and with Rock Ridge alone `Mode` and `Symbolic Link`."""
    found: IsoEntries = {}
    facts: dict[str, str] = {}
    for line in [*text.split("\n"), ""]:
        key, _, value = line.partition(" = ")
        if line:
            facts[key.strip()] = value.strip() if key.strip() != "Path" else value
        elif facts.get("Path"):
            link = facts.get("Symbolic Link", "")
            kind = "l" if link else "d" if facts.get("Folder") == "+" else "-"
            size = facts.get("Size", "")
            found[facts["Path"]] = IsoEntry(kind, int(size) if size.isdigit() else 0, link)
            facts = {}
    return found


def _by_7z(program: str) -> Reader:
    return Reader(
        program,
        lambda image: _list_by_7z(image, program),
        _read_7z,
        lambda image, path, _: _extract_by_7z(image, path, program),
        prints=True,
    )


READERS: Iterable[Reader] = (
    Reader("xorriso", _list_by_xorriso, _read_xorriso, _extract_by_xorriso, prints=False),
    Reader("bsdtar", _list_by_bsdtar, _read_bsdtar, _extract_by_bsdtar, prints=True),
    _by_7z("7zz"),
    _by_7z("7z"),
)

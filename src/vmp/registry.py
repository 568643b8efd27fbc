"""Which files make up the registry, in what order, and their merge: the only reader of the disk."""

from __future__ import annotations

import glob
import os
import stat
import sys

from vmp.diagnostics import Report, Span
from vmp.merge import element_name, merge_lists
from vmp.nodes import Entry, Mapping, Node, Scalar, Sequence, describe, is_null
from vmp.schema import REGISTRY
from vmp.source import parse

MAX_SIZE = 64 * 1024 * 1024
"""Largest registry file in bytes; ten thousand VMs take about five million."""

STANDARD_INPUT = "-"
SHOWN_STANDARD_INPUT = "<stdin>"
"""How spans and messages call it."""

_SUFFIXES = (".yaml", ".yml")


def load(locations: tuple[str, ...], report: Report) -> Mapping:
    """Read and merge all files that the locations name: files, globs, directories, ``-``."""
    roots = [_load_file(file, report) for file in find_files(locations, report)]
    return _merge_files([root for root in roots if root is not None])


def find_files(locations: tuple[str, ...], report: Report) -> list[str]:
    """Return the files in bytewise order of their paths, each once; standard input comes last."""
    found: dict[bytes, str] = {}
    for location in locations:
        if location == STANDARD_INPUT:
            continue
        for path in _expand_location(location, report):
            found.setdefault(os.fsencode(os.path.abspath(path)), path)
    files = [found[key] for key in sorted(found)]
    return [*files, STANDARD_INPUT] if STANDARD_INPUT in locations else files


def _expand_location(location: str, report: Report) -> list[str]:
    path = os.path.expanduser(location)
    if os.path.isdir(path):

        def unreadable(error: OSError) -> None:
            report.error("cannot-read", f"{error.filename}: {error.strerror}")

        below = [
            os.path.join(directory, name)
            for directory, _, names in os.walk(path, onerror=unreadable, followlinks=False)
            for name in names
            if name.endswith(_SUFFIXES)
        ]
        if not below:
            report.error("no-registry", f"no .yaml or .yml file in the directory {location!r}")
        return below
    if os.path.lexists(path) or not glob.has_magic(path):
        return [path]
    matches = [match for match in glob.glob(path, recursive=True) if not os.path.isdir(match)]
    if not matches:
        report.error("no-registry", f"no file matches {location!r}")
    return matches


def _load_file(file: str, report: Report) -> Mapping | None:
    shown = SHOWN_STANDARD_INPUT if file == STANDARD_INPUT else os.fsencode(file).decode(errors="backslashreplace")
    content = _read(file, shown, report)
    if content is None:
        return None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        before = content[content.rfind(b"\n", 0, error.start) + 1 : error.start]
        column = len(before.decode(errors="replace")) + 1
        message = f"not UTF-8: byte 0x{content[error.start]:02x}"
        report.error("bad-encoding", message, Span(shown, line, column, line, column + 1))
        return None
    root = parse(text, shown, report)
    if root is None:
        return None
    if not isinstance(root, Mapping):
        known = ", ".join(REGISTRY.keys)
        report.error("wrong-type", f"the top level is {describe(root)}", root.span, help=f"a mapping of {known}")
        return None
    for section in root.entries.values():
        _check_names(section.value, report)
    return root


def _read(file: str, shown: str, report: Report) -> bytes | None:
    try:
        if file == STANDARD_INPUT and sys.stdin is None:
            report.error("cannot-read", f"{shown}: it is closed")
            return None
        if file == STANDARD_INPUT:
            content = sys.stdin.buffer.read(MAX_SIZE + 1)
        else:
            mode = os.stat(file).st_mode
            if not stat.S_ISREG(mode):
                report.error("cannot-read", f"{shown}: not a regular file", help="use - for standard input")
                return None
            with open(file, "rb") as stream:
                content = stream.read(MAX_SIZE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        report.error("cannot-read", f"{shown}: {reason}")
        return None
    if len(content) > MAX_SIZE:
        report.error("too-large", f"{shown}: larger than 64 MiB")
        return None
    return content


def read_beside(path: str, written_in: str, limit: int) -> bytes | str:
    """Return a file that a registry file names, relative to that file's directory; or what is wrong, as text."""
    directory = "" if written_in == SHOWN_STANDARD_INPUT else os.path.dirname(written_in)
    place = os.path.join(directory, path)
    try:
        if not stat.S_ISREG(os.stat(place).st_mode):
            return f"{place!r} is not a regular file"
        with open(place, "rb") as stream:
            content = stream.read(limit + 1)
    except (OSError, ValueError) as error:
        return f"cannot read {place!r}: {error.strerror if isinstance(error, OSError) else error}"
    return content if len(content) <= limit else f"{place!r} is larger than {limit >> 20} MiB"


_OF_THE_GUEST = frozenset(["cloudInit", "files"])
"""The keys below which a registry has what the guest gets: the seed, and the files of config drives."""


def _check_names(node: Node, report: Report) -> None:
    """Report names that one list of one file has twice; what the guest gets is not ours to judge."""
    if isinstance(node, Sequence):
        seen: dict[str, Mapping] = {}
        for item in node.items:
            name = element_name(item)
            if name is None or not isinstance(item, Mapping):
                pass
            elif name in seen:
                first = seen[name].entries["name"].value.span
                note = f"first at line {first.line}, column {first.column}"
                span = item.entries["name"].value.span
                report.error("duplicate-name", f"duplicate name {name!r}", span, note=note)
            else:
                seen[name] = item
            _check_names(item, report)
    elif isinstance(node, Mapping):
        for key, entry in node.entries.items():
            if key not in _OF_THE_GUEST and not isinstance(entry.value, Scalar):
                _check_names(entry.value, report)


def _merge_files(roots: list[Mapping]) -> Mapping:
    """Lay each file on those before it, section by section, so that many files cost no more than one."""
    sections: dict[str, list[Entry]] = {}
    for root in roots:
        for key, entry in root.entries.items():
            sections.setdefault(key, []).append(entry)
    merged = {key: Entry(entries[-1].key, _merge_section(entries)) for key, entries in sections.items()}
    return Mapping(merged, roots[-1].span if roots else Span("", 1, 1, 1, 1))


def _merge_section(entries: list[Entry]) -> Node:
    lists: list[Sequence] = []
    for entry in entries:
        if isinstance(entry.value, Sequence):
            lists.append(entry.value)
        elif is_null(entry.value):
            lists = []
        else:
            return entry.value  # neither a list nor null: decoding will say so
    if not lists:
        return entries[-1].value
    merged = merge_lists(lists)
    kept = [item for item in merged.items if not (isinstance(item, Mapping) and item.patch == "delete")]
    return Sequence(tuple(kept), merged.span)

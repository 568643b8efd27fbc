"""What is wrong, where, and how to put it right: the data, and the report that collects it.

A diagnostic is data; :mod:`vmp.rendering` turns it into text. Codes are stable: they are listed
here with their meaning, and the reference page is generated from this table.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

CODES: dict[str, str] = {
    "ambiguous-template": "A VM or template has both `template` and `templates`. Keep one of them.",
    "bad-alias": (
        "A YAML alias contains itself, or aliases multiply to far more values than the file has. "
        "Such a file would take unbounded memory, so it is refused."
    ),
    "bad-encoding": "The file is not UTF-8, or holds a character that cannot be written as UTF-8 or passed on.",
    "bad-key": "A key of a mapping is not a plain string, number or boolean.",
    "bad-keys": (
        "The file that `signature.keys` names does not hold ASCII-armored OpenPGP public keys. "
        "A private key is refused, too: it must never be there."
    ),
    "bad-name": (
        "The name of a VM or of its domain cannot be a directory and a libvirt name: it is empty or longer than "
        "200 bytes, has a `/` or a control character, begins with `.` or `-`, or begins or ends with a space. "
        "In a fleet, a VM cannot be called like a makefile."
    ),
    "bad-patch": "`$patch` takes `delete` or `replace`.",
    "bad-path": "A path that vmp or the provisioner writes would leave the VM's directory or replace a generated file.",
    "bad-pattern": "The `pattern` of an image tag is not a Python regular expression.",
    "bad-tag": "A YAML tag other than those of the YAML 1.2 core schema and `!raw`.",
    "bad-value": "A value is of the right kind but not one that is allowed at this place.",
    "bad-variable": (
        "A key of `vars` is not a variable's name, or names a variable that vmp itself computes, such as VM_NAME."
    ),
    "cannot-read": "A registry file, or a file that it names, cannot be read.",
    "cannot-write": "The output cannot be written. What was there before is unchanged.",
    "conflicting-keys": "Two keys exclude each other.",
    "conflicting-vms": (
        "Two VMs of one node cannot be there together: they declare a network of one name differently, "
        "or reserve one address or host name on it."
    ),
    "duplicate-key": "A mapping has the same key twice.",
    "duplicate-name": "Two elements of one list have the same name.",
    "invalid-yaml": "The file is not YAML, or has more than one document.",
    "missing-key": "A required key is not given: neither here nor in a template.",
    "no-registry": "No file matches what was given as registry.",
    "no-tag-matches": "No tag pattern of the image matches the whole requested tag.",
    "reserved-option": "A virt-install option that the provisioner itself decides, such as `connect`.",
    "template-cycle": "A template inherits from itself, directly or through others.",
    "too-deep": "The file is nested deeper than 100 levels.",
    "too-large": "The registry file is larger than 64 MiB.",
    "unknown-image": "There is no image of that name.",
    "unknown-key": "The key is not part of the schema.",
    "unknown-node": "There is no node of that name.",
    "unknown-provisioner": "There is no provisioner of that name and version.",
    "unknown-template": "There is no template of that name.",
    "unknown-variable": "There is no variable of that name in this place.",
    "unknown-vm": "There is no VM of that name.",
    "unset-group": "A named group of the tag pattern took no part in the match, yet its value is used.",
    "variable-cycle": "A variable refers to itself, directly or through others.",
    "variable-syntax": (
        "A brace that does not enclose a variable's name. Write `{{` and `}}` for literal braces, "
        "or tag the value `!raw`."
    ),
    "wrong-type": "A mapping, a list or a scalar stands where another kind of value is expected.",
}


_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""Where libyaml begins a new line."""


MAX_COMPARISONS = 20_000
"""How many names one report compares for its suggestions."""


class Span(NamedTuple):
    """A stretch of a file. Lines and columns count from 1; the end is exclusive."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int


class Diagnostic(NamedTuple):
    """One mistake: a stable code, a message that stands alone, the place, and the way out."""

    code: str
    message: str
    span: Span | None = None
    help: str | None = None
    note: str | None = None


class Report:
    """Collects diagnostics; the same mistake at the same place is kept once, with all who meet it.

    ``tokens`` remembers where the tokens of a text stand, once one of them is wrong. ``calls`` counts every
    mistake that was met, also those kept already.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, Span | None, str | None, str | None], dict[str, None]] = {}
        self.sources: dict[str, str] = {}
        self._lines: dict[str, list[str]] = {}
        self.tokens: dict[Span, dict[str, Span]] = {}
        self.context = ""
        self.own: Span | None = None
        self.calls = 0
        self._comparisons = 0

    def error(
        self,
        code: str,
        message: str,
        span: Span | None = None,
        *,
        help: str | None = None,
        note: str | None = None,
    ) -> None:
        """Add a mistake. ``context`` (a VM's name), if set, is remembered as one who meets it."""
        assert code in CODES, code
        self.calls += 1
        met_by = self._found.setdefault((code, message, span, help, note), {})
        if self.context and not _is_within(span, self.own):
            met_by[self.context] = None

    def lines(self, file: str) -> list[str]:
        """Return the lines of a source, counted as in its spans; none where the file is not text."""
        if file not in self._lines:
            self._lines[file] = _LINE_BREAK.split(self.sources[file]) if file in self.sources else []
        return self._lines[file]

    def nearest(self, word: str, known: Collection[str]) -> str | None:
        """Suggest as :func:`nearest` does, while cheap: not for thousands of mistakes among thousands of names."""
        self._comparisons += len(known)
        return nearest(word, known) if self._comparisons <= MAX_COMPARISONS else None

    def __bool__(self) -> bool:
        return bool(self._found)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """All mistakes, sorted by place; those without a place come first."""
        return sorted(map(_with_note, self._found.items()), key=_place)


def nearest(word: str, known: Collection[str]) -> str | None:
    """Return "did you mean 'X'?" for the known word most like ``word``, if one is alike enough."""
    from difflib import SequenceMatcher, get_close_matches  # costs milliseconds that only a mistake has to pay

    names = list(known)
    folded = {name.casefold(): name for name in names}
    close = get_close_matches(word, names, n=3, cutoff=0.6) or [
        folded[match] for match in get_close_matches(word.casefold(), list(folded), n=1, cutoff=0.6)
    ]
    if not close:
        return None
    alike = [SequenceMatcher(None, name, word).ratio() for name in close]
    # Of words that are about as like, one of the same length: `qcow3` is rather `qcow2` than `qcow`.
    near = [name for name, ratio in zip(close, alike, strict=True) if ratio > alike[0] - 0.1]
    best = min(near, key=lambda name: abs(len(name) - len(word)))
    return f"did you mean {best!r}?"


def _with_note(
    item: tuple[tuple[str, str, Span | None, str | None, str | None], dict[str, None]],
) -> Diagnostic:
    (code, message, span, help_, note), met_by = item
    vms = list(met_by)
    if vms and note is None:
        shown = ", ".join(map(repr, vms[:3])) + (f" and {len(vms) - 3} more" if len(vms) > 3 else "")
        note = f"met by VM {shown}" if len(vms) == 1 else f"met by {len(vms)} VMs: {shown}"
    return Diagnostic(code, message, span, help_, note)


def _is_within(span: Span | None, outer: Span | None) -> bool:
    """Tell whether a mistake stands in the VM that meets it, which then needs no mention."""
    return bool(span and outer and span.file == outer.file and outer[1:3] <= span[1:3] < outer[3:5])


def _place(diagnostic: Diagnostic) -> tuple[bytes, int, int, str, str]:
    span = diagnostic.span
    if span is None:
        return (b"", 0, 0, diagnostic.code, diagnostic.message)
    return (span.file.encode(errors="surrogateescape"), span.line, span.column, diagnostic.code, diagnostic.message)

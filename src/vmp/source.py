"""Text to nodes: the only module that knows YAML.

Nodes are built from libyaml's events in a loop with a stack of its own, so deep nesting cannot
exhaust the interpreter's, and every node keeps its place. Scalars follow the YAML 1.2 core schema
(https://yaml.org/spec/1.2.2/#103-core-schema), except that a number with leading zeros stays a string.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from vmp.diagnostics import Report, Span
from vmp.nodes import Entry, Kind, Mapping, Node, Patch, Scalar, Sequence

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML without libyaml, as in the self-contained file: slower, the same result
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

MAX_DEPTH = 100
"""Deepest nesting of collections; real registries use about fifteen levels."""
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_WORDS: dict[str, Kind] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), "null"),
    **dict.fromkeys(("true", "True", "TRUE", "false", "False", "FALSE"), "bool"),
}
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_STANDARD = "tag:yaml.org,2002:"
_NOT_ALLOWED = (
    "[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"  # slow to compile: rarely needed
)
_MAX_NUMBER = 300  # digits; anything longer is no number anybody means, and slow to convert


def scalar_kind(text: str) -> Kind:
    """Return what YAML 1.2 takes an untagged plain scalar for."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in "-+.0123456789" and len(text) <= _MAX_NUMBER:
        if _INT.fullmatch(text):
            return "int"
        if _FLOAT.fullmatch(text):
            return "float"
    return "str"


def parse(text: str, file: str, report: Report) -> Node | None:
    """Return the one document of ``text``, or None if it is empty; mistakes go to the report."""
    report.sources[file] = text
    try:
        return _Composer(text.removeprefix("\ufeff"), file, report).compose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        context = error.context_mark if error.context else None
        help_ = f"{error.context} at line {context.line + 1}" if context else None
        span = _span(file, mark, mark) if mark else Span(file, 1, 1, 1, 1)
        if "nesting depth" in (error.problem or ""):  # libyaml as of PyYAML 6.0.4 has a limit of its own
            report.error("too-deep", _TOO_DEEP, span)
        else:
            report.error("invalid-yaml", f"not YAML: {error.problem or error}", span, help=help_)
    except yaml.YAMLError as error:
        # a character that YAML does not allow: libyaml tells no line, so it is looked for
        found = re.search(_NOT_ALLOWED, text)
        position = found.start() if found else 0
        line = text.count("\n", 0, position) + 1
        column = position - text.rfind("\n", 0, position)
        reason = getattr(error, "reason", None) or "a character that YAML does not allow"
        report.error("invalid-yaml", f"not YAML: {reason}", Span(file, line, column, line, column + 1))
    except RecursionError:  # the parser of PyYAML without libyaml recurses on some inputs
        report.error("too-deep", _TOO_DEEP, Span(file, 1, 1, 1, 1))
    except _Stop:
        pass
    return None


class _Stop(Exception):
    """A mistake after which the rest of the file cannot be judged; it has been reported."""


class _Frame:
    """A collection that is being read."""

    __slots__ = ("anchor", "entries", "is_flow", "is_mapping", "items", "key", "merged", "patch", "start", "weight")

    def __init__(self, is_mapping: bool, start: Any, anchor: str | None, is_flow: bool) -> None:
        self.is_flow = is_flow
        self.is_mapping = is_mapping
        self.start = start
        self.anchor = anchor
        self.items: list[Node] = []
        self.entries: dict[str, Entry] = {}
        self.key: Scalar | None = None
        self.merged: list[Mapping] = []
        self.patch: Patch | None = None
        self.weight = 1


class _Composer:
    def __init__(self, text: str, file: str, report: Report) -> None:
        self.loader = _Loader(text)
        self.file = file
        self.report = report
        self.anchors: dict[str, tuple[Node, int] | None] = {}
        self.stack: list[_Frame] = []
        self.root: Node | None = None
        self.count = 0

    def compose(self) -> Node | None:
        """Read all events of the stream."""
        documents = 0
        next_event = self.loader.get_event
        while True:
            event: Any = next_event()
            kind = type(event)
            if kind is yaml.ScalarEvent:
                node = self.scalar(event)
                if event.anchor:
                    self.anchors[event.anchor] = (node, 1)
                self.add(node, 1)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self.open(event, kind is yaml.MappingStartEvent)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self.close(event)
            elif kind is yaml.AliasEvent:
                self.alias(event)
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents == 2:
                    span = self.span(event.start_mark, event.end_mark)
                    self.report.error(
                        "invalid-yaml", "a registry file holds one document", span, help="put each in its own file"
                    )
                    raise _Stop
            elif kind is yaml.StreamEndEvent:
                empty = isinstance(self.root, Scalar) and self.root.kind == "null" and not self.root.text
                return None if empty else self.root

    def span(self, start: Any, end: Any) -> Span:
        return _span(self.file, start, end)

    def scalar(self, event: Any) -> Scalar:
        text: str = event.value
        tag: str | None = event.tag
        span = self.span(event.start_mark, event.end_mark)
        kind: Kind = "str"
        raw = False
        if tag is None:
            if event.implicit[0]:
                kind = scalar_kind(text)
        elif tag == "!raw":
            raw = True
        elif tag.startswith(_STANDARD) and tag.removeprefix(_STANDARD) in ("null", "bool", "int", "float"):
            kind = tag.removeprefix(_STANDARD)  # type: ignore[assignment]
            found = scalar_kind(text)
            if found != kind and not (found == "int" and kind == "float" and text[1:2] not in ("o", "x")):
                self.report.error("bad-value", f"not a YAML {kind}", span)
                kind = found
        elif tag not in ("!", _STANDARD + "str"):
            self.unknown_tag(tag, span)
        if "\0" in text or not text.isascii():
            self.check_characters(text, span)
        return Scalar(text, kind, span, raw)

    def check_characters(self, text: str, span: Span) -> None:
        if "\0" in text:
            self.report.error("bad-encoding", "a NUL character cannot be passed to any command", span)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.report.error("bad-encoding", "a lone surrogate cannot be written as UTF-8", span)

    def unknown_tag(self, tag: str, span: Span) -> None:
        shown = tag.replace(_STANDARD, "!!")
        self.report.error("bad-tag", f"unknown YAML tag {shown!r}", span, help="the only tag beyond YAML 1.2's is !raw")

    def open(self, event: Any, is_mapping: bool) -> None:
        tag = event.tag
        if tag is not None and tag not in ("!", _STANDARD + ("map" if is_mapping else "seq")):
            self.unknown_tag(tag, self.span(event.start_mark, event.end_mark))
        if len(self.stack) == MAX_DEPTH:
            span = self.span(event.start_mark, event.end_mark)
            self.report.error("too-deep", _TOO_DEEP, span)
            raise _Stop
        if event.anchor:
            self.anchors[event.anchor] = None
        self.stack.append(_Frame(is_mapping, event.start_mark, event.anchor, bool(event.flow_style)))

    def close(self, event: Any) -> None:
        frame = self.stack.pop()
        span = self.span(frame.start, event.end_mark)
        node: Node
        if frame.is_mapping:
            entries = frame.entries
            if frame.merged:  # the mapping's own keys win, then those of the earlier alias
                entries = {}
                for merged in reversed(frame.merged):
                    entries.update(merged.entries)
                entries.update(frame.entries)
            node = Mapping(entries, span, frame.patch)
            if frame.is_flow and len(entries) == 1:
                node = self.check_unquoted_variable(node)
        else:
            node = Sequence(tuple(frame.items), span)
        if frame.anchor:
            self.anchors[frame.anchor] = (node, frame.weight)
        self.add(node, frame.weight)

    def check_unquoted_variable(self, node: Mapping) -> Node:
        """Report ``{NAME}`` without quotes, which YAML reads as a mapping from NAME to nothing; go on with the text."""
        (entry,) = node.entries.values()
        name, value = entry.key.text, entry.value
        if not (isinstance(value, Scalar) and value.kind == "null" and not value.text and _VARIABLE.fullmatch(name)):
            return node
        message = f"{{{name}}} without quotes is a YAML mapping, not a variable"
        self.report.error("variable-syntax", message, node.span, help=f'write "{{{name}}}" in quotes')
        return Scalar(f"{{{name}}}", "str", node.span)

    def alias(self, event: Any) -> None:
        span = self.span(event.start_mark, event.end_mark)
        if event.anchor not in self.anchors:
            self.report.error("bad-alias", f"no anchor &{event.anchor} before this alias", span)
            raise _Stop
        target = self.anchors[event.anchor]
        if target is None:
            self.report.error("bad-alias", f"the alias *{event.anchor} contains itself", span)
            raise _Stop
        node, weight = target
        self.add(node, weight, span)

    def add(self, node: Node, weight: int, alias: Span | None = None) -> None:
        """Put a finished node where it belongs."""
        self.count += 1
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        frame.weight += weight
        if alias and frame.weight > 100_000 and frame.weight > 10 * self.count:
            self.report.error("bad-alias", f"aliases multiply to more than {frame.weight - 1} values", alias)
            raise _Stop
        if not frame.is_mapping:
            frame.items.append(node)
        elif frame.key is None:
            frame.key = self.check_key(node, alias)
        else:
            self.add_entry(frame, frame.key, node)
            frame.key = None

    def check_key(self, node: Node, alias: Span | None) -> Scalar:
        if isinstance(node, Scalar) and node.kind != "null":
            return node
        span = alias or node.span
        self.report.error("bad-key", "a key is a string, a number or a boolean", span)
        return Scalar(f"\0{span.line}:{span.column}", "str", span, raw=True)

    def add_entry(self, frame: _Frame, key: Scalar, value: Node) -> None:
        if key.text == "<<" and key.kind == "str" and key.span.end_column - key.span.column == 2:
            self.add_merged(frame, value)
        elif key.text == "$patch":
            if isinstance(value, Scalar) and value.text in ("delete", "replace"):
                frame.patch = value.text  # type: ignore[assignment]
            else:
                self.report.error("bad-patch", "$patch is neither 'delete' nor 'replace'", value.span)
        elif key.text.startswith("\0"):
            pass  # no key at all, which has been reported
        elif (first := frame.entries.get(key.text)) is not None:
            self.report.error(
                "duplicate-key",
                f"duplicate key {key.text!r}",
                key.span,
                note=f"first at line {first.key.span.line}, column {first.key.span.column}",
            )
        else:
            frame.entries[key.text] = Entry(key, value)

    def add_merged(self, frame: _Frame, value: Node) -> None:
        found = value.items if isinstance(value, Sequence) else (value,)
        for node in found:
            if isinstance(node, Mapping):
                frame.merged.append(node)
            else:
                self.report.error("wrong-type", "'<<' takes a mapping or a list of mappings", node.span)


def _span(file: str, start: Any, end: Any) -> Span:
    return Span(file, start.line + 1, start.column + 1, end.line + 1, end.column + 1)

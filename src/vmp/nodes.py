"""The values of a registry file, each of which knows where it was written.

Nodes are never changed after they are made. Merging and expansion build new nodes only where
something differs, so what many VMs inherit from one template stays one object, and can be judged once.
Every node knows whether it has variables (it is ``plain`` if not) and whether a ``$patch`` is in it
(``patched``), so the stages pass over what they would not change; ``settled`` says beforehand that it has neither.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from vmp.diagnostics import Span

Kind = Literal["str", "int", "float", "bool", "null"]
Patch = Literal["delete", "replace"]


class Scalar:
    """A scalar: its text as spelled, and what YAML 1.2 takes it for.

    ``raw`` scalars (tag ``!raw``) are never expanded. ``plain`` says that expansion changes nothing.
    ``removes`` marks a null that stands for the removal of an inherited value.
    """

    __slots__ = ("kind", "plain", "raw", "removes", "span", "text")
    patched = False

    def __init__(self, text: str, kind: Kind, span: Span, raw: bool = False, removes: bool = False) -> None:
        self.text = text
        self.kind = kind
        self.span = span
        self.raw = raw
        self.removes = removes
        self.plain = raw or kind != "str" or ("{" not in text and "}" not in text)


class Entry(NamedTuple):
    """A key and its value."""

    key: Scalar
    value: Node


class Sequence:
    """A list. ``patch`` is "replace" where merging put it over a removal."""

    __slots__ = ("items", "patch", "patched", "plain", "span")
    plain: bool
    patched: bool

    def __init__(
        self, items: tuple[Node, ...], span: Span, patch: Patch | None = None, *, settled: bool = False
    ) -> None:
        self.items = items
        self.span = span
        self.patch = patch
        self.plain = settled or all([item.plain for item in items])
        self.patched = not settled and (patch is not None or any([item.patched for item in items]))


class Mapping:
    """A mapping by the text of its keys, in the order of the file. ``patch`` is the value of its ``$patch``."""

    __slots__ = ("entries", "patch", "patched", "plain", "span")
    plain: bool
    patched: bool

    def __init__(
        self, entries: dict[str, Entry], span: Span, patch: Patch | None = None, *, settled: bool = False
    ) -> None:
        self.entries = entries
        self.span = span
        self.patch = patch
        self.plain = settled or all([entry[1].plain for entry in entries.values()])
        self.patched = not settled and (patch is not None or any([entry[1].patched for entry in entries.values()]))

    def get(self, key: str) -> Node | None:
        """Return the value of a key; None where it is absent or an explicit null."""
        entry = self.entries.get(key)
        return None if entry is None or is_null(entry.value) else entry.value

    def span_of(self, key: str) -> Span:
        """Return the place of a key, or of the mapping where the key is absent."""
        entry = self.entries.get(key)
        return self.span if entry is None else entry.key.span


Node: TypeAlias = "Scalar | Sequence | Mapping"

Plain: TypeAlias = "str | int | float | bool | list[Plain] | dict[Plain, Plain] | None"
"""A node as plain Python values."""


def is_null(node: Node) -> bool:
    """Tell whether the node is an explicit null."""
    return isinstance(node, Scalar) and node.kind == "null"


def describe(node: Node) -> str:
    """Return the kind of the node in a user's words."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    return {"str": "a string", "int": "a number", "float": "a number", "bool": "a boolean", "null": "null"}[node.kind]


def plain_scalar(node: Scalar) -> str | int | float | bool | None:
    """Return the typed value of a scalar."""
    if node.kind == "str":
        return node.text
    if node.kind == "null":
        return None
    if node.kind == "bool":
        return node.text.lower() == "true"
    if node.kind == "int":
        return int(node.text, 0) if node.text.startswith(("0o", "0x")) else int(node.text)
    return float(node.text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def plain_value(node: Node) -> Plain:
    """Return the node as plain Python values; what a null removed is gone."""
    if isinstance(node, Scalar):
        return plain_scalar(node)
    if isinstance(node, Sequence):
        return [plain_value(item) for item in node.items]
    return {
        plain_scalar(entry.key): plain_value(entry.value)
        for entry in node.entries.values()
        if not (isinstance(entry.value, Scalar) and entry.value.removes)
    }

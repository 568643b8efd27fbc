"""The building blocks of the schema: each decodes a node, reports what is wrong with it, and describes itself.

The schema (:mod:`vmp.schema`) is written with these once; decoding, the JSON Schema and the reference
page are all read off that one declaration. A decoded value is meaningful only if the report stayed clean.

In a *partial* decoding (templates, and VMs before they inherit) nothing is missed but names. In an *unexpanded*
one, text that still has variables in it is not judged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping as MappingType
from collections.abc import Sequence as SequenceType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from vmp.diagnostics import Report, nearest
from vmp.nodes import Mapping, Node, Plain, Scalar, Sequence, describe, is_null, plain_scalar, plain_value
from vmp.texts import Judgement

T = TypeVar("T")
JsonSchema = dict[str, Any]
Path = tuple[str, ...]
Check = Callable[[str], Judgement]


PATCH: JsonSchema = {
    "enum": ["delete", "replace"],
    "description": "Remove what is inherited here, or take this whole instead of merging it.",
}
"""What merging takes out of a mapping, as JSON Schema."""


class Number(str):
    """A number as it is spelled in the registry, so that 1.10 stays 1.10."""


class Decoding:
    """What one pass of decoding needs: where mistakes go, and what it has decoded already."""

    def __init__(self, report: Report, *, partial: bool = False, unexpanded: bool = False) -> None:
        self.report = report
        self.partial = partial
        self.unexpanded = unexpanded
        self._known: dict[tuple[int, int], tuple[Node, Any]] = {}

    def error(self, code: str, message: str, node: Node, help: str | None = None) -> None:
        self.report.error(code, message, node.span, help=help)

    def wrong_type(self, node: Node, wanted: str, path: Path) -> None:
        self.error("wrong-type", f"{show(path)} is {describe(node)}, not {wanted}", node)

    def once(self, shape: Record[T], node: Mapping, path: Path) -> T:
        """Decode a record; a node shared by many VMs that holds no variables is decoded once."""
        if not node.plain or self.partial:
            return shape.decode_fields(node, path, self)
        key = (id(node), id(shape))
        if key in self._known:
            return cast(T, self._known[key][1])
        calls = self.report.calls
        value = shape.decode_fields(node, path, self)
        if self.report.calls == calls:
            self._known[key] = (node, value)  # holds the node, so that its id stays its own
        return value


def show(path: Path) -> str:
    """Return the path of a value as messages name it."""
    return ".".join(path).replace(".[", "[") or "the registry"


def _within(path: Path) -> str:
    return f"{show(path)}: " if path else ""


class Shape(Generic[T]):
    """What a value may look like. ``wanted`` is what messages call it."""

    wanted = "a value"

    def decode(self, node: Node, path: Path, decoding: Decoding) -> T:
        """Return the value of the node, reporting what is wrong with it."""
        raise AssertionError

    def json_schema(self, definitions: dict[str, JsonSchema]) -> JsonSchema:
        """Return this shape as JSON Schema, adding the records that it refers to."""
        raise AssertionError

    def summary(self) -> str:
        """Return this shape in a few words, for the reference page."""
        return self.wanted


class Text(Shape[str]):
    """A string; a number or boolean is taken as it is spelled."""

    def __init__(self, wanted: str = "a string", check: Check | None = None, code: str = "bad-value") -> None:
        self.wanted = wanted
        self.check = check
        self.code = code

    def decode(self, node: Node, path: Path, decoding: Decoding) -> str:
        if not isinstance(node, Scalar) or node.kind == "null":
            decoding.wrong_type(node, self.wanted, path)
            return ""
        if self.check and not (decoding.unexpanded and not node.plain) and (wrong := self.check(node.text)):
            decoding.error(self.code, wrong[0], node, wrong[1])
        return node.text

    def json_schema(self, definitions: dict[str, JsonSchema]) -> JsonSchema:
        return {"type": ["string", "number", "boolean"]}


class Choice(Text):
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        super().__init__(" or ".join(filter(None, [", ".join(map(repr, words[:-1])), repr(words[-1])])), self._judge)
        self.words = words

    def _judge(self, text: str) -> Judgement:
        if text in self.words:
            return None
        return f"{text!r} is not {self.wanted}", nearest(text, self.words)

    def json_schema(self, definitions: dict[str, JsonSchema]) -> JsonSchema:
        return {"anyOf": [{"enum": list(self.words)}, {"type": "string", "pattern": "[{]"}]}

    def summary(self) -> str:
        return " \\| ".join(f"`{word}`" for word in self.words)


class Truth(Shape[bool]):
    """True or false; also as the text that a variable may give."""

    wanted = "true or false"

    def decode(self, node: Node, path: Path, decoding: Decoding) -> bool:
        if isinstance(node, Scalar) and (node.text in ("true", "false") or (decoding.unexpanded and not node.plain)):
            return node.text == "true"
        if isinstance(node, Scalar) and node.kind == "bool":
            return bool(plain_scalar(node))
        decoding.wrong_type(node, self.wanted, path)
        return False

    def json_schema(self, definitions: dict[str, JsonSchema]) -> JsonSchema:
        return {"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": "[{]"}]}


class ListOf(Shape[tuple[T, ...]]):
    """A list of one shape. The path that messages name begins anew in the elements of a ``section``."""

    wanted = "a list"

    def __init__(self, item: Shape[T], section: bool = False) -> None:
        self.item = item
        self.section = section

    def decode(self, node: Node, path: Path, decoding: Decoding) -> tuple[T, ...]:
        if not isinstance(node, Sequence):
            decoding.wrong_type(node, self.wanted, path)
            return ()
        if self.section:
            for item in node.items:
                if not isinstance(item, Mapping):
                    decoding.wrong_type(item, self.item.wanted, (*path, "[]"))
            return tuple([self.item.decode(item, (), decoding) for item in node.items if isinstance(item, Mapping)])
        # without index or name, which merging and expansion change: one mistake has one message
        return tuple([self.item.decode(item, (*path, "[]"), decoding) for item in node.items])

    def json_schema(self, definitions: dict[str, JsonSchema]) -> JsonSchema:
        return {"type": "array", "items": self.item.json_schema(definitions)}

    def summary(self) -> str:
        return f"list of {self.item.summary()}"


class MapOf(Shape[dict[str, T]]):
    """A mapping from free keys to one shape; a null leaves its key out."""

    def __init__(self, value: Shape[T], check: Check | None = None, code: str = "bad-value") -> None:
        self.value = value
        self.check = check
        self.code = code
        self.wanted = "a mapping"

    def decode(self, node: Node, path: Path, decoding: Decoding) -> dict[str, T]:
        if not isinstance(node, Mapping):
            decoding.wrong_type(node, self.wanted, path)
            return {}
        found = {}
        for key, entry in node.entries.items():
            if self.check and (wrong := self.check(key)):
                decoding.error(self.code, wrong[0], entry.key, wrong[1])
            if not is_null(entry.value):
                found[key] = self.value.decode(entry.value, (*path, key), decoding)
        return found

    def json_schema(self, definitions: dict[str, JsonSchema]) -> JsonSchema:
        return {"type": "object", "additionalProperties": _or_null(self.value.json_schema(definitions))}

    def summary(self) -> str:
        return f"mapping to {self.value.summary()}"


class Record(Shape[T]):
    """A mapping with known keys, decoded into a class made by :func:`record` whose fields are made by :func:`required`.

    Of the ``exclusive`` keys one at most may be given, of the ``any_of`` keys one at least.
    """

    def __init__(
        self, into: Callable[..., T], *, exclusive: tuple[str, ...] = (), any_of: tuple[str, ...] = ()
    ) -> None:
        self.into = into
        self.exclusive = exclusive
        self.any_of = any_of
        self.wanted = "a mapping"
        self.name: str = into.__name__
        fields = dataclasses.fields(into)  # type: ignore[arg-type]
        self.keys: dict[str, Key] = {
            key.name or camel_case(field.name): key
            for field in fields
            if (key := cast(Key, field.metadata["key"])) and key.attach(field.name)
        }
        self.always = [name for name, key in self.keys.items() if key.always]
        self.required = [name for name, key in self.keys.items() if key.required]

    def decode(self, node: Node, path: Path, decoding: Decoding) -> T:
        if not isinstance(node, Mapping):
            decoding.wrong_type(node, self.wanted, path)
            return cast(T, None)
        return decoding.once(self, node, path)

    def decode_fields(self, node: Mapping, path: Path, decoding: Decoding) -> T:
        """Decode the mapping key by key."""
        values: dict[str, Any] = {}
        for name, entry in node.entries.items():
            key = self.keys.get(name)
            if key is None:
                where = f" in {show(path)}" if path else ""
                message = f"unknown key {name!r}{where}"
                decoding.error("unknown-key", message, entry.key, decoding.report.nearest(name, self.keys))
            elif not is_null(entry.value):
                values[key.attribute] = key.shape.decode(entry.value, (*path, name), decoding)
        if self.exclusive or self.any_of:
            self._check_together(node, path, decoding)
        for name in self.always if decoding.partial else self.required:
            attribute = self.keys[name].attribute
            if attribute not in values:
                decoding.error("missing-key", f"{_within(path)}{name!r} is required", node)
                values[attribute] = None
        return self.into(**values) if not decoding.partial else cast(T, None)

    def _check_together(self, node: Mapping, path: Path, decoding: Decoding) -> None:
        given = [name for name in self.exclusive if node.get(name) is not None]
        if len(given) > 1:
            message = f"{_within(path)}{given[0]!r} and {given[1]!r} exclude each other"
            decoding.report.error("conflicting-keys", message, node.span_of(given[1]))
        if self.any_of and not decoding.partial and not any(node.get(name) for name in self.any_of):
            wanted = ", ".join(map(repr, self.any_of))
            decoding.error("missing-key", f"{_within(path)}one of {wanted} is required", node)

    def json_schema(self, definitions: dict[str, JsonSchema]) -> JsonSchema:
        if self.name not in definitions:
            definition: JsonSchema = {"type": "object", "additionalProperties": False, "properties": {}}
            definitions[self.name] = definition
            definition["description"] = " ".join((self.into.__doc__ or "").split())
            for name, key in self.keys.items():
                property_ = {"description": key.doc, **_or_null(key.shape.json_schema(definitions))}
                if key.default is not None:
                    property_["default"] = key.default
                definition["properties"][name] = property_
            definition["properties"]["$patch"] = PATCH
            if self.always:
                definition["required"] = self.always
        return {"$ref": f"#/$defs/{self.name}"}

    def summary(self) -> str:
        return f"[{self.name}](#{self.name.lower()})"


class Options(Shape[MappingType[str, "str | bool"]]):
    """Suboptions of a virt-install option: scalars by key; null is left out."""

    wanted = "a mapping"

    def decode(self, node: Node, path: Path, decoding: Decoding) -> dict[str, str | bool]:
        if not isinstance(node, Mapping):
            decoding.wrong_type(node, self.wanted, path)
            return {}
        found: dict[str, str | bool] = {}
        for key, entry in node.entries.items():
            value = entry.value
            if not isinstance(value, Scalar):
                decoding.wrong_type(value, "a string, a number or a boolean", (*path, key))
            elif value.kind != "null":
                found[key] = option_scalar(value)
        return found

    def json_schema(self, definitions: dict[str, JsonSchema]) -> JsonSchema:
        return {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}}

    def summary(self) -> str:
        return "mapping to string \\| number \\| boolean"


class Free(Shape[Plain]):
    """Anything, as plain values."""

    def decode(self, node: Node, path: Path, decoding: Decoding) -> Plain:
        return plain_value(node)

    def json_schema(self, definitions: dict[str, JsonSchema]) -> JsonSchema:
        return {}


def option_scalar(node: Scalar) -> str | bool:
    """Return a virt-install value: true, a number as spelled, or text."""
    if node.kind == "bool":
        return bool(plain_scalar(node))
    return Number(node.text) if node.kind in ("int", "float") else node.text


@dataclasses.dataclass
class Key:
    """One key of a record: its shape and meaning."""

    shape: Shape[Any]
    doc: str
    required: bool
    always: bool
    default: Any
    name: str
    attribute: str = ""

    def attach(self, attribute: str) -> bool:
        self.attribute = attribute
        return True


if TYPE_CHECKING:
    from typing_extensions import dataclass_transform

    @dataclass_transform(kw_only_default=True, frozen_default=True)
    def record(cls: type[T]) -> type[T]:
        """Declare a record: a class whose fields are keys, and never change."""

else:  # that nothing changes is the type checker's to see: frozen classes that compare took a tenth of each start
    record = dataclasses.dataclass(kw_only=True, eq=False, repr=False)


def required(shape: Shape[T], doc: str, *, always: bool = False) -> T:
    """Declare a key that must be given; ``always`` in every template too."""
    key = Key(shape, doc, required=True, always=always, default=None, name="")
    return cast(T, dataclasses.field(metadata={"key": key}))


def optional(shape: Shape[T], doc: str, default: Any = None, *, name: str = "") -> Any:
    """Declare a key that may be left out."""
    key = Key(shape, doc, required=False, always=False, default=default, name=name)
    if isinstance(default, (dict, list)):
        return dataclasses.field(default_factory=default.copy, metadata={"key": key})
    return dataclasses.field(default=default, metadata={"key": key})


def camel_case(name: str) -> str:
    """Return the registry's spelling of a Python attribute."""
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def plain_record(value: Any) -> Any:
    """Return a decoded value as plain data with the registry's keys; unset keys are left out."""
    if dataclasses.is_dataclass(value):
        return {
            field.metadata["key"].name or camel_case(field.name): plain_record(item)
            for field in dataclasses.fields(value)
            if (item := getattr(value, field.name)) is not None
        }
    if isinstance(value, dict):
        return {key: plain_record(item) for key, item in value.items()}
    if isinstance(value, SequenceType) and not isinstance(value, str):
        return [plain_record(item) for item in value]
    return value


def _or_null(schema: JsonSchema) -> JsonSchema:
    """Allow null, which removes what is inherited."""
    if isinstance(schema.get("type"), list):
        return {**schema, "type": [*schema["type"], *(["null"] if "null" not in schema["type"] else [])]}
    if "type" in schema:
        return {**schema, "type": [schema["type"], "null"]}
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    return {"anyOf": [schema, {"type": "null"}]} if schema else schema

"""Variables: ``{NAME}`` in string values, ``{{`` and ``}}`` for literal braces, nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping as MappingType
from functools import lru_cache
from typing import NamedTuple

from vmp.diagnostics import Report, Span
from vmp.nodes import Entry, Mapping, Node, Scalar, Sequence

_TOKEN = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|\{[^{}\s]*\}|[{}]")
_HELP = "write '{{' and '}}' for literal braces, or tag the value !raw"

MAX_LENGTH = 1_000_000
"""Most characters that variables may bring into one text: a few that double each other would fill any memory."""


class Reference(NamedTuple):
    """A variable's name in a text."""

    name: str


class Wrong(NamedTuple):
    """A brace that is neither doubled nor around a name."""

    token: str


@lru_cache(maxsize=8192)
def split(text: str) -> tuple[str | Reference | Wrong, ...]:
    """Split a text into literal parts, references and mistakes."""
    parts: list[str | Reference | Wrong] = []
    position = 0
    for match in _TOKEN.finditer(text):
        if match.start() > position:
            parts.append(text[position : match.start()])
        position = match.end()
        token = match.group()
        if token in ("{{", "}}"):
            parts.append(token[0])
        else:
            parts.append(Reference(match.group(1)) if match.group(1) else Wrong(token))
    if position < len(text):
        parts.append(text[position:])
    return tuple(parts)


class Scope:
    """Variables by name. Values that are nodes may use other variables; texts are final; None is an unset group."""

    def __init__(self, variables: MappingType[str, Scalar | str | None], report: Report) -> None:
        self._variables = variables
        self._report = report
        self._values: dict[str, str | None] = {}

    def expand_text(self, node: Scalar) -> str | None:
        """Return the text of a scalar with its variables replaced, or None if that is not possible."""
        if node.plain:
            return node.text
        result: list[str] = []
        complete = True
        length = 0
        for part in split(node.text):
            if isinstance(part, str):
                result.append(part)
            elif isinstance(part, Reference):
                value = self.lookup(part.name, node)
                if value is None:
                    complete = False
                    continue
                result.append(value)
                length += len(value)
                if length > MAX_LENGTH:
                    self._report.error(
                        "bad-value", f"variables make this longer than {MAX_LENGTH} characters", node.span
                    )
                    return None
            else:
                report_wrong(part, node, self._report)
                complete = False
        return "".join(result) if complete else None

    def lookup(self, name: str, user: Scalar) -> str | None:
        """Return the expanded value of a variable that ``user`` refers to, reporting why there is none."""
        if name in self._values:
            return self._values[name]
        if name not in self._variables:
            message, help_ = f"unknown variable {name!r}", self._report.nearest(name, self._variables) or _HELP
            self._error("unknown-variable", message, name, user, help_)
            return None
        if self._variables[name] is None:
            message = f"the group {name!r} of the pattern took no part in the match"
            self._error("unset-group", message, name, user)
            return None
        self._resolve(name)
        return self._values[name]

    def _resolve(self, name: str) -> None:
        """Work out a variable, and before it all that it uses: without recursion, since they go to any depth."""
        chain = {name: self._references(name)}
        while chain:
            name, references = next(reversed(chain.items()))
            used = next((used for used in references if used not in self._values), None)
            if used is None:
                variable = self._variables[name]
                self._values[name] = self.expand_text(variable) if isinstance(variable, Scalar) else variable
                del chain[name]
            elif used in chain:
                user = self._variables[name]
                assert isinstance(user, Scalar)
                names = list(chain)
                circle = " → ".join([*names[names.index(used) :], used])
                message = f"variables refer to each other in a circle: {circle}"
                self._error("variable-cycle", message, used, user)
                self._values[name] = None
                del chain[name]
            else:
                chain[used] = self._references(used)

    def _references(self, name: str) -> Iterator[str]:
        """Yield the variables that a variable uses, as far as there are such."""
        variable = self._variables[name]
        for part in split(variable.text) if isinstance(variable, Scalar) and not variable.plain else ():
            if isinstance(part, Reference) and self._variables.get(part.name) is not None:
                yield part.name

    def all_values(self) -> dict[str, str]:
        """Return every variable, expanded, in order of name."""
        found = {}
        for name in sorted(self._variables):
            variable = self._variables[name]
            user = variable if isinstance(variable, Scalar) else _NOWHERE
            if variable is not None and (value := self.lookup(name, user)) is not None:
                found[name] = value
        return found

    def _error(self, code: str, message: str, name: str, user: Scalar, help: str | None = None) -> None:
        span = locate("{" + name + "}", user, self._report)
        self._report.error(code, message, span, help=help)


_NOWHERE = Scalar("", "str", Span("", 1, 1, 1, 1))


def expand(node: Node, scope: Scope) -> Node:
    """Return a settled node with all variables replaced; what has none, or mistakes, is returned as it is."""
    if node.plain:
        return node
    if isinstance(node, Scalar):
        text = scope.expand_text(node)
        return node if text is None else Scalar(text, "str", node.span, raw=True)
    if isinstance(node, Sequence):
        items = tuple([item if item.plain else expand(item, scope) for item in node.items])
        return Sequence(items, node.span, settled=True)
    entries = {
        key: entry if entry[1].plain else Entry(entry[0], expand(entry[1], scope))
        for key, entry in node.entries.items()
    }
    return Mapping(entries, node.span, settled=True)


def check_braces(node: Node, report: Report, verbatim: str | None = None) -> None:
    """Report every brace that no variables could make right, for templates that no VM uses.

    The values of the key ``verbatim`` are not expanded and so not judged.
    """
    if node.plain:
        return
    if isinstance(node, Scalar):
        for part in split(node.text):
            if isinstance(part, Wrong):
                report_wrong(part, node, report)
        return
    if isinstance(node, Sequence):
        for item in node.items:
            check_braces(item, report, verbatim)
    else:
        for key, entry in node.entries.items():
            if key != verbatim:
                check_braces(entry.value, report, verbatim)


def report_wrong(part: Wrong, node: Scalar, report: Report) -> None:
    """Report a brace that is neither doubled nor around a name."""
    what = f"a lone {part.token!r}" if len(part.token) == 1 else f"{part.token!r} is not a variable"
    report.error("variable-syntax", what, locate(part.token, node, report), help=_HELP)


def locate(token: str, node: Scalar, report: Report) -> Span:
    """Return the place of a token within a scalar, as the file spells it."""
    if node.span not in report.tokens:
        report.tokens[node.span] = _token_places(node.span, report.lines(node.span.file))
    return report.tokens[node.span].get(token, node.span)


def _token_places(span: Span, source: list[str]) -> dict[str, Span]:
    """Return where each token of a scalar stands first."""
    places: dict[str, Span] = {}
    for offset, line in enumerate(source[span.line - 1 : span.end_line]):
        number = span.line + offset
        start = span.column - 1 if offset == 0 else 0
        end = span.end_column - 1 if number == span.end_line else len(line)
        for match in _TOKEN.finditer(line, start, end):
            place = Span(span.file, number, match.start() + 1, number, match.end() + 1)
            places.setdefault(match.group(), place)
    return places

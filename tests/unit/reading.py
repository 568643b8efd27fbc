"""Text to nodes and back to plain values, as the unit tests want them."""

from __future__ import annotations

from vmp.diagnostics import Report
from vmp.nodes import Mapping, Node, Plain, plain_value
from vmp.source import parse


def node(text: str, report: Report | None = None) -> Node:
    """Return the node of a text without mistakes."""
    own = Report() if report is None else report
    found = parse(text, "test.yaml", own)
    assert found is not None and not own, own.diagnostics
    return found


def mapping(text: str, report: Report | None = None) -> Mapping:
    """Return the node of a text that is a mapping."""
    found = node(text, report)
    assert isinstance(found, Mapping)
    return found


def plain(text: str) -> Plain:
    """Return the plain value of a text without mistakes."""
    return plain_value(node(text))


def codes(report: Report) -> list[str]:
    """Return the codes of what was reported, in order of place."""
    return [diagnostic.code for diagnostic in report.diagnostics]


def places(report: Report) -> list[tuple[str, int, int]]:
    """Return code, line and column of what was reported."""
    return [(item.code, item.span.line, item.span.column) for item in report.diagnostics if item.span]

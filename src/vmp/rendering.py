"""Diagnostics to text for people, and to JSON for programs."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from vmp.diagnostics import Diagnostic, Report, Span

_RED, _BLUE, _CYAN, _BOLD, _PLAIN = "\033[1;31m", "\033[1;34m", "\033[36m", "\033[1m", "\033[0m"
_SECRET = re.compile(r"(passw|secret|token|private)[\w-]*[\"']?\s*[:=]|://[^/\s@]*:[^/\s@]*@", re.IGNORECASE)
_SECRET_KEY = re.compile(r"""[\s-]*["']?[\w-]*(passw|secret|token|private)[\w-]*["']?\s*:""", re.IGNORECASE)
"""A key whose value may stand on the lines below it, such as cloud-init's `chpasswd` and `plain_text_passwd`."""
_LINES_ABOVE = 400
_WIDTH = 160

_Painter = Callable[[str, str], str]


def to_text(report: Report, colour: bool = False) -> str:
    """Return all diagnostics, each with the line it is about."""
    blocks = ["\n".join(_block(diagnostic, report, colour)) for diagnostic in report.diagnostics]
    return "\n".join(blocks) + "\n"


def to_json(report: Report) -> str:
    """Return all diagnostics as a JSON list of objects."""
    import json

    found = [
        {
            "code": item.code,
            "message": item.message,
            **({} if item.span is None else item.span._asdict()),
            **({} if item.help is None else {"help": item.help}),
            **({} if item.note is None else {"note": item.note}),
        }
        for item in report.diagnostics
    ]
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _block(diagnostic: Diagnostic, report: Report, colour: bool) -> list[str]:
    paint = _paint if colour else _as_it_is
    span = diagnostic.span
    place = f"{_visible(span.file)}:{span.line}:{span.column}: " if span else "vmp: "
    kind = paint(f"error[{diagnostic.code}]", _RED)
    lines = [f"{paint(place, _BOLD)}{kind}: {paint(_visible(diagnostic.message), _BOLD)}"]
    margin = ""
    if span and (source := report.lines(span.file)):
        margin = " " * len(str(span.line))
        lines += _snippet(span, source, margin, paint)
    margin = margin or "  "
    for word, text in (("help", diagnostic.help), ("note", diagnostic.note)):
        if text:
            lines.append(f"{margin} {paint('=', _BLUE)} {paint(word, _CYAN)}: {_visible(text)}")
    return lines


def _snippet(span: Span, lines: list[str], margin: str, paint: _Painter) -> list[str]:
    line = lines[span.line - 1] if span.line <= len(lines) else ""
    bar = paint("|", _BLUE)
    may_hold_secret, width = _judge_line(line)
    if may_hold_secret or _is_below_secret(lines, span.line):
        return [f"{margin} {bar}", f"{paint(str(span.line), _BLUE)} {bar} (not shown: it may hold a secret)"]
    end = span.end_column if span.end_line == span.line else len(line) + 1
    first = max(0, span.column - _WIDTH // 2) if span.column > _WIDTH else 0
    shown = _visible(line[first : first + _WIDTH])
    before = re.sub(r"[^\t]", " ", line[first : span.column - 1])
    marked = "^" * max(1, min(end, width + 1, first + _WIDTH) - span.column)
    number = paint(str(span.line), _BLUE)
    return [f"{margin} {bar}", f"{number} {bar} {shown}", f"{margin} {bar} {before}{paint(marked, _RED)}"]


@lru_cache(maxsize=16)
def _judge_line(line: str) -> tuple[bool, int]:
    """Tell whether a line may hold a secret, and its width: once for the many mistakes of one very long line."""
    return _SECRET.search(line) is not None, len(line.rstrip())


def _is_below_secret(lines: list[str], number: int) -> bool:
    """Tell whether a line is part of a value whose key, on a line above it that is indented less, names a secret."""
    indent = _indent(lines[number - 1]) if number <= len(lines) else 0
    for above in lines[max(0, number - 1 - _LINES_ABOVE) : max(0, number - 1)][::-1]:
        if indent == 0:
            return False
        if above.strip() and (found := _indent(above)) < indent:
            indent = found
            if _SECRET_KEY.match(above[:_WIDTH]):
                return True
    return False


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _visible(text: str) -> str:
    """Keep what a file or a name holds from reaching the terminal as a control sequence."""
    return "".join([c if c.isprintable() or c == "\t" else f"\\x{ord(c):02x}" for c in text])


def _paint(text: str, colour: str) -> str:
    return f"{colour}{text}{_PLAIN}"


def _as_it_is(text: str, colour: str) -> str:
    return text

"""Measured values, and the tables in which they are printed: for a terminal, and as Markdown for the documentation."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

Row = tuple[str, ...]

FIGURES: Row = ("", "median", "min", "max", "runs")
RATIOS: Row = ("", "measured", "target", "")
NOT_MEASURED = "not measured"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text below a title; the first column is words, the others are figures. Without rows: a sentence."""

    title: str
    header: Row
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


class Usage(NamedTuple):
    """What one process took, with all that it started and waited for."""

    seconds: float
    peak_mb: float
    """Of the largest process alone."""


def measure(command: Sequence[str], environment: Mapping[str, str] | None = None, cwd: Path | None = None) -> Usage:
    """Run a command to its end. Raises CalledProcessError with what it said when it fails."""
    with tempfile.TemporaryFile() as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment, cwd=cwd
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            output = said.read().decode(errors="replace")
            raise subprocess.CalledProcessError(process.returncode, list(command), output=output)
    return Usage(seconds, usage.ru_maxrss / 1024)


def figure(title: str, seconds: Sequence[float]) -> Row:
    """Return a row of a table of FIGURES."""
    if not seconds:
        return (title, NOT_MEASURED, "", "", "")
    shown = [format_seconds(value) for value in (statistics.median(seconds), min(seconds), max(seconds))]
    return (title, *shown, str(len(seconds)))


def ratio(title: str, ours: Sequence[float], others: Sequence[float], limit: float | None = None) -> Row:
    """Return a row of a table of RATIOS: our median over the other one, which is to be at most the limit."""
    target = "" if limit is None else f"≤ {limit:g}"
    if not ours or not others:
        return (title, NOT_MEASURED, target, "")
    value = statistics.median(ours) / statistics.median(others)
    return (title, f"{value:.2f}", target, _verdict(limit is None, limit is None or value <= limit))


def at_least(title: str, value: float, limit: float) -> Row:
    """Return a row of a table of RATIOS whose value is to be at least the limit."""
    return (title, f"{value:.2f}", f"≥ {limit:g}", _verdict(False, value >= limit))


def count(title: str, value: int | None, limit: int | None = None) -> Row:
    """Return a row of a table of RATIOS for something counted."""
    target = "" if limit is None else f"≤ {limit}"
    if value is None:
        return (title, NOT_MEASURED, target, "")
    return (title, str(value), target, _verdict(limit is None, limit is None or value <= limit))


def _verdict(no_target: bool, reached: bool) -> str:
    return "" if no_target else "reached" if reached else "missed"


def format_seconds(seconds: float) -> str:
    """Return a time with about three digits that mean something."""
    if seconds < 0.1:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def to_text(table: Table) -> str:
    """Return a table for a terminal."""
    if not table.rows:
        return f"{table.title}\n"
    rows = [table.header, *table.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.header))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *[cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]]
        )
        for row in rows
    ]
    return "\n".join([table.title, *[line.rstrip() for line in lines], *table.notes, ""])


def to_markdown(table: Table) -> str:
    """Return a table as Markdown, under a bold title."""
    if not table.rows:
        return f"{table.title}\n"
    rule = "|".join(["", "---", *["---:"] * (len(table.header) - 1), ""])
    lines = [f"| {' | '.join(row)} |" for row in table.rows]
    notes = [f"\n{note}" for note in table.notes]
    return "\n".join([f"**{table.title}**\n", f"| {' | '.join(table.header)} |", rule, *lines, *notes, ""])

"""Runs the real command line within the tests' own process: the same code, without an interpreter's start."""

from __future__ import annotations

import io
import sys
from typing import Any, NamedTuple
from unittest.mock import patch

from vmp.cli import main


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    output: str
    errors: str


def run(*arguments: str, stdin: bytes = b"") -> Outcome:
    """Run ``vmp`` with these arguments in the current directory."""
    output, errors = io.BytesIO(), io.BytesIO()
    streams: dict[str, Any] = {
        "stdin": io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"),
        "stdout": io.TextIOWrapper(output, encoding="utf-8", write_through=True),
        "stderr": io.TextIOWrapper(errors, encoding="utf-8", write_through=True),
    }
    code: object = 0
    with patch.object(sys, "argv", ["vmp", *arguments]), patch.multiple(sys, **streams):
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code
    assert isinstance(code, int)
    return Outcome(code, output.getvalue().decode(), errors.getvalue().decode())

"""Values to shell: what a real ``sh`` gives back is what went in, byte for byte."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmp.provisioners.v1alpha1.shell import arguments, assignment, default, each, quote

NASTY = [
    "",
    " ",
    "'",
    "''",
    "'\\''",
    '"',
    "$HOME ${HOME} $(touch pwned) `touch pwned` $((1+1)) $'x'",
    "; touch pwned & | < > ( ) { } [ ] * ? ~ # ! % ^ = ,",
    "\\",
    "\\\\",
    "ends with \\",
    "ends with '",
    "a\nb",
    "\n",
    "ends with newlines\n\n",
    "\r\n",
    "\t tab",
    "-n",
    "--",
    "%s %d \\n",
    "é ü 虚拟机 😀 \u200b \u2028 \ufeff",
    "\x01\x1b\x7f",
    "x" * 4096,
    "'" * 1000,
    "$(cat /etc/passwd)\n" * 100,
]

_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300)
_VALUES = st.lists(_TEXTS | st.text("'\"\\$`\n !#%&*;", max_size=40) | st.sampled_from(NASTY), min_size=1, max_size=40)


def _words(script: str) -> list[str]:
    """Run a script that calls ``show`` with words, and return the words."""
    program = 'show() { for word in "$@"; do printf "%s\\0" "$word"; done; }\n' + script
    found = subprocess.run(
        ["sh"], input=program.encode(), stdout=subprocess.PIPE, check=True, env={"LC_ALL": "C"}
    ).stdout
    return [word.decode() for word in found.split(b"\0")[:-1]]


def _shown(values: Sequence[str]) -> str:
    return "".join(f'show "$v{number}"\n' for number, _ in enumerate(values))


@settings(max_examples=40, deadline=None)
@given(_VALUES)
def test_quoted_words_and_assignments_reach_the_shell_byte_for_byte(values: list[str]) -> None:
    words = "show " + " ".join(map(quote, values)) + "\n"
    assignments = "".join(assignment(f"v{number}", value) for number, value in enumerate(values))
    assert _words(f"set -eu\n{words}{assignments}{_shown(values)}") == [*values, *values]


def test_nasty_values_reach_every_kind_of_fact_and_nothing_is_evaluated(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    script = "set -eu\n"
    script += "".join(default(f"v{number}", value) for number, value in enumerate(NASTY)) + _shown(NASTY)
    script += arguments("words", "a comment", NASTY) + "words show\n"
    script += each("rows", "a comment", [(value, value) for value in NASTY]) + "rows show\n"
    assert _words(script) == [*NASTY, *NASTY, *[value for value in NASTY for _ in range(2)]]
    assert os.listdir() == []


def test_a_default_gives_way_to_the_environment_even_when_that_is_empty() -> None:
    assert _words(
        "a=set; b=\n" + default("a", "x") + default("b", "x") + default("c", "x") + 'show "$a" "$b" "$c"'
    ) == [
        "set",
        "",
        "x",
    ]


def test_a_list_without_rows_is_a_function_that_does_nothing() -> None:
    assert _words(
        "set -eu\n" + each("rows", "none", []) + arguments("words", "none", []) + "rows show; words show; show end"
    ) == ["end"]


def test_a_failing_row_ends_the_list() -> None:
    script = 'stop() { show "$1"; [ "$1" != b ]; }\n' + each("rows", "three", [("a",), ("b",), ("c",)])
    assert _words(script + "rows stop || show failed") == ["a", "b", "failed"]

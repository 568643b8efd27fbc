"""Diagnostics: what is collected, how it is sorted, and how it reads."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmp.diagnostics import CODES, Report, Span, nearest
from vmp.rendering import to_json, to_text

SOURCES = Path(__file__).parent.parent.parent / "src/vmp"


def _report(source: str, *spans: Span, message: str = "wrong") -> Report:
    report = Report()
    report.sources["f.yaml"] = source
    for span in spans:
        report.error("bad-value", message, span)
    return report


def _span(line: int, column: int, end_line: int, end_column: int) -> Span:
    return Span("f.yaml", line, column, end_line, end_column)


def test_a_diagnostic_reads_as_the_contract_shows_it() -> None:
    report = Report()
    report.sources["registry/vms/web.yaml"] = "\n" * 13 + "        memroy: 2048\n"
    span = Span("registry/vms/web.yaml", 14, 9, 14, 15)
    message = "unknown key 'memroy' in libvirt.domain.virtInstall"
    report.error("unknown-key", message, span, help="did you mean 'memory'?")
    assert to_text(report) == (
        "registry/vms/web.yaml:14:9: error[unknown-key]: unknown key 'memroy' in libvirt.domain.virtInstall\n"
        "   |\n"
        "14 |         memroy: 2048\n"
        "   |         ^^^^^^\n"
        "   = help: did you mean 'memory'?\n"
    )


def test_a_diagnostic_without_a_place_is_the_programs() -> None:
    report = Report()
    report.error("unknown-vm", "unknown VM 'x'", help="did you mean 'y'?")
    assert to_text(report) == "vmp: error[unknown-vm]: unknown VM 'x'\n   = help: did you mean 'y'?\n"


def test_diagnostics_are_sorted_by_file_line_and_column() -> None:
    report = Report()
    for file, line, column in [("b", 1, 1), ("a", 10, 1), ("a", 9, 2), ("a", 9, 1), ("Z", 1, 1), ("é", 1, 1)]:
        report.error("bad-value", "wrong", Span(file, line, column, line, column))
    report.error("no-registry", "no place")
    spans = [item.span[:3] if item.span else None for item in report.diagnostics]
    assert spans == [None, ("Z", 1, 1), ("a", 9, 1), ("a", 9, 2), ("a", 10, 1), ("b", 1, 1), ("é", 1, 1)]


def test_one_mistake_is_one_diagnostic_that_says_who_meets_it() -> None:
    report = Report()
    for name in ("a", "b", "a", "c", "d", "e"):
        report.context = name
        report.error("bad-value", "wrong", _span(1, 1, 1, 2))
    assert [item.note for item in report.diagnostics] == ["met by 5 VMs: 'a', 'b', 'c' and 2 more"]
    assert len(report) == 1 and report.calls == 6


def test_a_mistake_of_one_vm_names_it() -> None:
    report = Report()
    report.context = "a"
    report.error("bad-value", "wrong", _span(1, 1, 1, 2))
    assert [item.note for item in report.diagnostics] == ["met by VM 'a'"]


def _lines(report: Report) -> list[str]:
    return to_text(report).splitlines()


def test_tabs_keep_the_mark_below_what_it_marks() -> None:
    assert _lines(_report("\ta:\t1\n", _span(1, 5, 1, 6)))[2:4] == ["1 | \ta:\t1", "  | \t  \t^"]


def test_a_value_of_several_lines_is_marked_to_the_end_of_its_first() -> None:
    assert _lines(_report("a: |\n  b\n  c\n", _span(1, 4, 3, 4)))[3] == "  |    ^"
    assert _lines(_report("  - a: 1  \n    b: 2\n", _span(1, 5, 2, 9)))[3] == "  |     ^^^^"


def test_a_place_at_the_end_of_the_file_is_shown() -> None:
    assert _lines(_report("a: [", _span(2, 1, 2, 1)))[2:] == ["2 | ", "  | ^"]


def test_a_very_long_line_is_cut_around_the_place() -> None:
    shown = _lines(_report("x" * 100_000 + "HERE" + "y" * 100_000, _span(1, 100_001, 1, 100_005)))
    assert max(map(len, shown)) < 250
    column = shown[2].index("HERE")
    assert shown[3][column : column + 5] == "^^^^"


def test_lines_end_where_yaml_ends_them() -> None:
    for ending in ("\n", "\r\n", "\r", "\u2028", "\x85"):
        assert _lines(_report(f"one{ending}two{ending}", _span(2, 1, 2, 4)))[2:4] == ["2 | two", "  | ^^^"]


@pytest.mark.parametrize(
    "line",
    [
        "password: hunter2",
        "ssh: {PASSWD: hunter2}",
        "api_token: hunter2",
        "x: {secret: hunter2}",
        "private_key: hunter2",
    ],
)
def test_a_line_that_may_hold_a_secret_is_not_shown(line: str) -> None:
    assert "hunter2" not in to_text(_report(line + "\n", _span(1, 1, 1, 3)))


@pytest.mark.parametrize(
    "text",
    [
        "chpasswd:\n  list: |\n    root:hunter2\n",
        "  password: >-\n    hunter2\n",
        "users:\n  - plain_text_passwd:\n\n      hunter2\n",
        "  - hashed_passwd:\n      - a\n      - hunter2\n",
    ],
)
def test_a_line_of_a_secret_that_begins_above_it_is_not_shown(text: str) -> None:
    number = next(n for n, line in enumerate(text.splitlines(), 1) if "hunter2" in line)
    assert "hunter2" not in to_text(_report(text, _span(number, 1, number, 3)))


def test_a_line_beside_a_secret_is_shown() -> None:
    assert "memroy" in to_text(_report("a:\n  password: x\n  memroy: 1\n", _span(3, 3, 3, 9)))


def test_control_characters_never_reach_the_terminal() -> None:
    nasty = "a\x1b[31m\x07\x9b\u202e\r\u200b"
    report = _report(f"{nasty}: 1\n", _span(1, 1, 1, 2), message=nasty)
    report.error("bad-value", nasty, Span(f"{nasty}.yaml", 1, 1, 1, 1), help=nasty, note=nasty)
    assert all(character.isprintable() or character == "\n" for character in to_text(report))


def test_colour_adds_nothing_but_colour() -> None:
    report = _report("a: 1\n", _span(1, 1, 1, 2))
    coloured = to_text(report, colour=True)
    assert "\033[" in coloured and re.sub(r"\033\[[0-9;]*m", "", coloured) == to_text(report)


def test_json_has_code_message_place_help_and_note() -> None:
    report = Report()
    report.error("bad-value", "wrong 'ü'", _span(1, 2, 3, 4), help="so", note="and")
    report.error("unknown-vm", "no place")
    assert json.loads(to_json(report)) == [
        {"code": "unknown-vm", "message": "no place"},
        {
            "code": "bad-value",
            "message": "wrong 'ü'",
            "file": "f.yaml",
            "line": 1,
            "column": 2,
            "end_line": 3,
            "end_column": 4,
            "help": "so",
            "note": "and",
        },
    ]


@given(st.text(max_size=60), st.integers(1, 8), st.integers(1, 80), st.integers(0, 3), st.integers(1, 80))
def test_any_place_in_any_text_can_be_shown(source: str, line: int, column: int, lines: int, end: int) -> None:
    text = to_text(_report(source, _span(line, column, line + lines, end)))
    assert text.startswith(f"f.yaml:{line}:{column}: error[bad-value]: wrong\n")
    assert "^" in text or "not shown" in text


def test_many_mistakes_in_a_large_file_are_shown_in_linear_time() -> None:
    count = 20_000
    report = _report("wrong: 1\n" * count, *[_span(line, 1, line, 6) for line in range(1, count + 1)])
    begin = time.monotonic()
    assert to_text(report).count("^^^^^") == count
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize(
    ("word", "expected"),
    [("memroy", "memory"), ("Memory", "memory"), ("MEMORY", "memory"), ("xyzzy", None), ("", None)],
)
def test_the_nearest_word_is_named_if_one_is_near(word: str, expected: str | None) -> None:
    assert nearest(word, ["memory", "vcpus"]) == (f"did you mean {expected!r}?" if expected else None)


def test_of_words_about_as_near_one_of_the_same_length_is_named() -> None:
    assert nearest("qcow3", ["raw", "qcow", "qcow2"]) == "did you mean 'qcow2'?"


def test_every_code_is_kebab_case_and_has_a_sentence() -> None:
    for code, meaning in CODES.items():
        assert re.fullmatch("[a-z]+(-[a-z]+)*", code) and meaning.endswith(".")


def test_every_code_is_used_and_every_used_code_is_listed() -> None:
    text = "\n".join(path.read_text() for path in SOURCES.rglob("*.py") if path.name != "diagnostics.py")
    for code in CODES:
        assert f'"{code}"' in text, f"{code} is listed and never reported"
    used = set(re.findall(r'\.error\(\s*"([a-z-]+)"', text))
    assert used <= set(CODES)

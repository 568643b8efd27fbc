"""Text to nodes: the kinds of YAML 1.2, places, anchors, merge keys, tags, and what is refused."""

from __future__ import annotations

import math
import time

import pytest
from reading import codes, node, places, plain
from ruamel.yaml import YAML

from vmp.diagnostics import Report
from vmp.nodes import Mapping, Scalar, Sequence
from vmp.source import MAX_DEPTH, parse


def _report(text: str) -> Report:
    report = Report()
    parse(text, "test.yaml", report)
    return report


@pytest.mark.parametrize(
    "word",
    "yes no on off Yes NO y n 012 -012 00 1:2 52:54:00:12:34:56 2024-01-31 2024-01-31T12:00:00Z 1_000 0b11 0X1F 0O17 "
    "tRue nUll +0x1 1.2.3 .5.5 e3 inf nan .inF -- = v1 0x 0o 0o8 1e 1e+ . +. 1,5 ½ ١٢".split(),
)
def test_what_yaml_1_2_does_not_type_stays_a_string(word: str) -> None:
    assert plain(f"v: {word}") == {"v": word}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-0", 0),
        ("+12", 12),
        ("-7", -7),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.10", 1.1),
        ("-.5", -0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("1.5E-2", 0.015),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
    ],
)
def test_the_words_and_numbers_of_yaml_1_2_are_typed(word: str, value: object) -> None:
    found = plain(f"v: {word}")
    assert isinstance(found, dict) and found["v"] == value and type(found["v"]) is type(value)


def test_nan_is_a_float() -> None:
    found = plain("[.nan, .NaN]")
    assert isinstance(found, list) and all(isinstance(item, float) and math.isnan(item) for item in found)


def test_quoted_and_block_scalars_are_strings() -> None:
    assert plain("['1', \"true\", 'null']") == ["1", "true", "null"]
    assert plain("a: |\n  1\nb: >-\n  true\n") == {"a": "1\n", "b": "true"}


def test_a_scalar_keeps_its_text_as_spelled() -> None:
    found = node("[1.10, 0x1F, TRUE, 2048]")
    assert isinstance(found, Sequence)
    assert [item.text for item in found.items if isinstance(item, Scalar)] == ["1.10", "0x1F", "TRUE", "2048"]


def test_standard_tags_are_understood() -> None:
    text = "[!!str 5, !!int '7', !!float 1, !!bool 'true', !!null '', ! 12, !!map {a: 1}, !!seq [1]]"
    assert plain(text) == ["5", 7, 1.0, True, None, "12", {"a": 1}, [1]]


@pytest.mark.parametrize("text", ["!!int x", "!!bool yes", "!!float 0x1F", "!!float 0o7", "!!null no", "!!int 1.5"])
def test_a_tag_that_its_text_does_not_fit_is_refused(text: str) -> None:
    assert codes(_report(f"v: {text}")) == ["bad-value"]


@pytest.mark.parametrize(
    "text", ["!secret x", "!!binary aGk=", "!!timestamp 2024-01-31", "!!set {a}", "!raw [a]", "!raw {a: b}", "!x [1]"]
)
def test_other_tags_are_refused(text: str) -> None:
    assert codes(_report(f"v: {text}")) == ["bad-tag"]


def test_raw_marks_a_scalar_of_any_style_as_a_string() -> None:
    found = node("- !raw 12\n- !raw '{x}'\n- !raw |\n  {y}\n")
    assert isinstance(found, Sequence)
    assert [(item.text, item.kind, item.raw) for item in found.items if isinstance(item, Scalar)] == [
        ("12", "str", True),
        ("{x}", "str", True),
        ("{y}\n", "str", True),
    ]


def test_every_value_and_key_knows_its_place() -> None:
    found = node("ä: 1\nlist:\n  - 'two'\n  - {three: 3}\n")
    assert isinstance(found, Mapping)
    spans = {key: entry.key.span[1:] for key, entry in found.entries.items()}
    assert spans == {"ä": (1, 1, 1, 2), "list": (2, 1, 2, 5)}
    assert found.entries["ä"].value.span[1:] == (1, 4, 1, 5)
    items = found.entries["list"].value
    assert isinstance(items, Sequence)
    assert [item.span[1:] for item in items.items] == [(3, 5, 3, 10), (4, 5, 4, 15)]


def test_columns_count_characters_not_bytes() -> None:
    assert places(_report("{größe: 1, größe: 2}")) == [("duplicate-key", 1, 12)]


def test_lines_are_counted_where_yaml_breaks_them() -> None:
    assert places(_report("a: 1\r\nb: 2\r\na: 3\r\n")) == [("duplicate-key", 3, 1)]
    report = _report("a: 'x\u2028'\na: 3\n")
    assert [report.lines("test.yaml")[item.span.line - 1] for item in report.diagnostics if item.span] == ["a: 3"]


def test_aliases_stand_for_what_they_name() -> None:
    assert plain("a: &x [1]\nb: *x\nc: &x 2\nd: *x\n") == {"a": [1], "b": [1], "c": 2, "d": 2}


def test_merge_keys_give_way_to_own_keys_and_to_earlier_aliases() -> None:
    text = "a: &a {x: a, y: a}\nb: &b {y: b, z: b}\nc: {<<: [*a, *b], x: own}\nd: {x: own, <<: *b}\n"
    found = plain(text)
    assert isinstance(found, dict)
    assert found["c"] == {"x": "own", "y": "a", "z": "b"}
    assert found["d"] == {"x": "own", "y": "b", "z": "b"}


def test_merge_keys_of_merged_mappings_carry_over() -> None:
    found = plain("a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b}\n")
    assert isinstance(found, dict) and found["c"] == {"x": 1, "y": 2}


def test_a_quoted_merge_key_is_a_key() -> None:
    assert plain("'<<': 1") == {"<<": 1}


@pytest.mark.parametrize("text", ["<<: 1", "<<: [1]", "<<: [[]]"])
def test_a_merge_key_takes_mappings_only(text: str) -> None:
    assert codes(_report(text)) == ["wrong-type"]


@pytest.mark.parametrize(
    "text", ["", "\n\n", "# only a comment\n", "---\n", "--- # comment\n", "\ufeff", "%YAML 1.2\n---\n"]
)
def test_a_file_without_content_is_empty_and_no_mistake(text: str) -> None:
    report = Report()
    assert parse(text, "test.yaml", report) is None
    assert not report


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1\nb: 2\n", ("invalid-yaml", 2, 2)),
        ("a: 'x", ("invalid-yaml", 1, 6)),
        ("a: 1\n b: 2\n", ("invalid-yaml", 2, 3)),
        ("a: @x", ("invalid-yaml", 1, 4)),
        ("a: 1\n---\nb: 2\n", ("invalid-yaml", 2, 1)),
        ("a: \u200bé\x01", ("invalid-yaml", 1, 6)),
        ("{a: 1, a: 2}", ("duplicate-key", 1, 8)),
        ("a: *b", ("bad-alias", 1, 4)),
        ("? [x]\n: 1", ("bad-key", 1, 3)),
        ("null: 1", ("bad-key", 1, 1)),
        ('a: "\\0"', ("bad-encoding", 1, 4)),
        ('a: "\\ud800"', ("invalid-yaml", 1, 7)),
        ("$patch: no", ("bad-patch", 1, 9)),
    ],
)
def test_a_mistake_is_reported_at_its_place(text: str, place: tuple[str, int, int]) -> None:
    report = _report(text)
    assert [place[0]] == codes(report)
    assert places(report)[0][:2] == place[:2]
    assert abs(places(report)[0][2] - place[2]) <= 1  # libyaml and PyYAML differ by one at the end of a line


def test_all_mistakes_are_reported_that_do_not_hide_the_rest() -> None:
    assert codes(_report("{a: 1, a: 2, b: !x 1, <<: 3, ? [] : 4}")) == [
        "duplicate-key",
        "bad-tag",
        "wrong-type",
        "bad-key",
    ]


def test_nesting_is_limited_before_it_costs_anything() -> None:
    assert plain("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    for text in ("[" * 200_000, "- " * 200_000, "{a: " * 200_000, "? " * 200_000):
        begin = time.monotonic()
        assert codes(_report(text)) == ["too-deep"]
        assert time.monotonic() - begin < 5


@pytest.mark.parametrize("opening", ["- &a{} [{}]", "- &a{} {{{}}}", "- &a{} {{<<: [{}]}}"])
def test_an_alias_bomb_is_refused_fast(opening: str) -> None:
    lines = ["- &a0 {x: y}"]
    for level in range(1, 60):
        aliases = [
            f"k{n}: *a{level - 1}" if ": " in opening or "{{{}}}" in opening else f"*a{level - 1}" for n in range(9)
        ]
        if "<<" in opening:
            aliases = [f"*a{level - 1}"] * 9
        lines.append(opening.format(level, ", ".join(aliases)))
    begin = time.monotonic()
    assert codes(_report("\n".join(lines))) == ["bad-alias"]
    assert time.monotonic() - begin < 5


def test_many_aliases_of_one_large_value_are_no_bomb() -> None:
    shared = ", ".join(f"k{n}: {n}" for n in range(50))
    text = f"base: &b {{{shared}}}\nusers:\n" + "".join(f"  - {{name: u{n}, <<: *b}}\n" for n in range(1000))
    found = plain(text)
    assert isinstance(found, dict) and isinstance(found["users"], list) and len(found["users"]) == 1000


@pytest.mark.parametrize("text", ["&a [*a]", "&a {x: *a}", "&a {<<: *a}", "x: &a [1, {y: [*a]}]", "&a {*a : 1}"])
def test_an_alias_that_contains_itself_is_refused(text: str) -> None:
    assert codes(_report(text)) == ["bad-alias"]


@pytest.mark.parametrize(
    "text",
    [
        "a: [yes, 012, 0o17, 1e3, '1', ~]\nb: {c: |\n    x\n\n    y\n  }\n".replace("{c: |\n    x\n\n    y\n  }", "c"),
        "a: >\n  folded\n  text\n\n  more\nb: |+\n  kept\n\nc: |-\n  x\n",
        "? a\n: b\n'q': \"\\u00e9\\n\\x41\"\n",
        "x: &a {k: v}\ny: *a\nz:\n- - 1\n  - 2\n-\n",
    ],
)
def test_values_are_what_an_independent_yaml_1_2_reader_gives(text: str) -> None:
    reader = YAML(typ="safe", pure=True)
    expected = reader.load(text)
    found = plain(text)
    if isinstance(expected, dict) and "a" in expected and isinstance(expected["a"], list):
        expected["a"][1] = "012"  # a number with leading zeros stays a string here, also where 1.2 has it an int
    assert found == expected

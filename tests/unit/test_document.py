"""Plain values to YAML that readers of YAML 1.1 and 1.2 give back unchanged."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from reading import plain
from ruamel.yaml import YAML

from vmp.document import to_json, to_yaml
from vmp.shapes import Number

TRICKY = [
    *". .. ? : , [ ] { } & * ! | > ' \" % @ `".split(),
    *"yes no on off y n Y N Yes NO true TRUE false null NULL ~ - -- --- ... = << ? ?x : :x x: -x".split(),
    *"0 00 012 0012 08 1 -1 +1 1_000 1.5 1. .5 1e3 1E3 1e+3 .1e1 0x1f 0o17 017 0b11 1:20 1:20:30 190:20:30.15".split(),
    *"52:54:00:12:34:56 52:54:00:AB:CD:EF 00:00:00:00:00:00 fe80::1 ::1 .inf -.Inf .NaN inf nan infinity".split(),
    *"2024-01-31 2024-1-1 2001-12-14T21:59:43.10-05:00 12345 1.10 1.2.3 0x 1e 10_0 +.inf 1__0 0.0 -0".split(),
    "685_230.15",
    "2001-12-14 21:59:43.10 -5",
    "",
    " ",
    "  x",
    "x  ",
    "\t",
    "\tx",
    "x\t",
    "a: b",
    "a:b",
    "a #b",
    "a# b",
    "#a",
    "a, b",
    "- a",
    "? a",
    "!tag",
    "!!str x",
    "&a",
    "*a",
    "%TAG",
    "@a",
    "`a",
    "[a]",
    "{a}",
    "a]",
    "|",
    ">-",
    "'",
    "''",
    "it's",
    '"',
    'a"b',
    "\\",
    "a\\nb",
    "\\x41",
    "line\nline",
    "line\n",
    "line\n\n",
    "\nline",
    "\n",
    "\n\n",
    " line\nline",
    "line\n line",
    "line\n\n  line\n",
    "line \nline",
    "line\n \nline",
    "line\n\t\nline",
    "line\r\nline",
    "line\rline",
    "a\tb\nc\td\n",
    "\tline\nline",
    "line\n---\nline",
    "line\n...\n",
    "--- a",
    "# a\nb",
    "a\x85b",
    "a\u2028b",
    "a\u2029b\n",
    "a\nb\x85c",
    "a\ufeffb",
    "\ufeff",
    "\ufeffa\nb",
    "a\x00b",
    "a\x07b",
    "\x1b[31m",
    "\x7f",
    "\x80",
    "\xa0",
    "\xad",
    "\u200b",
    "\ufffe",
    "\U000e0001",
    "é ü 虚拟机 😀",
    "é\n虚\n",
    "x" * 5000,
    ("word " * 300).strip(),
    "<<: *a",
    '#!/bin/sh\nset -eu\nif [ "$1" = \'x\' ]; then\n\techo "{a}"\nfi\n',
]

_CHARACTERS = st.characters(exclude_categories=["Cs"])
_STRINGS = st.text(_CHARACTERS, max_size=20) | st.text("\n\t #:-'\"\\ax", max_size=12) | st.sampled_from(TRICKY)
_FLOATS = st.floats(allow_nan=False)
_SCALARS = st.none() | st.booleans() | st.integers() | _FLOATS | _STRINGS
_KEYS = _STRINGS | st.integers(2, 1000)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=12
)


def _read_1_1(text: str) -> Any:
    return yaml.safe_load(text)


def _read_1_2(text: str) -> Any:
    reader = YAML(typ="safe", pure=True)
    reader.version = (1, 2)
    return reader.load(io.StringIO(text))


def _exact(value: Any) -> Any:
    """Tell values apart that Python takes for equal: 1 and true, 1 and 1.0."""
    if isinstance(value, dict):
        return [(_exact(key), _exact(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [_exact(item) for item in value]
    return (type(value).__name__, value)


@pytest.mark.parametrize("text", TRICKY, ids=[str(number) for number, _ in enumerate(TRICKY)])
def test_tricky_strings_stay_strings_as_value_key_and_element(text: str) -> None:
    value = {"value": text, text: "key", "list": [text, [text], {"nested": text}]}
    document = to_yaml(value)
    assert _exact(_read_1_1(document)) == _exact(value)
    assert _exact(_read_1_2(document)) == _exact(value)


@given(_VALUES)
def test_any_plain_value_is_read_back_unchanged(value: Any) -> None:
    document = to_yaml(value)
    assert _exact(_read_1_1(document)) == _exact(value)
    assert _exact(_read_1_2(document)) == _exact(value)


@given(_VALUES)
def test_vmp_reads_back_what_it_writes(value: Any) -> None:
    if value is not None and "\\0" not in to_yaml(value):
        assert _exact(plain(to_yaml(value))) == _exact(value)


@given(_VALUES)
def test_a_document_is_lines_that_end_and_have_no_control_characters(value: Any) -> None:
    document = to_yaml(value)
    assert document.endswith("\n")
    assert all(line.replace("\t", "").isprintable() for line in document.split("\n"))


@pytest.mark.parametrize("number", [math.inf, -math.inf, 1e22, 1e-7, 1.0, -0.0, 1e300, 2**70, 0.1])
def test_numbers_stay_numbers_of_their_kind(number: float) -> None:
    document = to_yaml([number])
    assert _exact(_read_1_1(document)) == _exact([number]) == _exact(_read_1_2(document))


def test_not_a_number_stays_one() -> None:
    for read in (_read_1_1, _read_1_2):
        (found,) = read(to_yaml([math.nan]))
        assert isinstance(found, float) and math.isnan(found)


@pytest.mark.parametrize(
    ("spelled", "expected"), [("2048", 2048), ("1.10", 1.1), ("0x10", 16), ("0o17", 15), ("1e3", 1000.0), ("+5", 5)]
)
def test_a_number_as_spelled_is_read_as_that_number(spelled: str, expected: float) -> None:
    assert _exact(_read_1_1(to_yaml([Number(spelled)]))) == _exact([expected])
    assert _exact(_read_1_2(to_yaml([Number(spelled)]))) == _exact([expected])
    assert json.loads(to_json([Number(spelled)])) == [expected]


def test_a_decimal_number_keeps_its_spelling() -> None:
    assert to_yaml({"a": Number("1.10")}) == "a: 1.10\n"


def test_several_lines_are_a_block_that_people_can_read() -> None:
    assert to_yaml({"run": "#!/bin/sh\necho 'a: b'\n"}) == "run: |\n  #!/bin/sh\n  echo 'a: b'\n"


def test_order_of_keys_is_kept() -> None:
    assert to_yaml({"b": 1, "a": {"z": 1, "y": []}}) == 'b: 1\na:\n  z: 1\n  "y": []\n'


@given(_VALUES)
def test_json_is_what_yaml_says(value: Any) -> None:
    found = json.loads(to_json({"value": value}))
    assert set(found) == {"value"}
    if isinstance(value, str):
        assert found["value"] == value

"""Variables, rule by rule."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import codes, mapping, node

from vmp.diagnostics import Report, Span
from vmp.expand import MAX_LENGTH, Scope, check_braces, expand
from vmp.nodes import Plain, Scalar, plain_value

_SPAN = Span("test.yaml", 1, 1, 1, 1)


def _scope(variables: str, report: Report) -> Scope:
    entries = mapping(variables).entries
    return Scope({name: entry.value for name, entry in entries.items() if isinstance(entry.value, Scalar)}, report)


def _expanded(text: str, variables: str = "{A: a, B: b}") -> Plain:
    report = Report()
    found = plain_value(expand(node(text), _scope(variables, report)))
    assert not report, report.diagnostics
    return found


def _mistakes(text: str, variables: str = "{A: a, B: b}") -> Report:
    report = Report()
    expand(node(text, report), _scope(variables, report))
    return report


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'{A}'", "a"),
        ("'{A}{B}-{A}'", "ab-a"),
        ("'{{'", "{"),
        ("'}}'", "}"),
        ("'{{A}}'", "{A}"),
        ("'{{{A}}}'", "{a}"),
        ("'{{{{}}}}'", "{{}}"),
        ("'${A}'", "$a"),
        ("[['{A}'], {k: '{B}'}]", [["a"], {"k": "b"}]),
        ("{'{A}': 1, '{': 2, '}}': '{A}'}", {"{A}": 1, "{": 2, "}}": "a"}),
        ("!raw '{A} {{ {'", "{A} {{ {"),
        ("[1, 1.5, true, null]", [1, 1.5, True, None]),
    ],
)
def test_variables_are_replaced_in_string_values_only(text: str, expected: Plain) -> None:
    assert _expanded(text) == expected


def test_an_expanded_value_stays_a_string() -> None:
    assert _expanded("['{A}', '{B}']", "{A: 12, B: true}") == ["12", "true"]


def test_numbers_and_booleans_are_inserted_as_spelled() -> None:
    assert _expanded("'{A} {B}'", "{A: 1.10, B: True}") == "1.10 True"


def test_the_value_of_a_variable_is_not_expanded_again() -> None:
    assert _expanded("'{A}'", "{A: '{{B}}', B: b}") == "{B}"
    assert _expanded("'{A}'", "{A: !raw '{B}', B: b}") == "{B}"


def test_variables_may_use_variables_to_any_depth() -> None:
    count = 5000
    variables = "V0: end\n" + "".join(f'V{n}: "{{V{n - 1}}}"\n' for n in range(1, count))
    assert _expanded(f"'{{V{count - 1}}}'", variables) == "end"


def test_a_text_without_variables_is_returned_as_it_is() -> None:
    shared = node("{a: [x, {b: 1}]}")
    assert expand(shared, _scope("{}", Report())) is shared


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("'x {'", (1, 4), "a lone '{'"),
        ("'x }'", (1, 4), "a lone '}'"),
        ("'{}'", (1, 2), "'{}' is not a variable"),
        ("'{A.b}'", (1, 2), "'{A.b}' is not a variable"),
        ("'{A[0]}'", (1, 2), "'{A[0]}' is not a variable"),
        ("'{A!r}'", (1, 2), "'{A!r}' is not a variable"),
        ("'{A:>9}'", (1, 2), "'{A:>9}' is not a variable"),
        ("'{0}'", (1, 2), "'{0}' is not a variable"),
        ("'{é}'", (1, 2), "'{é}' is not a variable"),
        ("'{{A}'", (1, 5), "a lone '}'"),
        ("'{A}}'", (1, 5), "a lone '}'"),
        ("|\n  line\n  {x\n", (3, 3), "a lone '{'"),
    ],
)
def test_a_brace_without_a_variable_is_an_error_at_its_place(text: str, place: tuple[int, int], message: str) -> None:
    report = _mistakes(text)
    (found,) = report.diagnostics
    assert (found.code, found.message) == ("variable-syntax", message)
    assert found.span is not None and found.span[1:3] == place
    assert found.help is not None and "{{" in found.help and "!raw" in found.help


def test_an_unknown_variable_names_the_nearest() -> None:
    (found,) = _mistakes("'{VM_NMAE}'", "{VM_NAME: x}").diagnostics
    assert (found.code, found.help) == ("unknown-variable", "did you mean 'VM_NAME'?")


@pytest.mark.parametrize(
    ("variables", "chain"),
    [
        ("{A: '{A}'}", "A → A"),
        ("{A: '{B}', B: '{C}', C: '{A}'}", "A → B → C → A"),
        ("{A: '{B}', B: 'x{C}y', C: '{B}'}", "B → C → B"),
    ],
)
def test_a_cycle_is_printed_as_the_chain(variables: str, chain: str) -> None:
    (found,) = _mistakes("'{A}'", variables).diagnostics
    assert (found.code, found.message) == ("variable-cycle", f"variables refer to each other in a circle: {chain}")


def test_a_cycle_of_any_length_is_found() -> None:
    count = 3000
    variables = "".join(f'V{n}: "{{V{(n + 1) % count}}}"\n' for n in range(count))
    assert codes(_mistakes("'{V0}'", variables)) == ["variable-cycle"]


def test_a_group_that_took_no_part_is_an_error_where_it_is_used() -> None:
    report = Report()
    scope = Scope({"a": "x", "b": None}, report)
    expand(node("'{a}'"), scope)
    assert not report
    expand(node("'{b}'"), scope)
    assert codes(report) == ["unset-group"]


def test_variables_that_multiply_are_refused_in_bounded_memory() -> None:
    lines = [f'V{n}: "{("{V" + str(n - 1) + "}") * 10}"' for n in range(1, 40)]
    variables = "\n".join(["V0: xxxxxxxxxx", *lines])
    begin = time.monotonic()
    assert codes(_mistakes("'{V39}'", variables)) == ["bad-value"]
    assert codes(_mistakes(f"'{'{A}' * 5000}'", f"A: {'x' * (MAX_LENGTH // 2)}")) == ["bad-value"]
    assert time.monotonic() - begin < 5


def test_each_mistake_of_a_text_is_reported() -> None:
    assert codes(_mistakes("'{X} {Y} { {}'")) == ["unknown-variable", "unknown-variable", "variable-syntax"] * 1 + [
        "variable-syntax"
    ]


def test_braces_are_judged_without_variables_too() -> None:
    report = Report()
    check_braces(node("{a: ['{X}', '{'], pattern: 'x{2}', b: '{2}'}", report), report, verbatim="pattern")
    assert codes(report) == ["variable-syntax", "variable-syntax"]


@given(st.text())
def test_any_text_survives_with_its_braces_doubled(text: str) -> None:
    report = Report()
    scalar = Scalar(text.replace("{", "{{").replace("}", "}}"), "str", _SPAN)
    assert Scope({}, report).expand_text(scalar) == text
    assert not report


@given(st.text(), st.text("{}Aa .!:[]"))
def test_any_value_is_inserted_as_it_is(value: str, text: str) -> None:
    report = Report()
    found = Scope({"A": value}, report).expand_text(Scalar(text, "str", _SPAN))
    assert (found is None) == bool(report)
    assert Scope({"A": value}, Report()).expand_text(Scalar("<{A}>", "str", _SPAN)) == f"<{value}>"

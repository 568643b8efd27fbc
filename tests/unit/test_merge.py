"""Strategic merge and templates, rule by rule, and associativity as a property."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import codes, mapping, node

from vmp.diagnostics import Report, Span
from vmp.merge import MAX_INHERITANCE, Templates, merge, settle
from vmp.nodes import Entry, Mapping, Node, Plain, Scalar, Sequence, plain_value


def _merged(*texts: str) -> Plain:
    result = node(texts[0])
    for text in texts[1:]:
        result = merge(result, node(text))
    return plain_value(settle(result))


@pytest.mark.parametrize(
    ("rule", "base", "over", "expected"),
    [
        ("mappings merge deeply", "{a: {b: 1, c: 2}}", "{a: {c: 3, d: 4}}", {"a": {"b": 1, "c": 3, "d": 4}}),
        ("order is kept, new keys come last", "{z: 1, a: 2}", "{b: 3, z: 4}", {"z": 4, "a": 2, "b": 3}),
        ("scalars are replaced", "{a: 1}", "{a: two}", {"a": "two"}),
        ("named lists merge by name", "[{name: a, x: 1}]", "[{name: a, y: 2}]", [{"name": "a", "x": 1, "y": 2}]),
        ("names are compared as text", "[{name: 1, x: 1}]", "[{name: '1', x: 2}]", [{"name": "1", "x": 2}]),
        ("new names are appended", "[{name: b}]", "[{name: a}, {name: b}]", [{"name": "b"}, {"name": "a"}]),
        ("other lists are replaced", "[1, 2]", "[3]", [3]),
        (
            "one element without name and it is replaced",
            "[{name: a}]",
            "[{name: b}, {x: 1}]",
            [{"name": "b"}, {"x": 1}],
        ),
        ("a name that is null is none", "[{name: a}]", "[{name: null}]", [{"name": None}]),
        ("a name that is no scalar is none", "[{name: a}]", "[{name: [b]}]", [{"name": ["b"]}]),
        ("a mapping replaces a list", "{a: [1]}", "{a: {b: 1}}", {"a": {"b": 1}}),
        ("a list replaces a mapping", "{a: {b: 1}}", "{a: [1]}", {"a": [1]}),
        ("a scalar replaces a mapping", "{a: {b: 1}}", "{a: 1}", {"a": 1}),
        ("null removes", "{a: {b: 1, c: 2}, d: [1]}", "{a: {b: null}, d: ~}", {"a": {"c": 2}}),
        ("null that removes nothing is a value", "{}", "{a: null}", {"a": None}),
        ("patch delete removes a mapping", "{a: {b: 1}}", "{a: {$patch: delete}}", {}),
        ("patch delete removes an element", "[{name: a}, {name: b}]", "[{name: a, $patch: delete}]", [{"name": "b"}]),
        ("patch delete of nothing leaves no trace", "{}", "{a: {$patch: delete}}", {}),
        ("patch replace takes a mapping whole", "{a: {b: 1}}", "{a: {$patch: replace, c: 2}}", {"a": {"c": 2}}),
        (
            "patch replace takes an element whole, in its place",
            "[{name: a, x: 1}, {name: b}]",
            "[{name: a, $patch: replace, y: 2}]",
            [{"name": "a", "y": 2}, {"name": "b"}],
        ),
        (
            "names with variables are compared as written",
            "[{name: '{A}'}]",
            "[{name: x}]",
            [{"name": "{A}"}, {"name": "x"}],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value and value[0] not in "[{" else "",
)
def test_merge(rule: str, base: str, over: str, expected: Plain) -> None:
    found = _merged(base, over)
    assert found == expected, rule
    if isinstance(expected, dict) and isinstance(found, dict):
        assert list(found) == list(expected), rule


def test_what_was_removed_can_come_back_whole() -> None:
    assert _merged("{a: {x: 1}}", "{a: null}", "{a: {y: 2}}") == {"a": {"y": 2}}
    assert _merged("{a: {x: 1}}", "{a: {$patch: delete}}", "{a: {y: 2}}") == {"a": {"y": 2}}
    assert _merged("[{name: a, x: 1}]", "[{name: a, $patch: delete}]", "[{name: a, y: 2}]") == [{"name": "a", "y": 2}]


def test_merging_changes_neither_side() -> None:
    base, over = node("{a: {x: 1}, l: [{name: a}]}"), node("{a: {y: 1}, l: [{name: a, z: 1}]}")
    before = plain_value(base), plain_value(over)
    merge(base, over)
    assert (plain_value(base), plain_value(over)) == before


def test_a_value_keeps_its_place_through_merging() -> None:
    found = merge(mapping("{a: {x: 1}}"), mapping("\n\n{a: {y: 2}}"))
    assert isinstance(found, Mapping)
    inner = found.entries["a"].value
    assert isinstance(inner, Mapping)
    assert [inner.entries[key].value.span.line for key in "xy"] == [1, 3]


_SPAN = Span("test.yaml", 1, 1, 1, 1)


def _build(value: Any) -> Node:
    if isinstance(value, dict):
        patch = value.get("$patch")
        entries = {
            key: Entry(Scalar(key, "str", _SPAN), _build(item)) for key, item in value.items() if key != "$patch"
        }
        return Mapping(entries, _SPAN, patch)
    if isinstance(value, list):
        return Sequence(tuple(map(_build, value)), _SPAN)
    return Scalar("", "null", _SPAN) if value is None else Scalar(str(value), "str", _SPAN)


def _collections(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from("ab")
    patches = st.sampled_from([{}, {}, {}, {"$patch": "delete"}, {"$patch": "replace"}])
    mappings = st.builds(lambda body, patch: {**body, **patch}, st.dictionaries(keys, values, max_size=2), patches)
    elements = st.builds(lambda name, body: {**body, "name": name}, keys, mappings)
    named = st.lists(elements, max_size=2, unique_by=lambda element: element["name"])
    return mappings | named | st.lists(values, max_size=2)


_VALUES = st.recursive(st.none() | st.integers(0, 3), _collections, max_leaves=6)
_DOCUMENTS = st.dictionaries(st.sampled_from("xyz"), _VALUES, max_size=3)


@given(_DOCUMENTS, _DOCUMENTS, _DOCUMENTS)
def test_merging_is_associative(a: Any, b: Any, c: Any) -> None:
    one, two, three = _build(a), _build(b), _build(c)
    left = plain_value(settle(merge(merge(one, two), three)))
    right = plain_value(settle(merge(one, merge(two, three))))
    assert left == right


@given(_DOCUMENTS)
def test_merging_onto_nothing_changes_nothing(document: Any) -> None:
    assert plain_value(settle(merge(_build({}), _build(document)))) == plain_value(settle(_build(document)))


def _templates(text: str, report: Report) -> Templates:
    return Templates({name: _as_mapping(entry.value) for name, entry in mapping(text).entries.items()}, report)


def _as_mapping(value: Node) -> Mapping:
    assert isinstance(value, Mapping)
    return value


def _inherit(templates: str, vm: str) -> Plain:
    report = Report()
    found = plain_value(settle(_templates(templates, report).inherit(mapping(vm))))
    assert not report
    return found


def test_a_later_template_wins_and_own_keys_win_over_all() -> None:
    templates = "{a: {x: a, y: a, z: a}, b: {x: b, y: b}}"
    assert _inherit(templates, "{name: vm, templates: [a, b], x: vm}") == {"x": "vm", "y": "b", "z": "a"}
    assert _inherit(templates, "{name: vm, templates: [b, a]}") == {"x": "a", "y": "a", "z": "a"}


def test_a_template_brings_all_that_it_inherits() -> None:
    templates = "{a: {x: a, y: a}, b: {x: b}, c: {template: a, y: c}}"
    assert _inherit(templates, "{templates: [b, c]}") == {"x": "a", "y": "c"}


def test_diamonds_are_fine() -> None:
    templates = "{top: {x: top, y: top}, l: {template: top, x: l}, r: {template: top, z: r}}"
    assert _inherit(templates, "{templates: [l, r]}") == {"x": "top", "y": "top", "z": "r"}


def test_the_same_template_twice_is_fine() -> None:
    assert _inherit("{a: {x: 1}}", "{templates: [a, a]}") == {"x": 1}


def test_the_name_of_a_template_is_not_inherited() -> None:
    assert _inherit("{a: {name: a, template: b}, b: {name: b, x: 1}}", "{template: a}") == {"x": 1}


def test_an_unknown_template_names_the_nearest() -> None:
    report = Report()
    templates = _templates("{common: {}}", report)
    vm = mapping("{template: comon}")
    templates.inherit(vm)
    assert [(item.code, item.help) for item in report.diagnostics] == [("unknown-template", "did you mean 'common'?")]
    assert not templates.is_complete(vm)


@pytest.mark.parametrize(
    ("templates", "chain"),
    [
        ("{a: {template: a}}", "a → a"),
        ("{a: {template: b}, b: {template: a}}", "a → b → a"),
        ("{x: {}, a: {templates: [x, b]}, b: {templates: [c, x]}, c: {template: a}}", "a → b → c → a"),
    ],
)
def test_a_cycle_is_printed_as_the_chain(templates: str, chain: str) -> None:
    report = Report()
    _templates(templates, report).inherit(mapping("{template: a}"))
    assert [item.message for item in report.diagnostics] == [f"templates inherit in a circle: {chain}"]


def test_a_very_long_chain_of_templates_is_an_error_and_no_crash() -> None:
    report = Report()
    count = 10 * MAX_INHERITANCE
    text = "t0: {}\n" + "".join(f"t{n}: {{template: t{n - 1}}}\n" for n in range(1, count))
    _templates(text, report).inherit(mapping(f"{{template: t{count - 1}}}"))
    assert codes(report) == ["too-deep"]

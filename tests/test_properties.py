"""Whatever a registry holds: diagnostics or output, never a traceback, never a hang, always the same.

Registries are made by mutating the examples and the case registries, and from nothing.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from command_line import Outcome, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parent.parent
SECONDS = 10
"""Far more than any small registry takes on a busy machine, and far less than a hang."""


def _registries() -> Iterator[bytes]:
    for path in sorted((ROOT / "examples").glob("**/*.yaml")):
        if "/out/" not in str(path):
            yield path.read_bytes()
    for case in sorted((ROOT / "tests/cases").iterdir()):
        files = sorted(path for path in case.rglob("*.y*ml") if path.name != "config.yaml")
        yield b"\n".join(path.read_bytes() for path in files)


SEEDS = [text for text in _registries() if len(text) < 20_000]
TOKENS = sorted({token for text in SEEDS for token in re.findall(rb"[\w$-]+|[^\w\s]", text)})
WORDS = [
    *(b"{ } [ ] : - , & * ! | > ' \" % @ ` # ? << ~ {{ }} {} {A} {VM_NAME} {A.b} &a *a !raw !!int !!float !!x".split()),
    *(b"null true 1 -1 0x1F 1e999 .nan yes 012 1.10 $patch: delete replace name: template: templates: vars:".split()),
    *(
        b"\t \r \0 \xff \xc3 \xe2\x80\xa8 \xc2\x85 \xef\xbb\xbf \xf0\x9f\x98\x80 --- ... %YAML (?P<a>x) ( ../x /".split(
            b" "
        )
    ),
    b"\n",
    b"  ",
    b"",
]

_positions = st.floats(0, 1, exclude_max=True)
_mutations = st.tuples(
    st.sampled_from(["token", "token", "token", "delete", "duplicate", "move", "indent", "bytes", "cut", "graft"]),
    _positions,
    _positions,
    st.sampled_from(WORDS) | st.sampled_from(TOKENS) | st.binary(max_size=4),
    st.sampled_from(SEEDS),
)


def _mutated(text: bytes, mutation: tuple[str, float, float, bytes, bytes]) -> bytes:
    kind, where, there, word, other = mutation
    lines = text.split(b"\n")
    line, target = int(where * len(lines)), int(there * len(lines))
    if kind == "token":
        tokens = list(re.finditer(rb"[\w$-]+|[^\w\s]", text))
        if tokens:
            token = tokens[int(where * len(tokens))]
            return text[: token.start()] + word + text[token.end() :]
    elif kind == "delete":
        del lines[line]
    elif kind == "duplicate":
        lines.insert(target, lines[line])
    elif kind == "move":
        lines.insert(target, lines.pop(line))
    elif kind == "indent":
        lines[line] = b" " * int(there * 8) + lines[line].lstrip()
    elif kind == "cut":
        return text[: int(where * len(text))]
    elif kind == "graft":
        lines[line:line] = other.split(b"\n")[int(there * 20) :][:12]
    else:
        place = int(where * len(text))
        return text[:place] + word + text[place + len(word) :]
    return b"\n".join(lines)


@st.composite
def _mutants(draw: st.DrawFn) -> bytes:
    text = draw(st.sampled_from(SEEDS))
    for mutation in draw(st.lists(_mutations, min_size=1, max_size=6)):
        text = _mutated(text, mutation)
    return text


def _check(text: bytes, *arguments: str) -> Outcome:
    begin = time.monotonic()
    outcome = run("--registry", "-", *(arguments or ("check",)), stdin=text)
    assert time.monotonic() - begin < SECONDS
    assert outcome.code in (0, 1), outcome.errors
    assert "Traceback" not in outcome.errors
    if outcome.code == 1:
        assert outcome.output == "" and "error[" in outcome.errors
    elif arguments[:1] != ("gen",):
        assert outcome.errors == ""
    return outcome


_many = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
_few = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@_many
@given(_mutants())
def test_a_mutated_registry_is_fine_or_has_diagnostics(text: bytes) -> None:
    _check(text)


@_few
@given(st.binary(max_size=300) | st.lists(st.sampled_from(WORDS), max_size=60).map(b" ".join))
def test_rubbish_is_fine_or_has_diagnostics(text: bytes) -> None:
    _check(text)


_keys = st.sampled_from(
    "name vars template templates nodeName image libvirt domain virtInstall disk tags url $patch A".split()
)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text("ab{}:/", max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=20,
)


def _flow(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}": {_flow(item)}' for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):
        return f'"{value}"'
    return {"True": "true", "False": "false", "None": "null", "nan": ".nan", "inf": ".inf", "-inf": "-.inf"}.get(
        str(value), str(value)
    )


@_few
@given(
    st.dictionaries(st.sampled_from(["nodes", "images", "templates", "vms"]), st.lists(_values, max_size=3) | _values)
)
def test_any_kinds_anywhere_are_fine_or_have_diagnostics(registry: dict[str, object]) -> None:
    _check(_flow(registry).encode())


@_few
@given(_mutants())
def test_what_check_accepts_compiles_and_what_it_refuses_writes_nothing(text: bytes) -> None:
    outcome = _check(text)
    with TemporaryDirectory() as directory:
        base = Path(directory) / "out"
        assert _check(text, "gen", "--base-dir", str(base)).code == outcome.code
        if outcome.code == 1:
            assert not base.exists()
            return
        names = _check(text, "list").output.splitlines()
        assert sorted(names) == sorted(os.listdir(base))
        for name in names:
            assert _check(text, "config", "--", name).code == 0


@_few
@given(st.lists(_mutants(), min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_arguments_changes_nothing(texts: list[bytes], random: object) -> None:
    names = [f"{number}.yaml" for number, _ in enumerate(texts)]
    for name, text in zip(names, texts, strict=True):
        Path(name).write_bytes(text)
    forth = [word for name in names for word in ("--registry", name)]
    back = [word for name in reversed(names) for word in ("--registry", name)]
    assert run("check", *forth) == run("check", *back)
    assert run("list", *forth) == run("list", *back)


@pytest.fixture(autouse=True, scope="module")
def in_a_directory_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("properties"))
    yield
    os.chdir(before)


@pytest.mark.parametrize(
    "text",
    [
        b"vms: " + b"[" * 1_000_000,
        b"- " * 1_000_000,
        b"? " * 500_000,
        b"a: " * 100_000,
        b"{" * 100_000,
        b"&a " * 100_000,
        b"!" * 1_000_000,
        b"'" * 1_000_001,
        b"#" * 10_000_000,
        b"\n" * 1_000_000,
        b"x" * 10_000_000,
        b"vms: [" + b"x," * 10_000 + b"]",
        b"vms: [{name: a, vars: {A: '" + b" ".join(b"{X%d}" % number for number in range(2000)) + b"'}}]",
        b"vms:\n" + b"".join(b"  - {name: a%d, template: t}\n" % number for number in range(3000)),
        b"vms: [{name: a, vars: {A: '" + b"{A}" * 100_000 + b"'}}]",
        b"vms: [{name: a, vars: {A: '" + b"{" * 20_000 + b"'}}]",
        b"images: [{name: a, tags: [{pattern: '" + b"(" * 10_000 + b"', url: x, volumeName: x}]}]",
        b"images: [{name: a, tags: [{pattern: 'x{99999999999999999999}', url: x, volumeName: x}]}]",
        b"vms: [{name: 1" + b"0" * 100_000 + b"}]",
        b"x: 0x" + b"f" * 100_000,
        b"<<: {<<: {<<: [{}, {}]}}",
        b"nodes: &a [{name: x, vars: &b {A: &c B}}]\nimages: *a\ntemplates: *a\nvms: *a\n",
    ],
    ids=lambda text: text[:24].decode(errors="replace").replace("\n", " "),
)
def test_a_hostile_registry_is_refused_or_read_in_bounded_time(text: bytes) -> None:
    _check(text)

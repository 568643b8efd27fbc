"""Values are data: any text in any field arrives byte for byte in the generated directory, or is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from command_line import run
from fields import FIELDS, Facts, Field, astray, base, fields_of_schema, layers, put, refused, write
from hypothesis import example, given, settings
from hypothesis import strategies as st
from injections import CANARY, INJECTIONS


def test_the_table_has_every_field_of_text_that_the_schema_has() -> None:
    known = {field.path for field in FIELDS if ".vars.V1ALPHA1" not in field.path}
    assert known == set(fields_of_schema())


def accepted(field: Field, text: str) -> bool:
    """Put a text into a field: it must be in the directory as it is, or be refused with nothing written."""
    registry = base()
    put(registry, field, text)
    with TemporaryDirectory() as directory:
        before = sorted(Path.cwd().iterdir())
        out = Path(directory) / "out"
        outcome = run("gen", "--registry", "-", "--base-dir", str(out), stdin=write(registry)[0].encode())
        assert sorted(Path.cwd().iterdir()) == before
        if outcome.code:
            assert outcome.code == 1 and "error[" in outcome.errors and not out.exists(), (field.path, outcome.errors)
            return False
        (made,) = out.iterdir()
        found = field.read(Facts(made))
        assert found is None or text == found or text in list(found), (field.path, text, found)  # type: ignore[call-overload]
        assert not list(Path(directory).rglob(CANARY))
        return True


_ALPHABET = " '\"$`#%;&*\\\n\t\r-@{}()[]<>|~!?=,.:/+x\x01\x1b\x7f\x85\u2028\ufffe\U0001f427é"
_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)


@pytest.mark.parametrize("field", FIELDS, ids=[f"{number}-{field.path}" for number, field in enumerate(FIELDS)])
@settings(max_examples=8, deadline=None)
@given(_TEXTS | st.text(_ALPHABET, min_size=1, max_size=20) | st.sampled_from(INJECTIONS))
@example(" a b ")
@example("'$(touch vmp-canary)`touch vmp-canary`\"\\")
@example("-x\n--y\n")
@example("🐧" * 1024)
def test_any_text_in_any_field_arrives_or_is_refused(field: Field, text: str) -> None:
    accepted(field, text)


def test_every_injection_in_every_field_is_text_or_refused_and_none_is_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home := tmp_path / "home").mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TMPDIR", str(home))
    carried = 0
    for count, layer in enumerate(layers()):
        fitting = {(field, number) for field in layer for number, _ in enumerate(INJECTIONS)}
        out = tmp_path / f"out {count}"
        while True:  # one refusal may hide another
            registries = [base(number) for number, _ in enumerate(INJECTIONS)]
            for field, number in sorted(fitting, key=lambda pair: FIELDS.index(pair[0])):
                put(registries[number], field, INJECTIONS[number], (field, number))
            text, owners = write(*registries)
            outcome = run("gen", "--registry", "-", "--base-dir", str(out), stdin=text.encode())
            wrong = refused(owners, outcome.errors) if outcome.code else set()
            assert outcome.code == (1 if wrong else 0)
            assert None not in wrong, astray(owners, outcome.errors)
            if not wrong:
                break
            assert not out.exists()
            fitting -= wrong
        for number, injection in enumerate(INJECTIONS):
            directory = out / registries[number]["vms"][0]["name"]
            facts = Facts(directory)
            for field in layer:
                if (field, number) in fitting:
                    found = field.read(facts)
                    assert found is None or injection == found or injection in list(found), (field.path, found)  # type: ignore[call-overload]
            if count == 0:
                for target in ("--dry-run up", "help"):
                    subprocess.run(["make", "-C", directory, *target.split()], check=True, capture_output=True)
        carried += len(fitting)
    assert not list(tmp_path.rglob(CANARY)) and not Path("/", CANARY).exists()
    assert not list(home.iterdir())
    with capsys.disabled():
        print(
            f"\n{len(INJECTIONS)} injections in {len(FIELDS)} fields: {carried} carried as text, "
            f"{len(INJECTIONS) * len(FIELDS) - carried} refused, none evaluated"
        )

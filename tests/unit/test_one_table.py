"""What is written down twice is the same in both places: archive types, knobs, targets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from archives import ARCHIVES

from vmp import schema
from vmp.provisioners.v1alpha1.runtime.knobs import KNOBS, Knobs
from vmp.provisioners.v1alpha1.runtime.signature import VERIFIERS
from vmp.provisioners.v1alpha1.runtime.targets import HELP, TARGETS
from vmp.provisioners.v1alpha1.runtime.unpacking import UNPACKERS
from vmp.provisioners.v1alpha1.static import fleet_files, static_files
from vmp.shapes import Choice, Record

ROOT = Path(__file__).parent.parent.parent
REFERENCE = (ROOT / "docs/reference/v1alpha1.md").read_text()
PACKAGES = re.findall(r"^guest=\((.*?)^\)", (ROOT / "tests/lab/install").read_text(), re.M | re.S)[0].split()
"""What the tests with guests need."""


@pytest.mark.parametrize("place", ["schema", "tests/e2e/archives.py"])
def test_each_type_of_archive_that_can_be_unpacked_is_known_everywhere(place: str) -> None:
    shape = Record(schema.Archive).keys["type"].shape
    assert isinstance(shape, Choice)
    assert set({"schema": shape.words, "tests/e2e/archives.py": ARCHIVES}[place]) == set(UNPACKERS)


@pytest.mark.parametrize("kind", UNPACKERS)
def test_what_unpacks_a_type_of_archive_is_named_in_the_reference_and_installed_for_the_tests(kind: str) -> None:
    (needs,) = re.findall("^With an archive (.*?)\\. ", REFERENCE, re.M)
    assert {f"`{program}`" for program in UNPACKERS[kind]} <= set(re.findall("`[^`]+`", needs))
    assert ARCHIVES[kind].package in {*PACKAGES, "gzip"}, "gzip is part of every Debian"


def test_what_checks_signatures_is_named_in_the_reference_and_installed_for_the_tests() -> None:
    (needs,) = re.findall("With `checksum.signature` (.*?);", REFERENCE)
    assert re.findall("`([^`]+)`", needs) == list(VERIFIERS)
    assert set(VERIFIERS) <= set(PACKAGES)


def test_the_makefile_has_the_targets_of_the_program_and_the_help_names_them() -> None:
    makefile = static_files()["Makefile"].content.decode()
    targets = re.findall(r"targets := ((?:.*\\\n)*.*)", makefile)[0].replace("\\\n", " ").split()
    assert targets == list(TARGETS)
    assert all(re.search(rf"\b{re.escape(target)}\b", HELP) for target in TARGETS if target != "help")
    assert all(f"`{target}`" in REFERENCE for target in TARGETS if target != "help")


def test_each_knob_of_the_table_is_a_value_that_the_program_can_use() -> None:
    unset = vars(Knobs({}))
    for knob in KNOBS:
        values = vars(Knobs({knob.name: "4711"}))
        assert [name for name in values if name != "texts" and values[name] != unset[name]], knob.name


def test_makefiles_and_reference_have_the_table_of_knobs() -> None:
    for files in (static_files(), fleet_files()):
        makefile = files["Makefile"].content.decode()
        knobs = re.findall(r"knobs := ((?:.*\\\n)*.*)", makefile)[0].replace("\\\n", " ").split()
        assert knobs[-len(KNOBS) :] == [knob.name for knob in KNOBS]
    for knob in KNOBS:
        row = re.search(rf"^\| `{knob.name}` \| (.*?) \|", REFERENCE, re.M)
        assert row and (knob.seconds is None or row[1] == f"`{knob.seconds}`"), knob.name

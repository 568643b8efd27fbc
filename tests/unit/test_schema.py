"""The one declaration of the registry: documented, exported as JSON Schema, and what it refuses."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped, unused-ignore]
import pytest
from reading import codes, mapping
from ruamel.yaml import YAML

from vmp import schema
from vmp.diagnostics import Report
from vmp.schema import REGISTRY, json_schema
from vmp.shapes import Decoding, Record, camel_case
from vmp.texts import check_name

ROOT = Path(__file__).parent.parent.parent
SCHEMA = json_schema()
RECORDS = [item for item in vars(schema).values() if dataclasses.is_dataclass(item) and isinstance(item, type)]


def _errors(text: str) -> list[str]:
    """Return what the JSON Schema has against a registry, read as an editor would."""
    reader = YAML(typ="safe", pure=True)
    reader.allow_duplicate_keys = True
    for tag in ("!raw", "tag:yaml.org,2002:value"):  # the second is a plain '=', a relic of YAML 1.1
        reader.constructor.add_constructor(tag, lambda loader, node: loader.construct_scalar(node))
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(reader.load(text) or {})]


def _valid_registries() -> Iterator[Path]:
    for case in sorted((ROOT / "tests/cases").iterdir()):
        if not (case / "diagnostics.txt").exists():
            yield from sorted(path for path in case.rglob("registry*/**/*.y*ml"))
            yield from case.glob("registry.yaml")
    for example in sorted((ROOT / "examples").glob("**/*.yaml")):
        if "/out/" not in str(example):
            yield example


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_record_and_every_field_is_documented(record: type) -> None:
    assert record.__doc__ and record.__doc__.strip().endswith(".")
    for name, key in Record(record).keys.items():
        assert key.doc.strip().endswith("."), f"{record.__name__}.{name} has no sentence that describes it"


def test_the_json_schema_is_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_property_of_the_json_schema_is_described() -> None:
    for name, definition in SCHEMA["$defs"].items():
        assert definition["description"], name
        for key, value in definition["properties"].items():
            assert value["description"], f"{name}.{key}"


def test_every_record_is_in_the_json_schema_with_all_its_keys() -> None:
    for record in RECORDS:
        keys = {field.metadata["key"].name or camel_case(field.name) for field in dataclasses.fields(record)}
        assert keys <= set(SCHEMA["$defs"][record.__name__]["properties"])


@pytest.mark.parametrize("path", list(_valid_registries()), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_json_schema_accepts_every_valid_registry(path: Path) -> None:
    assert _errors(path.read_text(encoding="utf-8-sig")) == []


def test_the_json_schema_accepts_numbers_for_text_nulls_patches_and_variables() -> None:
    text = """
    nodes: [{name: 1, $patch: delete}]
    images: [{name: a, vars: null, tags: [{pattern: 12, url: x, volumeName: 1.5, format: "{F}"}]}]
    templates:
      - name: t
        libvirt:
          $patch: replace
          domain: {virtInstall: {$patch: replace, memory: 12, disk: [{name: a, $patch: delete}]}}
        ssh: {options: {A: [1, b], B: null, C: true}}
        cloudInit: null
    vms: null
    """
    assert _errors(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "unknown: 1",
        "nodes: [{name: a, unknown: 1}]",
        "images: [{name: a, tags: [{unknown: 1}]}]",
        "vms: [{name: a, libvirt: {unknown: 1}}]",
        "vms: [{name: a, libvirt: {domain: {virtInstall: {memroy: 1}}}}]",
        "vms: [{name: a, ssh: {unknown: 1}}]",
        "templates: [{template: x}]",
        "vms: {name: a}",
        "vms: [{name: a, $patch: remove}]",
        "templates: [{name: a, libvirt: {volumes: [{name: a, deletionPolicy: keep}]}}]",
    ],
)
def test_the_json_schema_refuses_what_vmp_refuses(text: str) -> None:
    assert _errors(text)


def _partial(text: str) -> list[str]:
    report = Report()
    root = mapping(text)
    REGISTRY.decode(root, (), Decoding(report, partial=True, unexpanded=True))
    return codes(report)


def _volume(text: str) -> list[str]:
    return _partial(f"templates: [{{name: t, libvirt: {{volumes: [{{name: v, {text}}}]}}}}]")


@pytest.mark.parametrize("capacity", "20G 20g 10GiB 10GB 512M 1T 5K 5KiB 1P 1E 100B 100bytes 1byte 1073741824".split())
def test_a_capacity_has_the_units_of_virsh(capacity: str) -> None:
    assert _volume(f"capacity: {capacity}") == []


@pytest.mark.parametrize(
    "capacity", ["12 giga", "1.5G", "-1", "0", "0G", "''", "G", "10Gi b", "10X", "١٢", "1e3", "' 1G'"]
)
def test_what_is_no_capacity_is_refused(capacity: str) -> None:
    assert _volume(f"capacity: {capacity}") == ["bad-value"]


@pytest.mark.parametrize("name", ["''", "a/b", ".", "..", '"a\\nb"', '"a\\tb"'])
def test_a_pool_or_volume_needs_a_name_that_can_be_a_file(name: str) -> None:
    assert _volume(f"poolName: {name}") == ["bad-value"]


@pytest.mark.parametrize("name", ["a b", "ü", "-a", ".a", "a:b", "'x'", "50%"])
def test_a_pool_or_volume_may_have_any_other_name(name: str) -> None:
    assert _volume(f"poolName: {name!r}" if "'" not in name else f'poolName: "{name}"') == []


@pytest.mark.parametrize(
    "uri",
    [
        "qemu:///system",
        "qemu:///session",
        "qemu+ssh://host/system",
        "qemu+ssh://me@host.example:2222/system?keyfile=/k&no_verify=1",
        "qemu+ssh://[fe80::1]:22/system",
        "qemu+tls://host/system",
        "qemu+unix:///system?socket=/run/libvirt/libvirt-sock",
        "xen:///system",
        "lxc:///",
        "test:///default",
    ],
)
def test_a_connection_is_any_uri_of_libvirt(uri: str) -> None:
    assert _partial(f"nodes: [{{name: n, libvirt: {{connection: {{uri: '{uri}'}}}}}}]") == []


@pytest.mark.parametrize(
    "uri", ["", "host", "qemu:/system", "qemu+ssh://-oX/system", "qemu+ssh://-o@h/system", "a b://x/"]
)
def test_what_is_no_uri_is_refused(uri: str) -> None:
    assert _partial(f"nodes: [{{name: n, libvirt: {{connection: {{uri: '{uri}'}}}}}}]") == ["bad-value"]


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        *[
            (name, True)
            for name in ("a", "vm-1", "a.b", "a b", "2", "ü", "虚拟机", "😀", "a:b", "{x}", "x'\"$`\\", "a" * 200)
        ],
        *[
            (name, False)
            for name in ("", "a/b", ".a", "-a", " a", "a ", "a\nb", "a\x1bb", "\x7f", "a" * 201, "ü" * 101)
        ],
        *[(name, False) for name in (".", "..", "\u200e", "\ud800")],
    ],
)
def test_names_of_vms_are_printable_and_fit_a_directory(name: str, allowed: bool) -> None:
    assert (check_name(name) is None) == allowed


def test_names_of_the_fields_are_as_the_registry_spells_them() -> None:
    assert camel_case("deletion_policy") == "deletionPolicy"
    keys: dict[str, Any] = SCHEMA["$defs"]
    assert set(keys["Volume"]["properties"]) == {
        *("name poolName format deletionPolicy capacity backingVolume uploadFile $patch".split()),
    }
    assert set(keys["SeedData"]["properties"]) == {"meta-data", "user-data", "vendor-data", "network-config", "$patch"}

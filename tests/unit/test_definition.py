"""The checksum of a definition: what it tells, to whom, and that of earlier versions."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from command_line import run

from vmp.provisioners.v1alpha1.runtime.definition import (
    cksum,
    definition_of,
    documents_sum,
    is_definition,
    password_sum,
    seed_sum,
    sums_of_drives,
)
from vmp.provisioners.v1alpha1.runtime.drive_changes import changed_documents, changed_drives, lines_of_seed
from vmp.provisioners.v1alpha1.runtime.facts import Vm, read_vm
from vmp.provisioners.v1alpha1.runtime.record import facts_to_record

REGISTRY = """
nodes: [{{name: here, libvirt: {{connection: {{uri: "qemu:///system"}}}}}}]
images: [{{name: i, tags: [{{pattern: latest, url: "file:///i", volumeName: i}}]}}]
vms:
  - name: {name}
    nodeName: here
    image: i
    provisioner: v1alpha1
    libvirt: {{domain: {{name: "{{VM_NAME}}", virtInstall: {{graphics: "vnc,passwd={password}"}}}}}}
"""


def vm_of(base: Path, password: str, name: str = "web") -> Vm:
    """Return a VM whose graphical console has a password."""
    outcome = run("gen", "--base-dir", str(base), stdin=REGISTRY.format(name=name, password=password).encode())
    assert outcome.code == 0, outcome.errors
    return read_vm(str(base / name))


def earlier_checksum(vm: Vm) -> str:
    """Return what earlier versions wrote: the passwords themselves stood at the end of it."""
    image = vm.image.reference
    words = ["", image, *vm.domain.virt_install, *[word for pair in vm.secrets().items() for word in pair]]
    data = "".join([f"{word}\0" for word in words]).encode()
    return f"{cksum(data)}-{len(data)}"


def test_a_domain_with_the_checksum_of_an_earlier_version_is_known(tmp_path: Path) -> None:
    vm = vm_of(tmp_path, "first")
    assert is_definition(vm, definition_of(vm)) and is_definition(vm, earlier_checksum(vm))
    assert definition_of(vm) != earlier_checksum(vm)
    sums = definition_of(vm), earlier_checksum(vm)
    other = vm_of(tmp_path / "other", "second")
    assert not any(is_definition(other, text) for text in sums)


def test_the_sum_of_passwords_tells_others_from_these_and_is_not_the_same_for_two_machines(tmp_path: Path) -> None:
    first, again = vm_of(tmp_path, "first"), vm_of(tmp_path / "again", "first")
    assert password_sum(first) == password_sum(again)
    assert password_sum(first) != password_sum(vm_of(tmp_path / "second", "second"))
    assert password_sum(first) != password_sum(vm_of(tmp_path / "db", "first", name="db"))


def test_no_password_and_no_plain_checksum_of_it_is_written_into_a_domain(tmp_path: Path) -> None:
    vm = vm_of(tmp_path, "first")
    record = json.dumps(facts_to_record(vm)) + definition_of(vm)
    assert "first" not in record and str(cksum(json.dumps(vm.secrets(), sort_keys=True).encode())) not in record


SEED = """
    cloudInit: {noCloud: {seed: {path: seed.iso}, data: {user-data: {a: b}, meta-data: {c: d}}}}
"""
DRIVES = """
    configDrives:
      - {path: a.b-c/ks.iso, label: %s, files: {ks.cfg: '%s', a-b.c/d: same}}
      - {path: other.iso, label: L, files: {x: x}}
"""


def with_drives(base: Path, label: str = "OEMDRV", content: str = "hunter2", name: str = "web", seed: str = SEED) -> Vm:
    registry = REGISTRY.format(name=name, password="first") + seed + (DRIVES % (label, content) if label else "")
    outcome = run("gen", "--base-dir", str(base), stdin=registry.encode())
    assert outcome.code == 0, outcome.errors
    return read_vm(str(base / name))


def test_without_drives_the_sum_of_the_seed_is_what_it_was_before_there_were_drives(tmp_path: Path) -> None:
    bare, seeded = vm_of(tmp_path / "bare", "first"), with_drives(tmp_path / "seeded", label="")
    assert seed_sum(bare) == ""
    assert seed_sum(seeded) == documents_sum(seeded)
    files = [tmp_path / "seeded/web/seed.iso.d" / name for name in ("meta-data", "user-data")]
    sums = [f"{path.name[:4]}-{cksum(path.read_bytes())}-{path.stat().st_size}" for path in files]
    assert seed_sum(seeded) == ".".join(sums)


def test_what_differs_in_drives_is_said_by_file_whatever_they_are_called(tmp_path: Path) -> None:
    before, now = with_drives(tmp_path / "a"), with_drives(tmp_path / "b", label="NEW", content="other")
    old, new = seed_sum(before), seed_sum(now)
    assert {path: set(files) for path, files in sums_of_drives(old).items()} == {
        "a.b-c/ks.iso": {"", "ks.cfg", "a-b.c/d"},
        "other.iso": {"", "x"},
    }
    assert list(lines_of_seed(old, old)) == [] and changed_documents(old, new) == []
    assert changed_drives(old, new) == ["a.b-c/ks.iso"]
    assert list(lines_of_seed(old, new)) == ["config drive a.b-c/ks.iso: the label changed, ks.cfg changed"]
    assert list(lines_of_seed("", new)) == [
        "seed: meta-data, user-data changed",
        "config drive a.b-c/ks.iso: added",
        "config drive other.iso: added",
    ]
    assert list(lines_of_seed(old, documents_sum(before))) == [
        "config drive a.b-c/ks.iso: has left the definition",
        "config drive other.iso: has left the definition",
    ]
    assert sums_of_drives("drive-zz-zz-1.meta-1-2") == {}, "somebody has edited it"


def test_the_sum_of_a_drive_is_salted_and_gives_no_plain_checksum_away(tmp_path: Path) -> None:
    first, again = with_drives(tmp_path / "a"), with_drives(tmp_path / "b")
    other = with_drives(tmp_path / "c", name="db")
    assert seed_sum(first) == seed_sum(again)
    sums = [sums_of_drives(seed_sum(vm))["a.b-c/ks.iso"]["ks.cfg"] for vm in (first, other)]
    assert sums[0] != sums[1]
    record = json.dumps(facts_to_record(first)) + seed_sum(first)
    assert "hunter2" not in record and b"hunter2".hex() not in record
    assert str(cksum(b"hunter2")) not in record and hashlib.sha256(b"hunter2").hexdigest()[:16] not in record

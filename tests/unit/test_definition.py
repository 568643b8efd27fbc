"""The checksum of a definition: what it tells, to whom, and that of earlier versions."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import run

from vmp.provisioners.v1alpha1.runtime.definition import cksum, definition_of, is_definition, password_sum
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

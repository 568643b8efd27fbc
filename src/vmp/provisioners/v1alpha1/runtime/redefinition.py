"""A new definition in place of the one that a domain has: it stays the same machine to the guest."""

from __future__ import annotations

import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from .definition import definition_of
from .domain_xml import Answers, domain_xml, forget
from .facts import Vm
from .files import read_text, scratch
from .graft import graft
from .libvirt import parse
from .record import Record, configured_record, new_record, record_parts, recorded_vm
from .say import Problem
from .virsh import Virsh


def installed_record(vm: Vm, began: Record) -> Record:
    """Return the record of a domain whose system was installed: what is stored is as it was when that began."""
    now = new_record(vm)
    stored = ("pools", "volumes", "image", "seed", "configDrives", "instanceId")
    facts = {key: value for key, value in now.facts.items() if key not in stored}
    facts.update({key: began.facts[key] for key in stored if key in began.facts})
    found = now._replace(seed=began.seed, facts=facts)
    machine = recorded_vm(vm, found)
    return found._replace(definition=definition_of(machine)) if machine else found


def redefine(
    vm: Vm, virsh: Virsh, answers: Answers | None, before: Vm, there: Element, record: Record | None = None
) -> Element:
    """Define a domain as the directory says, with the addresses that devices have now; return libvirt's XML of it.

    ``before`` is the machine that it was made from, and ``there`` how libvirt has it. The record says what it is made
    from; without one, all of it is as the directory says now.
    """
    record = record or new_record(vm)
    path = domain_xml(vm, virsh, answers, exists=True)
    chosen_macs = frozenset(re.findall("(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", _network_words(before) + _network_words(vm)))
    new = graft(parse(read_text(path), "domain.xml"), there, chosen_macs)
    with scratch(vm.file("apply.tmp"), ElementTree.tostring(new, encoding="unicode")) as file:
        failure = virsh.try_("define", f"--file={file}")
    now = configured_record(vm, virsh) if failure else record
    if now is None or (now.definition, now.phase) != (record.definition, record.phase):
        if now is not None:  # libvirt answers, so it was virt-install's answer that it refused
            forget(vm, "domain.xml")
        raise Problem(f"libvirt refused the new definition of domain {vm.domain.name}, and keeps the old one", failure)
    return record_parts(vm, virsh, record)


def _network_words(vm: Vm) -> str:
    return " ".join([word for word in vm.domain.virt_install if word.startswith("--network")]).lower()

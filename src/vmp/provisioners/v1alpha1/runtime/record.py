"""What a domain was made from, in its metadata: so what has changed since can be said in words, without any state.

Three things stand there. The facts are those of vm.json, without secrets. The checksums tell at a glance whether they
are still those of the directory. The parts are checksums of the domain as libvirt had it after it was defined: where
one differs now, somebody has changed the domain by hand.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from .conversation import Failed
from .definition import definition_of, install_sum, instance_id, is_current, is_definition, password_sum, seed_sum
from .drive_changes import changed_documents, changed_drives
from .facts import Vm
from .libvirt import MARK, NAMESPACE, Domain, libvirt_version, parse
from .network_records import Reservation
from .say import Problem
from .virsh import Virsh
from .wording import Use

_KEPT = ("domain", "pools", "volumes", "networks", "reservations", "seed", "configDrives")
"""The parts of vm.json that say what the machine is. An image's URL may hold a password: its name is enough."""


DEFINED, BEGUN, ENDED = "defined", "begun", "ended"
"""The phases of an installation: the domain was never started, it was, and its guest has turned itself off."""


class Record(NamedTuple):
    """What the metadata of a domain says."""

    definition: str
    seed: str
    facts: dict[str, Any]
    """{} in a domain of an earlier version, which kept checksums alone."""
    parts: dict[str, str]
    """{} where the run that defined the domain was killed before it wrote them."""
    phase: str = ""
    """DEFINED, BEGUN or ENDED while the system is installed."""
    install: str = ""
    """In a phase: the checksum of the options that the domain has while its system is installed."""

    def is_current(self, vm: Vm) -> bool:
        """Tell whether the domain was made from what the directory says now."""
        return self.seed == seed_sum(vm) and is_definition(vm, self.definition)


def facts_to_record(vm: Vm) -> dict[str, Any]:
    """Return the facts of a machine as they are written into its domain."""
    found = {key: vm.facts[key] for key in _KEPT if key in vm.facts}
    found["image"] = {"reference": vm.image.reference, "path": vm.image.path}
    found["instanceId"] = instance_id(vm)
    if vm.secrets():
        found["passwordsSum"] = password_sum(vm)
    return found


def new_record(vm: Vm, phase: str = "") -> Record:
    """Return the record of a domain that is made from the directory as it is now."""
    install = install_sum(vm) if phase else ""
    return Record(definition_of(vm), seed_sum(vm), facts_to_record(vm), {}, phase, install)


def with_options(facts: dict[str, Any], uses: Mapping[Use, str | None]) -> dict[str, Any]:
    """Return facts with these options in place of theirs; None leaves one out."""
    kept = {use: text for use, text in uses.items() if text is not None}
    words = [f"--{use.option}={text}" for use, text in kept.items()]
    return {**facts, "domain": {**facts["domain"], "virtInstall": words, "itemNames": [use.name for use in kept]}}


def recorded_vm(vm: Vm, record: Record) -> Vm | None:
    """Return the machine as it was when its domain was made; None where that is not known."""
    if not record.facts:
        return None
    image = {**vm.facts["image"], **record.facts.get("image", {})}
    others = {key: value for key, value in vm.facts.items() if key not in _KEPT}
    try:
        return Vm(vm.directory, {**others, **record.facts, "image": image})
    except (KeyError, TypeError, AttributeError, ValueError):
        return None  # somebody has edited it: then only the checksums tell


def recorded_reservations(vm: Vm, domain: Domain | None) -> tuple[Reservation, ...]:
    """Return the reservations that a domain was made with, as far as that is known."""
    record = read_record(domain.xml) if domain else None
    before = recorded_vm(vm, record) if record else None
    return before.reservations if before else ()


def read_record(xml: Element) -> Record | None:
    """Return what a domain's XML says of what it was made from; None for a domain that is not ours."""
    mark = xml.find(f"metadata/{MARK}")
    return None if mark is None else _record_of(mark)


def _record_of(mark: Element) -> Record:
    texts = {child.tag.rpartition("}")[2]: child.text or "" for child in mark}
    facts, parts = [_mapping(texts.get(name, "")) for name in ("facts", "parts")]
    return Record(
        mark.get("definition", ""), mark.get("seed", ""), facts, parts, mark.get("phase", ""), mark.get("install", "")
    )


def _mapping(text: str) -> dict[str, Any]:
    """Read a mapping; nothing of what somebody has edited amiss."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def mark_of(record: Record, namespace: str = f"{{{NAMESPACE}}}") -> Element:
    """Return the element that carries a record."""
    mark = Element(f"{namespace}provisioner", {"definition": record.definition, "seed": record.seed})
    for key, value in (("phase", record.phase), ("install", record.install)):
        if value:
            mark.set(key, value)
    for name, content in (("facts", record.facts), ("parts", record.parts)):
        if content:
            child = ElementTree.SubElement(mark, f"{namespace}{name}")
            child.text = json.dumps(content, separators=(",", ":"))
    return mark


def write_record(vm: Vm, virsh: Virsh, record: Record, where: str) -> None:
    """Write a record into the metadata: `--config` is what the next start takes, `--live` is the guest's."""
    mark = ElementTree.tostring(mark_of(record, namespace=""), encoding="unicode")
    words = ("metadata", f"--domain={vm.domain.uuid}", f"--uri={NAMESPACE}", "--key=vmp", f"--set={mark}", where)
    try:
        virsh.ask(*words)
    except Failed as error:
        raise Problem(f"could not note in domain {vm.domain.name} what it was made from", str(error)) from None


def record_parts(vm: Vm, virsh: Virsh, record: Record) -> Element:
    """Note how libvirt has the domain that was just defined; return its XML. If we die first, the next run notes it."""
    persistent = parse(virsh.ask("dumpxml", f"--domain={vm.domain.uuid}", "--inactive"), "libvirt's answer")
    parts = {**parts_of(persistent), "libvirt": libvirt_version(virsh)}
    write_record(vm, virsh, record._replace(parts=parts), "--config")
    return persistent


def complete_record(vm: Vm, virsh: Virsh, domain: Domain) -> None:
    """Do what a run was killed before: note how libvirt has the domain that it had defined."""
    record = read_record(domain.xml)
    if record and record.facts and not record.parts and not is_on(domain.xml):
        record_parts(vm, virsh, record)


def parts_of(persistent: Element) -> dict[str, str]:
    """Return a checksum for each part of a domain, by what a user would call it.

    The order of devices of a kind does not count: libvirt 7.0 moves controllers when a domain is first started.
    """
    pieces: dict[str, list[str]] = {}
    for child in persistent:
        if child.tag == "devices":
            for device in child:
                pieces.setdefault(_name_of_device(device), []).append(_canonical(device))
        elif child.tag not in ("name", "uuid", "metadata"):
            pieces.setdefault(child.tag, []).append(_canonical(child))
    return {
        name: f"{zlib.crc32(''.join(sorted(texts)).encode(errors='replace')):08x}" for name, texts in pieces.items()
    }


def _name_of_device(device: Element) -> str:
    target, mac = device.find("target"), device.find("mac")
    if device.tag == "disk" and target is not None:
        return f"disk {target.get('dev')}"
    if device.tag == "interface" and mac is not None:
        return f"interface {mac.get('address')}"
    return device.tag


def _canonical(element: Element) -> str:
    """Return an element as text that does not depend on blanks and the order of attributes."""
    attributes = " ".join([f"{key}={value!r}" for key, value in sorted(element.attrib.items())])
    inside = "".join([_canonical(child) for child in element])
    return f"<{element.tag} {attributes}>{(element.text or '').strip()}{inside}</>"


def tell_stale(vm: Vm, virsh: Virsh, domain: Domain | None) -> None:
    """Say when the domain was made from something else than what the directory says now, and how it gets there."""
    if domain is None:
        return
    if domain.phase:
        vm.say(f"its installation has not ended: '{vm.make} up' goes on with it")
        return
    record = read_record(domain.xml)
    if is_on(domain.xml):  # the guest runs as it was started; what the next start takes may be newer
        record = configured_record(vm, virsh) or record
    if record is None:
        return
    definition, seed = is_definition(vm, record.definition), record.seed == seed_sum(vm)
    if definition and seed and is_current(vm, domain.mark):
        return
    if definition and seed:
        vm.say(f"some changes wait for the next start: '{vm.make} diff' lists them, '{vm.make} restart' does them")
        return
    stale = [] if definition else ["the definition"]
    stale += ["the cloud-init seed"] if changed_documents(record.seed, seed_sum(vm)) else []
    stale += [f"the config drive {path}" for path in changed_drives(record.seed, seed_sum(vm))]
    stale = stale or ["the cloud-init seed"]
    vm.say(
        f"{' and '.join(stale)} {'has' if len(stale) == 1 else 'have'} changed since the domain was made: "
        f"'{vm.make} diff' says in what, '{vm.make} apply' brings it to the domain and keeps every disk"
    )


def configured_record(vm: Vm, virsh: Virsh) -> Record | None:
    """Return the record of what the next start takes; None for a domain that has no next start."""
    try:
        answer = virsh.ask("metadata", f"--domain={vm.domain.uuid}", f"--uri={NAMESPACE}", "--config")
    except Failed:
        return None
    return _record_of(parse(answer, "a mark"))


def is_on(xml: Element) -> bool:
    """Tell from its XML whether a domain runs, or stands still in memory."""
    return xml.get("id") is not None

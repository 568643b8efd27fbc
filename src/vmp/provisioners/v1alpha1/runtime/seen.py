"""One look at machines of a node that are there, in as few questions as it takes; it changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

from .conversation import Failed
from .facts import Vm
from .libvirt import libvirt_version, list_domains, parse
from .record import Record, is_on, parts_of, read_record
from .say import Problem
from .storage import VolumeFacts, glance_at_volumes
from .virsh import Virsh


class Seen(NamedTuple):
    """A domain of ours that is there, as one look has it."""

    current: Element
    """As it runs; as it would start, if it is off."""
    configured: Element
    """As it would start."""
    autostarts: bool
    volumes: dict[str, VolumeFacts | None]
    """What libvirt has of the machine's volumes, by pool/name."""
    record: Record
    """What the configured definition was made from."""
    libvirt: str
    """The version of the node's libvirt, where it matters, else ''."""

    @property
    def on(self) -> bool:
        """Tell whether there is a guest."""
        return is_on(self.current)


def see(virsh: Virsh, vms: Sequence[Vm]) -> list[Seen | Problem | None]:
    """Look at machines of one node: each is seen, or is not there, or is not ours, and why. Changes nothing."""
    domains = list_domains(virsh)
    autostarted = list_domains(virsh, "--autostart")
    there = [vm for vm in vms if vm.domain.uuid in domains]
    questions = [("dumpxml", f"--domain={vm.domain.uuid}", *option) for vm in there for option in ((), ("--inactive",))]
    answers = iter(virsh.ask_all(*questions))
    keys = list(dict.fromkeys([(volume.pool, volume.name) for vm in there for volume in vm.volumes]))  # many share one
    volumes = dict(zip(keys, glance_at_volumes(virsh, keys)))
    found: list[Seen | Problem | None] = []
    for vm in vms:
        if vm not in there:
            found.append(_not_ours(vm) if vm.domain.name in domains.values() else None)
            continue
        texts = [next(answers), next(answers)]
        facts = {volume.key: volumes[volume.pool, volume.name] for volume in vm.volumes}
        failed = next((text for text in texts if isinstance(text, Failed)), None)
        if failed:
            found.append(failed)
            continue
        current, configured = [parse(str(text), f"libvirt's answer about domain {vm.domain.name}") for text in texts]
        record = read_record(configured)
        known = record.facts.get("domain", {}).get("name") if record else None
        if record is None or configured.findtext("name") not in (vm.domain.name, known):
            found.append(_not_ours(vm))
            continue
        seen = Seen(current, configured, vm.domain.uuid in autostarted, facts, record, "")
        if record.parts and changed_parts(seen):
            seen = seen._replace(libvirt=libvirt_version(virsh))
        found.append(seen)
    return found


def _not_ours(vm: Vm) -> Problem:
    return Problem(f"domain '{vm.domain.name}' is not as this provisioner made it", f"'{vm.make} status' says more")


def changed_parts(seen: Seen) -> dict[str, str]:
    """Return the parts of a domain that libvirt had otherwise when it was defined, and what has happened to them."""
    old, new = seen.record.parts, parts_of(seen.configured)
    return {
        name: "removed" if name not in new else "added" if name not in old else _value(seen.configured, name)
        for name in {**old, **new}
        if old.get(name) != new.get(name) and name != "libvirt"
    }


def _value(configured: Element, name: str) -> str:
    found = configured.find(name) if " " not in name else None
    text = (found.text or "").strip() if found is not None and not len(found) else ""
    return f"is {text} {found.get('unit', '')}".rstrip() if text and found is not None else "changed"

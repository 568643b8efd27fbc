"""`apply`: what is there becomes what the directory says, and keeps every disk.

Storage comes first, then the definition that the next start takes, then the guest, as far as libvirt can. Each
step looks at what there is, so a run that was killed is gone on with. Nothing is stopped or restarted.
"""

from __future__ import annotations

import os
from xml.etree import ElementTree

from .changes import Change, changes_of, changes_of_networks, loses_autostart, may_grow
from .definition import instance_id, seed_sum
from .domain import ensure_autostart
from .domain_xml import domain_xml, forget
from .facts import Vm, Volume
from .files import read_text, scratch
from .graft import graft, source_of
from .hotplug import bring_to_guest
from .knobs import FORCE
from .libvirt import Domain, list_domains, parse
from .look import check_node, look, no_domain
from .making import Run, make_networks, make_reservations, make_storage
from .networks import commands_to_delete, look_at_networks
from .record import (
    Record,
    facts_to_record,
    new_record,
    read_record,
    record_parts,
    recorded_reservations,
    recorded_vm,
    with_options,
    write_record,
)
from .reservations import look_at_reservations
from .say import Problem
from .seed import build_seed
from .seen import Seen, see
from .snapshots import snapshot_names
from .storage import VolumeFacts, glance_at_volume
from .timing import ANEW, BY_HAND, NEVER
from .virsh import Virsh
from .volumes import ensure_volume
from .wording import OptionChange, option_changes, uses_of


def apply(run: Run) -> None:
    """Bring what is there to what the directory says."""
    vm, virsh = run.vm, run.virsh
    (seen,) = see(virsh, [vm])
    if isinstance(seen, Problem):
        look(vm, virsh)
        raise seen
    if seen is None:
        raise no_domain(vm)
    domain = Domain(vm.domain.name, "running" if seen.on else "shut off", seen.current)
    check_node(vm, virsh)
    run.networks = look_at_networks(vm, virsh)
    changes = [*changes_of_networks(run.networks, ()), *changes_of(vm, seen)]
    refuse_impossible(vm, virsh, seen, changes)
    lasting = domain._replace(xml=seen.configured)
    run.reservations = look_at_reservations(vm, virsh, recorded_reservations(vm, lasting))
    made = len(changes) + sum(step.kind != "keep" for step in run.reservations)
    make_networks(run)
    make_reservations(run, lasting)
    make_storage(run, domain)
    for volume in vm.volumes:
        grow_volume(vm, virsh, volume, seen.volumes[volume.key], seen)
    replace_seed(vm, virsh, seen)
    bring_autostart(vm, virsh, seen)
    seen = bring_definition(run, seen, changes)
    waits = bring_guest(vm, virsh, seen) if seen.on else False
    if not seen.on:
        for change in changes:
            if change.when != BY_HAND and not change.text.startswith("network "):
                vm.say(f"{change.text}: done")
    if waits:
        vm.say(f"'{vm.make} restart' brings what waits")
    elif not made:
        vm.say("is as the directory says")


def refuse_impossible(vm: Vm, virsh: Virsh, seen: Seen, changes: list[Change]) -> None:
    """Refuse, before anything is changed and all at once, what cannot be, and what would undo somebody's work."""
    force = os.environ.get(FORCE, "")
    if force not in ("", "yes", "no"):
        raise Problem(f"{FORCE} is '{force}', neither yes nor no")
    anew, never, by_hand = [
        [change.text for change in changes if change.when == when] for when in (ANEW, NEVER, BY_HAND)
    ]
    ways = [f"'{vm.make} down up' makes all anew{_lost_with_down(vm)}"] if anew else []
    if never:
        ways.append(
            "libvirt's network stays as it is, as its guests would lose their link: give this VM's another name,"
        )
        ways.append(f"or, once nobody uses it, take it away, and the next '{vm.make} up' makes it as declared:")
        ways += commands_to_delete(vm, never[0].split(":")[0].removeprefix("network "))
    if by_hand and force != "yes":
        ways.append(f"bring what was changed by hand into the registry, or let '{vm.make} apply {FORCE}=yes' undo it")
    if ways:
        refused = [*anew, *never, *(by_hand if force != "yes" else [])]
        raise Problem("what is there cannot become what the directory says, and nothing was changed", *refused, *ways)
    if changes and not seen.on and vm.domain.uuid in list_domains(virsh, "--with-managed-save"):
        raise Problem(
            "the guest's memory is saved, and knows the disks and devices as they are; nothing was changed",
            f"'{vm.make} start apply' lets it go on, and changes it then",
        )


def _lost_with_down(vm: Vm) -> str:
    lost = [volume.key for volume in vm.volumes if not volume.retained and (not volume.file or volume.file != vm.seed)]
    return f"; lost is then what is in {', '.join(lost)}" if lost else ""


def grow_volume(vm: Vm, virsh: Virsh, volume: Volume, facts: VolumeFacts | None, seen: Seen) -> None:
    """Grow a volume that is there. One that a guest has open only its QEMU can grow."""
    if facts is None or not may_grow(vm, volume) or facts.capacity >= volume.capacity:
        return
    is_open = seen.on and any(source_of(disk) == facts.path for disk in seen.current.iterfind("devices/disk"))
    if is_open:
        words = ("blockresize", f"--domain={vm.domain.uuid}", f"--path={facts.path}", f"--size={volume.capacity}B")
    else:
        words = ("vol-resize", f"--pool={volume.pool}", f"--vol={volume.name}", f"--capacity={volume.capacity}")
    failure = virsh.try_(*words)
    if failure:
        raise Problem(f"could not grow volume {volume.key} to {volume.capacity_text}", failure)
    sees = "the guest sees it now" if is_open else "the guest sees it when it starts"
    vm.say(f"grew volume {volume.key} to {volume.capacity_text}: {sees}; its file system grows in the guest")
    if snapshot_names(virsh, vm.domain.uuid):
        vm.say(f"the snapshots of {vm.domain.name} keep the old size, and 'revert' brings it back")


def replace_seed(vm: Vm, virsh: Virsh, seen: Seen) -> None:
    """Put a seed of changed documents in place of the old one. A guest that has that open keeps the deleted file."""
    volume = next((volume for volume in vm.volumes if volume.file and volume.file == vm.seed), None)
    if volume is None or seen.record.seed == seed_sum(vm):
        return
    build_seed(vm)
    if glance_at_volume(virsh, volume.pool, volume.name):
        virsh.ask("vol-delete", f"--pool={volume.pool}", f"--vol={volume.name}")
    ensure_volume(vm, virsh, volume, None)
    vm.say(f"replaced the seed: the guest gets it at its next start; {_effect_of_seed(vm, seen.record)}")


def _effect_of_seed(vm: Vm, record: Record) -> str:
    """Say what cloud-init makes of a new seed (https://docs.cloud-init.io/en/latest/explanation/first_boot.html)."""
    known, now = record.facts.get("instanceId"), instance_id(vm)
    if known is None:
        return "with an instance-id that it knows, cloud-init does next to nothing"
    if known == now:
        return f"the instance-id is still '{now}', with which cloud-init does next to nothing"
    return (
        f"the instance-id is new ('{now}'), so cloud-init does everything once more: it makes the SSH host keys anew "
        "(then delete known_hosts), adds users and keys, and takes none away"
    )


def bring_autostart(vm: Vm, virsh: Virsh, seen: Seen) -> None:
    """Set autostart, or take it away. That comes before the definition, whose record will ask for it no more."""
    ensure_autostart(vm, virsh)
    if loses_autostart(recorded_vm(vm, seen.record), vm) and seen.autostarts:
        virsh.ask("autostart", f"--domain={vm.domain.uuid}", "--disable")


def bring_definition(run: Run, seen: Seen, changes: list[Change]) -> Seen:
    """Define the domain anew, with the UUID, MAC addresses, machine type, firmware and addresses that it has."""
    vm, virsh, record = run.vm, run.virsh, new_record(run.vm)
    if seen.record.definition == record.definition and not any(change.when == BY_HAND for change in changes):
        if not seen.record.parts:
            record_parts(vm, virsh, record)
        elif seen.record._replace(parts={}) != record:
            write_record(vm, virsh, record._replace(parts=seen.record.parts), "--config")
        return seen
    path = domain_xml(vm, virsh, run.answers, exists=True)
    random_macs = any(word.startswith("--network") and "RANDOM" in word for word in vm.domain.virt_install)
    new = graft(parse(read_text(path), "domain.xml"), seen.configured, random_macs=random_macs)
    with scratch(vm.file("apply.tmp"), ElementTree.tostring(new, encoding="unicode")) as file:
        failure = virsh.try_("define", f"--file={file}")
    if failure:
        forget(vm)
        raise Problem(f"libvirt refused the new definition of domain {vm.domain.name}, and keeps the old one", failure)
    for change in changes:
        if change.when == BY_HAND:
            vm.say(f"{change.text}: undone{', for the next start' if seen.on else ''}")
    return seen._replace(configured=record_parts(vm, virsh, record))


def bring_guest(vm: Vm, virsh: Virsh, seen: Seen) -> bool:
    """Bring to the guest what can be, and say of each change what became of it; return whether something waits."""
    record = read_record(seen.current)
    if record is None:
        return False
    if record.is_current(vm):
        if record.facts != facts_to_record(vm):  # reservations and networks are no part of the checksums
            write_record(vm, virsh, new_record(vm), "--live")
        return False
    before = recorded_vm(vm, record)
    if before is None:
        vm.say("the definition: at the next start")
        return True
    came: list[OptionChange] = []
    waiting: list[OptionChange] = []
    for change in option_changes(before.domain, vm.domain):
        reason = bring_to_guest(vm, virsh, change, before, seen)
        (waiting if reason else came).append(change)
        for words in change.words():
            vm.say(f"{words}: {f'at the next start ({reason})' if reason else 'now'}")
    hidden = (
        not came and not waiting and before.volumes == vm.volumes and record.definition != new_record(vm).definition
    )
    if hidden:
        vm.say("a password of the domain: at the next start")
    if not waiting and not hidden:
        write_record(vm, virsh, new_record(vm)._replace(seed=record.seed), "--live")
    elif came:
        facts = with_options(facts_to_record(vm), {**uses_of(vm.domain), **{one.use: one.before for one in waiting}})
        write_record(vm, virsh, record._replace(facts=facts, parts={}), "--live")
    return bool(waiting) or hidden or record.seed != seed_sum(vm)

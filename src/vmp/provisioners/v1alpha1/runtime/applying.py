"""`apply`: what is there becomes what the directory says, and keeps every disk.

Storage comes first, then the definition that the next start takes, then the guest, as far as libvirt can. Each
step looks at what there is, so a run that was killed is gone on with. Nothing is stopped or restarted.
"""

from __future__ import annotations

from .changes import Change, changes_of, changes_of_networks, has_other_passwords, loses_autostart
from .definition import is_definition, seed_sum
from .domain import ensure_autostart
from .drives import need_for_drives
from .facts import Vm
from .hotplug import bring_to_guest
from .knobs import FORCE, is_forced
from .libvirt import Domain, list_domains
from .look import check_node, look, no_domain, still_to_install
from .making import Run, make_networks, make_reservations, make_storage
from .networks import commands_to_delete, look_at_networks
from .pools import ensure_pool
from .programs import need
from .record import (
    new_record,
    read_record,
    record_parts,
    recorded_reservations,
    recorded_vm,
    with_options,
    write_record,
)
from .redefinition import redefine
from .reservations import look_at_reservations
from .say import Problem
from .seen import Seen, see
from .timing import ANEW, BY_HAND, NEVER
from .virsh import Virsh
from .volume_changes import grow_volume, replace_drives
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
    if seen.record.phase:
        raise still_to_install(vm, domain)
    check_node(vm, virsh)
    run.networks = look_at_networks(vm, virsh)
    changes = changes_of(vm, seen)
    refuse_impossible(run, seen, changes)
    lasting = domain._replace(xml=seen.configured)
    run.reservations = look_at_reservations(vm, virsh, recorded_reservations(vm, lasting))
    as_declared = not changes and not changes_of_networks(run.networks, run.reservations)
    _need_for_changes(vm, seen)
    make_networks(run)
    make_reservations(run, lasting)
    if any(change.kind == "pool" for change in changes):
        for pool in vm.pools:
            ensure_pool(vm, virsh, pool)
    make_storage(run, domain)
    for volume in vm.volumes:
        grow_volume(vm, virsh, volume, seen)
    replace_drives(run, seen)
    bring_autostart(vm, virsh, seen)
    seen = bring_definition(run, seen, changes)
    _tell_done(vm, seen, changes)
    if seen.on and bring_guest(vm, virsh, seen):
        vm.say(f"'{vm.make} restart' brings what waits")
    elif as_declared:
        vm.say("is as the directory says")


def _need_for_changes(vm: Vm, seen: Seen) -> None:
    """Name what is not installed, before anything is changed."""
    if not is_definition(vm, seen.record.definition):
        need("make the definition", "virt-install")
    if seen.record.seed != seed_sum(vm):
        need_for_drives(vm)


def _tell_done(vm: Vm, seen: Seen, changes: list[Change]) -> None:
    """Say what no other step says of itself."""
    for change in changes:
        if change.kind == "stays":
            vm.say(change.text)
        elif change.kind == "by hand":
            vm.say(f"{change.text}: undone{', for the next start' if seen.on else ''}")
        elif change.kind == "libvirt":
            vm.say(f"{change.text}: noted as libvirt's own")
        elif change.kind == "autostart" or (change.kind == "option" and not seen.on):
            vm.say(f"{change.text}: done")


def refuse_impossible(run: Run, seen: Seen, changes: list[Change]) -> None:
    """Refuse, before anything is changed and all at once, what cannot be, and what would undo somebody's work."""
    vm, virsh = run.vm, run.virsh
    forced = is_forced()
    anew, by_hand = [[change.text for change in changes if change.when == when] for when in (ANEW, BY_HAND)]
    different_networks = [state.network.name for state in run.networks if state.differences]
    never = [change.text for change in changes_of_networks(run.networks, ()) if change.when == NEVER]
    ways = [f"'{vm.make} down up' makes all anew{_lost_with_down(vm)}"] if anew else []
    if never:
        ways.append("a network stays as it is, as its guests would lose their link: give this VM's another name,")
        ways.append(f"or, once nobody uses it, take it away, and the next '{vm.make} up' makes it as declared:")
        ways += commands_to_delete(vm, different_networks[0])
    if by_hand and not forced:
        ways.append(f"bring what was changed by hand into the registry, or let '{vm.make} apply {FORCE}=yes' undo it")
    if ways:
        refused = [*anew, *never, *(by_hand if not forced else [])]
        raise Problem("what is there cannot become what the directory says, and nothing was changed", *refused, *ways)
    if changes and not seen.on and vm.domain.uuid in list_domains(virsh, "--with-managed-save"):
        raise Problem(
            "the guest's memory is saved, and knows the disks and devices as they are; nothing was changed",
            f"'{vm.make} start apply' lets it go on, and changes it then",
        )


def _lost_with_down(vm: Vm) -> str:
    lost = [volume.key for volume in vm.volumes if not volume.retained and not vm.makes(volume.file)]
    return f"; lost is then what is in {', '.join(lost)}" if lost else ""


def bring_autostart(vm: Vm, virsh: Virsh, seen: Seen) -> None:
    """Set autostart, or take it away. That comes before the definition, whose record will ask for it no more."""
    ensure_autostart(vm, virsh)
    if loses_autostart(recorded_vm(vm, seen.record), vm) and seen.autostarts:
        virsh.ask("autostart", f"--domain={vm.domain.uuid}", "--disable")


def bring_definition(run: Run, seen: Seen, changes: list[Change]) -> Seen:
    """Define the domain anew, with the UUID, MAC addresses, machine type, firmware and addresses that it has."""
    vm, virsh, record = run.vm, run.virsh, new_record(run.vm)
    if is_definition(vm, seen.record.definition) and not any(change.when == BY_HAND for change in changes):
        if not seen.record.parts or any(change.kind == "libvirt" for change in changes):
            record_parts(vm, virsh, record)
        elif seen.record._replace(parts={}) != record:
            write_record(vm, virsh, record._replace(parts=seen.record.parts), "--config")
        return seen
    before = recorded_vm(vm, seen.record) or vm
    return seen._replace(configured=redefine(vm, virsh, run.answers, before, seen.configured))


def bring_guest(vm: Vm, virsh: Virsh, seen: Seen) -> bool:
    """Bring to the guest what can be, and say of each change what became of it; return whether something waits.

    The guest's own record says what it has. While something waits, no checksum of the definition stands in it.
    """
    record, new = read_record(seen.current), new_record(vm)
    if record is None:
        return False
    before = recorded_vm(vm, record)
    if before is None:
        if record.is_current(vm):
            write_record(vm, virsh, new, "--live")
            return False
        vm.say("the definition: at the next start")
        return True
    waiting: list[OptionChange] = []
    for change in option_changes(before.domain, vm.domain):
        reason = bring_to_guest(vm, virsh, change, before, seen)
        waiting += [change] if reason else []
        for words in change.words():
            vm.say(f"{words}: {f'at the next start ({reason})' if reason else 'now'}")
    password = has_other_passwords(record, vm)
    if password:
        vm.say("a password of the domain: at the next start")
    now = new._replace(seed=record.seed)
    if waiting or password:
        facts = with_options(new.facts, {**uses_of(vm.domain), **{change.use: change.before for change in waiting}})
        if password:
            facts["passwordsSum"] = record.facts.get("passwordsSum")
        now = now._replace(definition="", facts=facts)
    if now != record._replace(parts={}):
        write_record(vm, virsh, now, "--live")
    return bool(waiting) or password or record.seed != new.seed

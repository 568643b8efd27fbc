"""Snapshots: making, listing, reverting to and deleting them. libvirt keeps them in the qcow2 disks themselves."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from .conversation import Failed
from .domain import let_go_on, memory_seconds
from .facts import Vm
from .files import scratch
from .libvirt import RUNNING, Domain, domain_state, escape, list_domains, look_at_domain, parse
from .look import must_be_there
from .making import Run
from .nvram import drop_copies, has_uefi, is_in_snapshots, keep_nvram, put_back_nvram
from .record import tell_stale
from .say import Problem, printable, write
from .snapshot_limits import (
    daemon_version,
    refuse_disks,
    refuse_state,
    refuse_transient,
    refuse_uefi,
    refuse_without_room,
    writable_disks,
)
from .snapshots import (
    UNFINISHED,
    Snapshot,
    current_snapshot,
    given_description,
    given_name,
    given_new_name,
    is_number_of_another,
    look_at_snapshot,
    look_at_snapshots,
    must_find_snapshot,
    snapshot_names,
    with_name,
)
from .virsh import Virsh

_SNAPSHOT_CUT_OFF = ("paused (saving)", "paused (creating snapshot)")
"""What `virsh domstate --reason` says of a guest whose libvirt died while it wrote the guest's memory."""


def snapshot(run: Run) -> None:
    """Make a snapshot of the disks, and of the memory if there is a guest in it."""
    vm, virsh = run.vm, run.virsh
    name, description = given_new_name(vm, "snapshot"), given_description()
    domain = must_be_there(run.vm, run.virsh)
    there = look_at_snapshot(virsh, vm.domain.uuid, name)
    if there and there.seconds != UNFINISHED:
        raise Problem(
            f"there is a snapshot '{name}', made {there.time}",
            f"give the new one another name, or delete it first: {with_name(vm, 'snapshot/delete', name)}",
        )
    disks = list(writable_disks(domain.xml))
    refuse_transient(vm, virsh)
    refuse_state(vm, virsh, domain)
    refuse_disks(vm, virsh, disks)
    refuse_uefi(vm, virsh, domain)
    refuse_without_room(vm, virsh, domain, disks)
    _go_on_after_cut(vm, virsh, domain.state)
    copies = has_uefi(domain.xml) and not is_in_snapshots(domain.xml)
    _sweep(vm, virsh, name)
    if copies:
        keep_nvram(vm, virsh, domain.xml, name)
    try:
        _create_snapshot(vm, virsh, domain, disks, name, description)
    except Failed as error:
        _undo_snapshot(vm, virsh, domain, name, copies)
        raise Problem(f"could not make snapshot '{name}'", str(error), _hint_of_age(virsh, domain.state)) from None
    what = "the disks" if domain.state == "shut off" else "the disks and the memory"
    vm.say(f"made snapshot '{name}' of {what}")


def _hint_of_age(virsh: Virsh, state: str) -> str:
    """Return what an old libvirt cannot do for a guest that is off."""
    old = state == "shut off" and daemon_version(virsh) < (9, 0)
    return (
        "libvirt before 9.0 cannot if a guest that is off has UEFI, or a raw disk, even a read-only one" if old else ""
    )


def _create_snapshot(vm: Vm, virsh: Virsh, domain: Domain, disks: list[Element], name: str, description: str) -> None:
    words = [f"--domain={vm.domain.uuid}", f"--name={name}"]
    words += [f"--description={description}"] if description else []
    words += [f"--diskspec={_device_of(disk)},snapshot=internal" for disk in disks]
    if domain.state != "shut off":
        vm.say(f"saving {domain.memory_mib} MiB of memory in a disk; the guest stands still meanwhile")
    virsh.ask("snapshot-create-as", *words, seconds=memory_seconds(vm, domain))


def _device_of(disk: Element) -> str:
    target = disk.find("target")
    return "" if target is None else target.get("dev", "")


def _go_on_after_cut(vm: Vm, virsh: Virsh, state: str) -> None:
    """Let a guest go on that stands still since libvirt died while it made a snapshot of it."""
    if (
        state == "paused"
        and virsh.ask("domstate", f"--domain={vm.domain.uuid}", "--reason").strip() in _SNAPSHOT_CUT_OFF
    ):
        virsh.ask("resume", f"--domain={vm.domain.uuid}")
        vm.say("the guest stood still since a snapshot of it was cut off: it goes on")


def _sweep(vm: Vm, virsh: Virsh, name: str) -> None:
    """Delete what a run that was cut off has left of a snapshot in the disks, where libvirt does not know of it.

    QEMU would refuse the name, or make a second one of that name and later go back to the first. So libvirt is told
    that there is such a snapshot, and then to delete it. If this run dies between the two, its time gives it away.
    """
    uuid = vm.domain.uuid
    if name not in snapshot_names(virsh, uuid):
        xml = parse(virsh.ask("dumpxml", f"--domain={uuid}", "--inactive"), "libvirt's answer about the domain")
        entry = "".join(
            [
                f"<domainsnapshot><name>{escape(name)}</name><state>shutoff</state><memory snapshot='no'/>",
                f"<creationTime>{UNFINISHED}</creationTime><disks>",
                *[f"<disk name='{escape(_device_of(disk))}' snapshot='internal'/>" for disk in writable_disks(xml)],
                f"</disks>{ElementTree.tostring(xml, encoding='unicode')}</domainsnapshot>",
            ]
        )
        with scratch(vm.file("create.tmp"), entry) as path:
            virsh.ask("snapshot-create", f"--domain={uuid}", f"--xmlfile={path}", "--redefine")
    virsh.ask("snapshot-delete", f"--domain={uuid}", f"--snapshotname={name}")


def _undo_snapshot(vm: Vm, virsh: Virsh, domain: Domain, name: str, copies: bool) -> None:
    """Leave nothing of a snapshot that could not be made, and let the guest go on."""
    try:
        if name not in snapshot_names(virsh, vm.domain.uuid):  # else it was made after all
            _sweep(vm, virsh, name)
            if copies:
                drop_copies(vm, virsh, domain.xml, name)
    except Problem:
        pass  # the first failure is the one to tell; the next snapshot of that name deletes what is left
    let_go_on(vm, virsh, domain.state)


def snapshots(run: Run) -> None:
    """Print a line for each snapshot, the oldest first; a star marks the one that the disks go on from."""
    vm, virsh = run.vm, run.virsh
    must_be_there(run.vm, run.virsh)
    found = [each for each in look_at_snapshots(virsh, vm.domain.uuid) if each.seconds != UNFINISHED]
    if not found:
        vm.say(f"there are no snapshots; '{with_name(vm, 'snapshot', 'before-upgrade')}' makes one")
        return
    current = current_snapshot(virsh, vm.domain.uuid)
    shown = [(_one_line(each.name), each) for each in found]
    width = max([len(name) for name, _ in shown])
    for name, each in shown:
        state = each.state + (", external" if each.external else "")
        mark = "*" if each.name == current else " "
        write(f"{mark} {name:<{width}}  {each.time}  {state:<9}  {_one_line(each.description)}".rstrip(), stream=1)


def _one_line(text: str) -> str:
    return printable(" ".join(text.split("\n")), 1)


def revert(run: Run) -> None:
    """Bring the disks, and the memory if it is in the snapshot, back to what they were. What was written since goes."""
    vm, virsh = run.vm, run.virsh
    name = given_name(vm, "revert")
    domain = must_be_there(run.vm, run.virsh)
    there = must_find_snapshot(vm, virsh, name)
    if there.seconds == UNFINISHED:
        raise Problem(f"snapshot '{name}' was never finished", f"delete it: {with_name(vm, 'snapshot/delete', name)}")
    if is_number_of_another(name) and not there.external:
        raise Problem(
            f"the name of snapshot '{name}' is a number, which QEMU may take for that of another one",
            "'qemu-img snapshot -l DISK' on the node shows both; delete it, or revert by hand",
        )
    refuse_transient(vm, virsh)
    if vm.domain.uuid in list_domains(virsh, "--with-managed-save"):
        virsh.ask("managedsave-remove", f"--domain={vm.domain.uuid}")
        vm.say("dropped the saved memory: it belonged to disks that are thrown away now")
    try:
        words = (f"--domain={vm.domain.uuid}", f"--snapshotname={name}")
        virsh.ask("snapshot-revert", *words, seconds=memory_seconds(vm, domain))
    except Failed as error:
        raise _could_not(vm, virsh, f"revert to {_named(there)}", error) from None
    copied = there.state == "shut off" and has_uefi(domain.xml) and not is_in_snapshots(domain.xml)
    if copied and not put_back_nvram(vm, virsh, domain.xml, name):
        vm.say("the UEFI variables stay as they are: there is no copy of them with this snapshot")
    state = domain_state(virsh, vm.domain.uuid)
    vm.say(f"reverted to snapshot '{name}' of {there.time}: the guest {_as_it_was(vm, state)}")
    tell_stale(vm, virsh, look_at_domain(virsh, vm.domain))


def _as_it_was(vm: Vm, state: str) -> str:
    if state in RUNNING:
        return "runs, as it did then"
    if state == "paused":
        return f"stands still, as it did then; '{vm.make} resume' lets it go on"
    return f"is off, as it was then; '{vm.make} start' starts it" if state == "shut off" else f"is {state}"


def delete_snapshot(run: Run) -> None:
    """Delete a snapshot; the disks stay as they are."""
    vm, virsh = run.vm, run.virsh
    name = given_name(vm, "snapshot/delete")
    domain = must_be_there(run.vm, run.virsh)
    there = must_find_snapshot(vm, virsh, name)
    if has_uefi(domain.xml) and not is_in_snapshots(domain.xml):
        drop_copies(vm, virsh, domain.xml, name)
    try:
        words = (f"--domain={vm.domain.uuid}", f"--snapshotname={name}")
        virsh.ask("snapshot-delete", *words, seconds=memory_seconds(vm, domain))
    except Failed as error:
        raise _could_not(vm, virsh, f"delete {_named(there)}", error) from None
    vm.say(f"deleted snapshot '{name}'")


def _named(there: Snapshot) -> str:
    return f"{'external ' if there.external else ''}snapshot '{there.name}'"


def _could_not(vm: Vm, virsh: Virsh, what: str, error: Failed) -> Problem:
    state = domain_state(virsh, vm.domain.uuid)
    return Problem(f"could not {what}", str(error), f"the domain is {state or 'gone'} now")

"""The domain's states: defined, started, stopped, killed. Ours is the one with our UUID, whatever its name."""

from __future__ import annotations

import shlex
import time

from .conversation import Failed
from .facts import Vm
from .files import remove
from .libvirt import RUNNING, Domain, disk_sources, domain_state, list_domains
from .look import look
from .nvram import drop_all_copies
from .record import new_record, record_parts, recorded_reservations
from .reservations import remove_reservations
from .say import Problem
from .snapshots import names_as_far_as_known
from .virsh import Virsh


def define_domain(vm: Vm, virsh: Virsh, path: str, phase: str = "") -> None:
    """Define the domain from its XML file. One that is still to be installed does not start with its node."""
    failure = virsh.try_("define", f"--file={path}")
    if failure:
        raise Problem(f"could not create domain {vm.domain.name}", failure)
    record_parts(vm, virsh, new_record(vm, phase))
    vm.say(f"created domain {vm.domain.name}{', to be installed' if phase else ''}")
    if not phase:
        ensure_autostart(vm, virsh)


def ensure_autostart(vm: Vm, virsh: Virsh) -> None:
    """Let libvirt start the domain when the node boots, if the registry says so. What it says nothing of stays."""
    if vm.domain.autostart and vm.domain.uuid not in list_domains(virsh, "--autostart"):
        failure = virsh.try_("autostart", f"--domain={vm.domain.uuid}")
        if failure:
            raise Problem(f"could not let domain {vm.domain.name} start when its node boots", failure)


def start_domain(vm: Vm, virsh: Virsh, state: str) -> bool:
    """Start the domain from whatever state it is in; return whether it was running already."""
    if state == "in shutdown":
        vm.say("the domain is shutting down: waiting before it is started again")
        state = wait_until_off(vm, virsh, vm.knobs.stop_timeout, ask_guest=False)[0]
        if state not in ("shut off", "crashed"):
            raise Problem(
                f"the domain is still shutting down after {vm.knobs.stop_timeout} seconds",
                "'make kill start' pulls the plug and starts it again",
            )
    if state in RUNNING:
        return True
    if state == "crashed":
        virsh.try_("destroy", f"--domain={vm.domain.uuid}")
    command, done = {"paused": ("resume", "resumed"), "pmsuspended": ("dompmwakeup", "woke")}.get(
        state, ("start", "started")
    )
    try:
        virsh.ask(command, f"--domain={vm.domain.uuid}")
    except Failed as error:
        if domain_state(virsh, vm.domain.uuid) in RUNNING:  # another client has started it
            return False
        hints = _hints_of_managed_save(vm, virsh)
        raise Problem(f"could not start domain {vm.domain.name}", str(error), *hints) from None
    vm.say(f"{done} domain {vm.domain.name}{' up' if done == 'woke' else ''}")
    return False


def _hints_of_managed_save(vm: Vm, virsh: Virsh) -> list[str]:
    """Return the way out where a start fails because libvirt cannot restore what `virsh managedsave` saved."""
    saved = vm.domain.uuid in list_domains(virsh, "--with-managed-save")
    command = shlex.join(["virsh", "-c", vm.uri, "managedsave-remove", f"--domain={vm.domain.uuid}"])
    return (
        [
            "its memory was saved by `virsh managedsave`, and a start restores that; if that cannot be, drop it:",
            command,
            "what the guest had in memory and not yet on its disks is then lost, as when the plug is pulled",
        ]
        if saved
        else []
    )


def stop_domain(vm: Vm, virsh: Virsh, domain: Domain | None) -> None:
    """Ask the guest to shut down, then pull the plug."""
    if domain is None or domain.state == "shut off":
        return
    if domain.phase or domain.state == "crashed" or vm.knobs.stop_timeout == 0:
        kill_domain(vm, virsh, domain.state)
        return
    vm.say("asking the guest to shut down")
    if domain.state == "paused":
        virsh.try_("resume", f"--domain={vm.domain.uuid}")
    elif domain.state == "pmsuspended":
        virsh.try_("dompmwakeup", f"--domain={vm.domain.uuid}")
    state, seconds = wait_until_off(vm, virsh, vm.knobs.stop_timeout, ask_guest=True)
    if state in ("", "shut off"):
        vm.say(f"the guest shut down after {seconds} seconds")
    else:
        vm.say(f"the guest did not shut down within {seconds} seconds: pulling the plug")
        kill_domain(vm, virsh, state)


def wait_until_off(vm: Vm, virsh: Virsh, seconds: int, *, ask_guest: bool) -> tuple[str, int]:
    """Wait until the domain is off; return its state, and the seconds that passed.

    The guest is asked again every ten seconds, as one that is still booting does not hear it.
    """
    passed = 0
    while True:
        if ask_guest and passed % 10 == 0:
            virsh.try_("shutdown", f"--domain={vm.domain.uuid}")  # whether the guest heard it shows in its state
        state = domain_state(virsh, vm.domain.uuid)
        if state in ("", "shut off", "crashed") or passed >= seconds:
            return state, passed
        time.sleep(1)
        passed += 1


def kill_domain(vm: Vm, virsh: Virsh, state: str) -> None:
    """Pull the plug."""
    if state in ("", "shut off"):
        return
    failure = virsh.try_("destroy", f"--domain={vm.domain.uuid}")
    if not failure:
        vm.say(f"stopped domain {vm.domain.name} (the plug was pulled)")
    elif domain_state(virsh, vm.domain.uuid) not in ("", "shut off"):
        raise Problem(f"could not stop domain {vm.domain.name}", failure)


def suspend_domain(vm: Vm, virsh: Virsh, state: str) -> None:
    """Let the guest stand still, in memory."""
    if state == "paused":
        vm.say("is suspended")
    elif state in RUNNING:
        _change(vm, virsh, "suspend", "suspended")
    else:
        raise _not_running(vm, state)


def resume_domain(vm: Vm, virsh: Virsh, state: str) -> None:
    """Let a guest go on that stands still, or that has suspended itself."""
    if state not in (*RUNNING, "paused", "pmsuspended"):
        raise _not_running(vm, state)
    if start_domain(vm, virsh, state):
        vm.say("is running")


def save_domain(vm: Vm, virsh: Virsh, domain: Domain) -> None:
    """Write the guest's memory to the node's disk, and stop it; the next start goes on from there, and runs."""
    if domain.state in (*RUNNING, "paused"):
        vm.say(f"saving {domain.memory_mib} MiB of memory on the node")
        try:
            _change(vm, virsh, "managedsave", "saved", "--running", seconds=memory_seconds(vm, domain))
        except Problem:
            let_go_on(vm, virsh, domain.state)
            raise
    elif vm.domain.uuid in list_domains(virsh, "--with-managed-save"):
        vm.say("is saved")
    else:
        raise _not_running(vm, domain.state)


def let_go_on(vm: Vm, virsh: Virsh, before: str) -> None:
    """Let a guest go on that ran, and that libvirt has left standing still since it failed to write its memory."""
    try:
        if before in RUNNING and domain_state(virsh, vm.domain.uuid) == "paused":
            virsh.try_("resume", f"--domain={vm.domain.uuid}")
    except Problem:
        return  # the first failure is the one to tell


def memory_seconds(vm: Vm, domain: Domain) -> int:
    """Return how long libvirt may take to write the guest's memory, or to read it."""
    return vm.knobs.command_timeout * (1 + domain.memory_mib // 64)


def _change(vm: Vm, virsh: Virsh, command: str, done: str, *options: str, seconds: int | None = None) -> None:
    try:
        virsh.ask(command, f"--domain={vm.domain.uuid}", *options, seconds=seconds)
    except Failed as error:
        raise Problem(f"domain {vm.domain.name} could not be {done}", str(error)) from None
    vm.say(f"{done} domain {vm.domain.name}")


def _not_running(vm: Vm, state: str) -> Problem:
    return Problem(f"the domain is {state}", f"'{vm.make} start' starts it")


def take_down_domain(vm: Vm, virsh: Virsh) -> list[str] | None:
    """Stop and delete the domain; return the paths of what it had as disks, or None where there was no domain."""
    before = domain = look(vm, virsh)
    if domain is not None and domain.state != "shut off" and vm.knobs.stop_timeout:
        stop_domain(vm, virsh, domain)  # else deleting it pulls the plug
        domain = look(vm, virsh)
        if domain is None:
            _undefine_rest(vm, virsh, list(_FLAGS))
    delete_domain_and_its_keys(vm, virsh, domain)
    return None if before is None else list(disk_sources(before.xml))


def delete_domain_and_its_keys(vm: Vm, virsh: Virsh, domain: Domain | None) -> list[str] | None:
    disks = None if domain is None else list(disk_sources(domain.xml))
    remove_reservations(vm, virsh, recorded_reservations(vm, domain))
    if domain is not None:
        snapshots = names_as_far_as_known(virsh, vm.domain.uuid)
        drop_all_copies(vm, virsh, domain.xml, bool(snapshots))
        delete_domain(vm, virsh, domain.state)
        if snapshots:
            vm.say(f"its snapshots went with it: {', '.join(snapshots)}")
    remove(vm.file("known_hosts"), vm.file("known_hosts.old"))
    return disks


_FLAGS = ("--managed-save", "--snapshots-metadata", "--checkpoints-metadata", "--nvram", "--tpm")


def delete_domain(vm: Vm, virsh: Virsh, state: str) -> None:
    """Delete the domain, whatever state it is in, with its NVRAM, TPM state, managed save and snapshots' metadata."""
    uuid, flags, failure = vm.domain.uuid, list(_FLAGS), ""
    how = "" if state == "shut off" else " (the plug was pulled)"
    for _ in range(4):
        if state != "shut off":
            virsh.try_("destroy", f"--domain={uuid}")
        failure = virsh.try_("undefine", f"--domain={uuid}", *flags)
        gone = not failure and virsh.try_("domstate", f"--domain={uuid}")  # a list would wait for other domains' plugs
        state = "" if gone else domain_state(virsh, uuid)
        if not state:
            if failure:
                _undefine_rest(vm, virsh, flags)
            vm.say(f"deleted domain {vm.domain.name}{how}")
            return
        if failure:
            # An older virsh does not know all of the options; else somebody has started the domain at this moment.
            known = virsh.ask("help", "undefine")
            flags = [flag for flag in flags if flag in known]
    raise Problem(f"could not delete domain {vm.domain.name}", failure or f"it is {state}")


def _undefine_rest(vm: Vm, virsh: Virsh, flags: list[str]) -> None:
    """A transient domain goes by itself when it stops, and its NVRAM stays: that goes with a defined one."""
    path = vm.file("domain.xml")
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            ours = f"<uuid>{vm.domain.uuid}</uuid>" in file.read()
    except OSError:
        return
    if ours and not virsh.try_("define", f"--file={path}"):
        virsh.try_("undefine", f"--domain={vm.domain.uuid}", *flags)

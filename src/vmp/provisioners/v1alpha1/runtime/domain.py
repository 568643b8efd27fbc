"""The domain's states: defined, started, stopped, killed. Ours is the one with our UUID, whatever its name."""

from __future__ import annotations

import shlex
import time

from .conversation import Failed
from .facts import Vm
from .libvirt import RUNNING, Domain, domain_state, list_domains
from .say import Problem
from .virsh import Virsh


def define_domain(vm: Vm, virsh: Virsh, path: str) -> None:
    """Define the domain from its XML file."""
    failure = virsh.try_("define", f"--file={path}")
    if not failure and vm.domain.autostart:
        failure = virsh.try_("autostart", f"--domain={vm.domain.uuid}")
    if failure:
        raise Problem(f"could not create domain {vm.domain.name}", failure)
    vm.say(f"created domain {vm.domain.name}")


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
        if domain_state(virsh, vm.domain.uuid) in RUNNING:  # another client was faster
            return False
        hints = _hints_of_managed_save(vm, virsh)
        raise Problem(f"could not create and start domain {vm.domain.name}", str(error), *hints) from None
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
    if domain.state == "crashed" or vm.knobs.stop_timeout == 0:
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

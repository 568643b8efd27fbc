"""`install`: the first phase of a machine, in which an installer writes its disks until the guest turns itself off.

Nothing but libvirt knows how far it is: the domain's metadata say that it is in its first phase, and its state says
whether the guest has turned itself off, or somebody or something else has. Only the first counts as an end.
"""

from __future__ import annotations

import time

from .console import Following
from .deletion import delete_written_volumes
from .domain import delete_domain_and_its_keys, ensure_autostart, kill_domain, start_domain
from .facts import Vm
from .knobs import FORCE, is_forced
from .libvirt import RUNNING, Domain, parse, state_and_reason
from .look import look, must_be_there
from .making import Run, make_what_is_missing, prepare
from .pools import start_stopped_pools
from .progress import Progress
from .record import BEGUN, DEFINED, ENDED, new_record, read_record, write_record
from .redefinition import redefine
from .say import Problem
from .storage import glance_at_volumes
from .virsh import Virsh

_OFF = ("shut off", "crashed")
_WRITTEN = 1 << 20
"""Bytes that any installed system has at least. An empty qcow2 volume takes a fifth of that."""


def install(run: Run) -> None:
    """Have the system installed, or wait for the end of that; begin again on fresh volumes what did not end well."""
    vm, virsh = run.vm, run.virsh
    if not vm.installs:
        raise Problem("nothing is installed in this VM", "libvirt.domain.install in the registry would say how")
    domain = prepare(run, makes_domain=True)
    if domain and not domain.phase:
        vm.say("is installed")
        return
    if domain and not _may_go_on(run, domain):
        _delete_what_was_begun(run, domain)
        domain = prepare(run, makes_domain=True)
    make_what_is_missing(run, domain)
    go_on_installing(run, domain or must_be_there(vm, virsh))


def go_on_installing(run: Run, domain: Domain) -> None:
    """Begin the first phase, or go on waiting for its end; then the lasting definition takes its place."""
    vm, virsh = run.vm, run.virsh
    said: list[str] = []
    if domain.phase != ENDED:
        state, reason = state_and_reason(virsh, vm.domain.uuid)
        begins = _is_to_begin(domain, state, reason)
        if begins:
            start_domain(vm, virsh, state)
            write_record(vm, virsh, new_record(vm, BEGUN), "--config")
        if begins or state not in _OFF:
            assert run.turn  # both targets that come here take turns
            with Following(vm) as console, run.turn.let_others():
                _wait_for_end(vm, virsh, console)
            said = console.tail()
        domain = must_be_there(vm, virsh)
    if domain.phase in (DEFINED, BEGUN):
        _refuse_bad_end(vm, virsh, said)
        write_record(vm, virsh, new_record(vm, ENDED), "--config")  # libvirt forgets how a domain has ended
    if domain.phase:  # else another run has waited, too, and was first
        _make_lasting(run, domain)


def _is_to_begin(domain: Domain, state: str, reason: str) -> bool:
    """Tell whether the first phase is to be begun, or, where its memory was saved, to be gone on with."""
    unborn = domain.phase == DEFINED and reason in ("unknown", "failed", "daemon")
    return state == "shut off" and (unborn or reason == "saved")


def _may_go_on(run: Run, domain: Domain) -> bool:
    """Tell whether the first phase goes on, is to begin, or has ended well; say what is wrong with it otherwise."""
    state, reason = state_and_reason(run.virsh, run.vm.domain.uuid)
    if domain.phase == ENDED or state not in _OFF or _is_to_begin(domain, state, reason):
        return True
    try:
        _refuse_bad_end(run.vm, run.virsh, [])
    except Problem as problem:
        run.vm.say(f"{problem}")
        return False
    return True


def _delete_what_was_begun(run: Run, domain: Domain) -> None:
    """Delete what the installer has written. The domain goes last: until then a next run does this again."""
    vm, virsh = run.vm, run.virsh
    vm.say("the installation begins again, on fresh volumes")
    kill_domain(vm, virsh, domain.state)
    start_stopped_pools(vm, virsh)
    delete_written_volumes(vm, virsh, run.users)
    delete_domain_and_its_keys(vm, virsh, look(vm, virsh))


def _wait_for_end(vm: Vm, virsh: Virsh, console: Following) -> None:
    """Wait until the guest is off, whatever has turned it off. A libvirt that is away for a while is waited for."""
    deadline = time.monotonic() + vm.knobs.install_timeout
    trouble = ""
    with Progress(
        vm,
        "installing",
        seconds=vm.knobs.install_timeout,
        note=lambda: " ".join(filter(None, [trouble, console.last()])),
    ):
        while True:
            try:
                state, reason = state_and_reason(virsh, vm.domain.uuid)
                if state in ("", *_OFF) or not _is_installing(vm, virsh):
                    return
                trouble = "" if state in RUNNING else f"(the guest is {state}: {reason})"
            except Problem as problem:
                trouble = f"(libvirt does not answer: {problem})"
            if time.monotonic() >= deadline:
                break
            time.sleep(1)
    raise Problem(
        f"not installed after {vm.knobs.install_timeout} seconds",
        trouble.strip("()"),
        *console.tail(),
        f"the installer still runs: '{vm.make} console' shows it, '{vm.make} up' waits for it again,",
        f"for longer with V1ALPHA1_INSTALL_TIMEOUT_SECS; '{vm.make} stop install' begins again on fresh volumes",
    )


def _is_installing(vm: Vm, virsh: Virsh) -> bool:
    """Tell whether the next start would still be the installer's; not after another run has seen the end."""
    record = read_record(parse(virsh.ask("dumpxml", f"--domain={vm.domain.uuid}", "--inactive"), "libvirt's answer"))
    return record is not None and bool(record.phase)


def _refuse_bad_end(vm: Vm, virsh: Virsh, said: list[str]) -> None:
    """Refuse a domain that is off otherwise than by its guest, or whose guest has written nothing."""
    if is_forced():
        return
    state, reason = state_and_reason(virsh, vm.domain.uuid)
    again = f"'{vm.make} install' begins it again, on fresh volumes"
    forced = f"'{vm.make} up {FORCE}=yes' takes what is on the disks for an installed system"
    if state != "shut off" or reason not in ("shutdown", "unknown"):
        raise Problem(f"the installation was broken off: the domain is {state} ({reason})", *said, again, forced)
    if reason == "unknown":
        raise Problem(
            "nobody saw how the installation ended: libvirt, or its node, was started anew since", *said, again, forced
        )
    keys = [(volume.pool, volume.name) for volume in vm.volumes if not volume.file and volume.key in vm.domain.volumes]
    facts = glance_at_volumes(virsh, keys)
    if keys and all(found is None or found.allocation < _WRITTEN for found in facts):
        raise Problem(
            "the guest turned itself off, and has written nothing to its disks: nothing is installed",
            *said,
            "see whether the installer finds its disks, and what it is to do with them",
            again,
            forced,
        )


def _make_lasting(run: Run, domain: Domain) -> None:
    """Put the lasting definition in place of that of the first phase."""
    vm, virsh = run.vm, run.virsh
    there = parse(virsh.ask("dumpxml", f"--domain={vm.domain.uuid}", "--inactive"), "libvirt's answer")
    redefine(vm, virsh, run.answers, vm.while_installing() if vm.installs else vm, there)
    vm.say("is installed")
    ensure_autostart(vm, virsh)

"""`install`: the first phase of a machine, in which an installer writes its disks until the guest turns itself off.

Nothing but libvirt knows how far it is (see `phases`). Only a guest that has turned itself off, and has written its
disks, has come to an end; libvirt forgets how a domain ended, so an end that was seen is noted in its metadata.
"""

from __future__ import annotations

import time

from .definition import install_sum
from .deletion import delete_written_volumes
from .domain import delete_domain_and_its_keys, ensure_autostart, kill_domain, start_domain
from .facts import Vm
from .files import remove
from .following import Following
from .knobs import FORCE, is_forced
from .libvirt import RUNNING, Domain, parse
from .look import must_be_there
from .making import Run, make_what_is_missing, prepare
from .phases import BEGIN, BROKEN, WAIT, Standing, look_at_installation
from .pools import start_stopped_pools
from .progress import Progress
from .record import BEGUN, ENDED, Record, configured_record, write_record
from .redefinition import installed_record, redefine
from .say import Problem
from .storage import glance_at_volumes
from .virsh import Virsh

_WRITTEN = 1 << 20
"""Bytes that any installed system has at least. An empty qcow2 volume takes a fifth of that."""


def install(run: Run) -> None:
    """Have the system installed, or wait for the end of that; begin again on fresh volumes what did not end well."""
    vm = run.vm
    is_forced()  # a misspelt word ends the run before anything is judged
    if not vm.installs:
        raise Problem("nothing is installed in this VM", "libvirt.domain.install in the registry would say how")
    domain = prepare(run, makes_domain=True)
    if domain and not domain.phase:
        vm.say("is installed")
        return
    domain = make_anew_unless_begun(run, domain)
    if domain and _has_ended_badly(run):
        _delete_what_was_begun(run, domain)
        domain = prepare(run, makes_domain=True)
    make_what_is_missing(run, domain)
    go_on_installing(run)


def make_anew_unless_begun(run: Run, domain: Domain | None) -> Domain | None:
    """Delete a domain that was never started, and that the directory would have made otherwise by now."""
    vm, virsh = run.vm, run.virsh
    standing = look_at_installation(vm, virsh) if domain and vm.installs else None
    if domain is None or standing is None or standing.next != BEGIN or standing.saved:
        return domain
    record = configured_record(vm, virsh)
    if record is None or (record.is_current(vm) and record.install == install_sum(vm)):
        return domain
    vm.say("the directory has changed since the domain was made, and it was never started: it is made anew")
    delete_domain_and_its_keys(vm, virsh, domain)
    return prepare(run, makes_domain=True)


def go_on_installing(run: Run) -> None:
    """Begin the first phase, or go on waiting for its end; then the lasting definition takes its place."""
    vm, virsh = run.vm, run.virsh
    said: list[str] | None = None
    while True:
        standing = look_at_installation(vm, virsh)
        if standing is None:
            return  # another run has waited, too, and was first
        if standing.next == BEGIN and said is None:
            start_domain(vm, virsh, standing.state)
            _note(vm, virsh, BEGUN)
        elif standing.next == BEGIN:
            raise Problem("the guest's memory was saved", f"'{vm.make} up' lets the installer go on")
        elif standing.next == WAIT:
            if standing.state in ("paused", "pmsuspended"):  # one that is shutting down must not be started again
                start_domain(vm, virsh, standing.state)
            said = _wait(run)
        else:
            break
    if standing.phase != ENDED:
        bad = _bad_end(vm, virsh, standing)
        if bad:
            raise Problem(bad[0], *(said or []), *bad[1:])
        _note(vm, virsh, ENDED)
    _make_lasting(run)


def _note(vm: Vm, virsh: Virsh, phase: str) -> None:
    """Note in the domain's metadata how far it is."""
    write_record(vm, virsh, _begun(vm, virsh)._replace(phase=phase), "--config")


def _begun(vm: Vm, virsh: Virsh) -> Record:
    record = configured_record(vm, virsh)
    if record is None:
        raise Problem(f"domain {vm.domain.name} is not as this provisioner made it", f"'{vm.make} status' says more")
    return record


def _wait(run: Run) -> list[str]:
    """Wait for the end, while other runs may take their turn; return the end of the console."""
    assert run.turn  # both targets that come here take turns
    with Following(run.vm) as console, run.turn.let_others():
        try:
            _wait_for_end(run.vm, run.virsh, console)
        except KeyboardInterrupt:
            run.vm.say(f"the installer goes on; '{run.vm.make} up' waits for it again")
            raise
    return console.tail()


def _wait_for_end(vm: Vm, virsh: Virsh, console: Following) -> None:
    """Wait until the guest is off, whatever has turned it off. A libvirt that is away for a while is waited for."""
    deadline = time.monotonic() + vm.knobs.install_timeout
    trouble = ""

    def note() -> str:
        return " ".join(filter(None, [trouble, console.last()]))

    with Progress(vm, "installing", seconds=vm.knobs.install_timeout, note=note):
        while True:
            try:
                standing = look_at_installation(vm, virsh)
                if standing is None or standing.next != WAIT:
                    return
                trouble = "" if standing.state in RUNNING else f"(the guest is {standing.state}: {standing.reason})"
                if standing.reason == "I/O error":
                    break
            except Problem as problem:
                trouble = f"(libvirt does not answer: {problem})"
            if time.monotonic() >= deadline:
                break
            time.sleep(1)
    if "I/O error" in trouble:
        hint = f"see whether the node's disk is full; then '{vm.make} up' lets the installer go on"
        raise Problem("the guest stands still: it could not write its disk", *console.tail(), hint)
    raise Problem(
        f"not installed after {vm.knobs.install_timeout} seconds",
        trouble.strip("()"),
        *console.tail(),
        f"the installer still runs: '{vm.make} console' shows it, '{vm.make} up' waits for it again,",
        f"for longer with V1ALPHA1_INSTALL_TIMEOUT_SECS; '{vm.make} stop install' begins again on fresh volumes",
    )


def _bad_end(vm: Vm, virsh: Virsh, standing: Standing) -> list[str]:
    """Return what is wrong with the end, and the ways out; nothing for a good one, or one that is forced to be."""
    if is_forced():
        return []
    ways = [
        f"'{vm.make} install' begins it again, on fresh volumes" if vm.installs else f"'{vm.make} down up' begins anew",
        f"'{vm.make} up {FORCE}=yes' takes what is on the disks for an installed system",
    ]
    if standing.next == BROKEN and standing.reason == "unknown":
        return ["nobody saw how the installation ended: libvirt, or its node, was started anew since", *ways]
    if standing.next == BROKEN:
        return [f"the installation was broken off: the domain is {standing.state} ({standing.reason})", *ways]
    if _has_written_nothing(vm, virsh):
        hint = "see whether the installer finds its disks, and what it is to do with them"
        return ["the guest turned itself off, and has written nothing to its disks: nothing is installed", hint, *ways]
    return []


def _has_written_nothing(vm: Vm, virsh: Virsh) -> bool:
    """Tell whether the disks are as empty as they were made. Those to be retained may have been full before."""
    blank = [volume for volume in vm.volumes if not (volume.file or volume.backing or volume.retained)]
    keys = [(volume.pool, volume.name) for volume in blank if volume.key in vm.domain.volumes]
    start_stopped_pools(vm, virsh)
    facts = glance_at_volumes(virsh, keys)
    return bool(keys) and all(found is None or found.allocation < _WRITTEN for found in facts)


def _has_ended_badly(run: Run) -> bool:
    """Tell whether the first phase has come to a bad end, and say what that was."""
    standing = look_at_installation(run.vm, run.virsh)
    if standing is None or standing.next in (BEGIN, WAIT) or standing.phase == ENDED:
        return False
    bad = _bad_end(run.vm, run.virsh, standing)
    if bad:
        run.vm.say(bad[0])
    return bool(bad)


def _delete_what_was_begun(run: Run, domain: Domain) -> None:
    """Delete what the installer has written. The domain goes last: until then a next run does this again."""
    vm, virsh = run.vm, run.virsh
    vm.say("the installation begins again, on fresh volumes")
    kill_domain(vm, virsh, domain.state)
    start_stopped_pools(vm, virsh)
    delete_written_volumes(vm, virsh, run.users, frozenset([vm.domain.name, domain.name]))
    delete_domain_and_its_keys(vm, virsh, must_be_there(vm, virsh))


def _make_lasting(run: Run) -> None:
    """Put the lasting definition in place of that of the first phase."""
    vm, virsh = run.vm, run.virsh
    there = parse(virsh.ask("dumpxml", f"--domain={vm.domain.uuid}", "--inactive"), "libvirt's answer")
    before = vm.while_installing() if vm.installs else vm
    redefine(vm, virsh, run.answers, before, there, installed_record(vm, _begun(vm, virsh)))
    remove(vm.file("known_hosts"), vm.file("known_hosts.old"))  # an installer may have had keys of its own
    vm.say("is installed")
    ensure_autostart(vm, virsh)

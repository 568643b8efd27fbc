"""The targets of a fleet. Each machine is brought up or down by the same code as alone, at most JOBS at a time.

`make -j8` is JOBS=8. A machine whose directory another version of vmp wrote is left to that directory's own make.
"""

from __future__ import annotations

import os
import subprocess
from functools import partial

from .differences import is_as_declared, lines_of_diff, tell_diff
from .domain import take_down_domain
from .facts import Vm
from .fleet import Fleet, Judged, make_of, select
from .fleet_work import do_fleet, own_make
from .lifecycle import finish_down
from .look import look
from .making import Run
from .record import tell_stale
from .say import Problem, write
from .seen import Seen
from .targets import perform, take_turns
from .vm_json import read_json

VMS_JSON = "vms.json"
FLEET = ".fleet"
"""The directory of a fleet's own program."""

HELP_FLEET = """\
All VMs of this directory, or those in VMS.

make up                  make and start what is not running; asks each node once
make down                stop them, delete all but what is to be retained, clean
make diff                what differs between the directories and libvirt, and when apply brings it
make apply               bring it, and keep every disk
make status              one line for each VM; an error unless all are running
make list                their names

make -j8 up              eight VMs at a time (or JOBS=8); -k goes on with the others after one that failed
make up VMS="web db"     these two
make up VMS='web-*'      those whose names match; in a name with spaces, ? stands for one

V=1 shows each command as it is run. Knobs are those of the VMs, as in make down V1ALPHA1_STOP_TIMEOUT_SECS=10
('make -C VM help' lists them). More can be done with one VM: make -C VM help"""


def fleet_up(fleet: Fleet) -> None:
    """Make and start what is not running."""
    judged = fleet.judge()
    todo = []
    for name, vm in fleet.vms.items():
        found = judged.get(name)
        if vm is None or found is None:
            todo.append(name)
        elif not found.known:
            fleet.failed = True  # its node did not answer, and that was said
        elif found.current and found.state == "running":
            write(f"{name}: is running")
        else:
            todo.append(name)
    do_fleet(fleet, todo, "up", lambda run: perform(run, "up"))


def fleet_down(fleet: Fleet) -> None:
    """Take all machines down: first all domains, then what they have stored.

    So who uses a volume is found out once for all of them, and nobody waits for the plug of another's domain.
    """
    gone: dict[str, list[str] | None] = {}

    def first(run: Run) -> None:
        gone[run.vm.name] = take_down_domain(run.vm, run.virsh)

    def then(run: Run) -> None:
        if look(run.vm, run.virsh) is not None:
            raise Problem("another run has made the domain anew", "nothing else of this VM is deleted")
        finish_down(run, gone[run.vm.name])

    do_fleet(fleet, fleet.vms, "down", partial(take_turns, work=first))
    do_fleet(fleet, [name for name in fleet.vms if name in gone], "down", partial(take_turns, work=then))


def fleet_status(fleet: Fleet) -> None:
    """Print one line for each machine."""
    judged = fleet.judge()
    nodes = {name: vm.node if vm else "-" for name, vm in fleet.vms.items()}
    width, node_width = max(map(len, nodes), default=0), max(map(len, nodes.values()), default=0)
    for name, vm in fleet.vms.items():
        if vm is None:
            found = Judged(
                "running" if own_make(fleet, name, "status", subprocess.DEVNULL) == 0 else "not running", True
            )
        else:
            found = judged[name]
        fleet.failed = fleet.failed or found.state != "running"
        write(f"{name:<{width}}  {nodes[name]:<{node_width}}  {found.state}", stream=1)
    for name, vm in fleet.vms.items():
        if vm and not judged[name].current and judged[name].known and judged[name].state != "not there":
            _explain(fleet, vm)


def fleet_diff(fleet: Fleet) -> int:
    """Print what differs, of all machines; return 0 if nothing does, 1 if something does, 2 for trouble."""
    seen = fleet.see()
    differs = False
    for name, vm in fleet.vms.items():
        if vm is None:
            other = Problem("another version of vmp wrote its directory", f"'{make_of(name)}' says what it can do")
            fleet.complain(f"{name}: {other.text()}")
        elif name in seen:
            found = seen[name]
            if isinstance(found, Problem):
                fleet.complain(f"{name}: {found.text()}")
                continue
            differs = _tell_diff_of(fleet, vm, found) or differs
    return 2 if fleet.failed else int(differs)


def _tell_diff_of(fleet: Fleet, vm: Vm, seen: Seen | None) -> bool:
    """Print the lines of one machine; return whether there are any. Its networks are asked for here."""
    virsh = fleet.take(vm)
    try:
        lines = lines_of_diff(vm, virsh, seen)
        tell_diff(vm, seen, lines, f"{vm.name}: ")
        return bool(lines)
    except Problem as problem:
        fleet.complain(f"{vm.name}: {problem.text()}")
        return False
    finally:
        fleet.give_back(vm, virsh)


def fleet_apply(fleet: Fleet) -> None:
    """Apply where something differs, or waits for a guest."""
    seen = fleet.see()
    todo = []
    for name, vm in fleet.vms.items():
        if vm and _is_as_declared(vm, seen.get(name)):
            write(f"{name}: is as the directory says")
        elif vm is None or name in seen:  # else its node did not answer, and that was said
            todo.append(name)
    do_fleet(fleet, todo, "apply", lambda run: perform(run, "apply"))


def _is_as_declared(vm: Vm, seen: Seen | Problem | None) -> bool:
    try:
        return isinstance(seen, Seen) and is_as_declared(vm, seen)
    except Problem:
        return False  # its own run says what is wrong


def _explain(fleet: Fleet, vm: Vm) -> None:
    """Say what is wrong with a domain, in the words of the machine's own targets."""
    virsh = fleet.take(vm)
    try:
        tell_stale(vm, virsh, look(vm, virsh))
    except Problem as problem:
        write(f"{vm.name}: {problem.text()}")
    finally:
        fleet.give_back(vm, virsh)


def run_fleet(base: str, target: str) -> int:
    """Do what a target of the fleet's Makefile says; return the exit code."""
    if target == "help":
        write(HELP_FLEET, stream=1)
        return 0
    facts = read_json(os.path.join(base, FLEET, VMS_JSON), f"{FLEET}/{VMS_JSON}", "which names the VMs of the fleet")
    names = facts.get("vms") if isinstance(facts, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Problem(f"{FLEET}/{VMS_JSON} is not as vmp writes it", "'vmp gen --fleet' writes it anew")
    names = select(names)
    if target == "list":
        for name in names:
            write(name, stream=1)
        return 0
    if target not in ("up", "down", "diff", "apply", "status"):
        write(f"error: there is no target '{target}'; 'make help' lists them")
        return 2
    fleet = Fleet(base, names)
    try:
        if target == "up":
            fleet_up(fleet)
        elif target == "diff":
            return fleet_diff(fleet)
        elif target == "apply":
            fleet_apply(fleet)
        elif target == "status":
            fleet_status(fleet)
        else:
            fleet_down(fleet)
    finally:
        fleet.close()
    return 1 if fleet.failed else 0

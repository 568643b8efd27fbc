"""A fleet: all machines of a directory at once. Each node is asked once, all nodes at the same time.

What has to be done is done by the same code as for one machine, at most JOBS machines at a time (`make -j8` is JOBS=8).
A machine whose directory another version of vmp wrote is left to that directory's own make.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from .definition import is_current, tell_stale
from .domain_xml import Answers
from .facts import Vm, read_vm
from .files import read_text
from .libvirt import NAMESPACE, list_domains, look_at_domain, parse
from .look import Seen, refuse_foreign_domain
from .node import connection
from .programs import end_all
from .say import Problem, write
from .targets import Run, perform
from .virsh import Virsh

VMS_JSON = "vms.json"

HELP_FLEET = """\
All VMs of this directory, or those in VMS.

make up                  make and start what is not running; asks each node once
make down                stop them, delete all but what is to be retained, clean
make status              one line for each VM; an error unless all are running
make list                their names

make -j8 up              eight VMs at a time (or JOBS=8); -k goes on with the others after one that failed
make up VMS="web db"     these two
make up VMS='web-*'      those whose names match; in a name with spaces, ? stands for one

V=1 shows each command as it is run. Knobs are those of the VMs, as in make down V1ALPHA1_STOP_TIMEOUT_SECS=10
('make -C VM help' lists them). More can be done with one VM: make -C VM help"""


class Judged(NamedTuple):
    """What is known of one machine without a look at its storage."""

    state: str
    current: bool
    """It is ours, and was made from what its directory says now."""
    known: bool = True
    """False where the node did not answer."""


class Fleet:
    """The machines of one run."""

    def __init__(self, base: str, names: Iterable[str]) -> None:
        self.base = base
        self.failed = False
        self.answers = Answers()
        self.vms: dict[str, Vm | None] = {}
        """By name; None for a machine whose directory another version wrote."""
        for name in names:
            self._read(name)
        self._idle: dict[str, list[Virsh]] = {}
        self._lock = threading.Lock()

    def _read(self, name: str) -> None:
        directory = os.path.join(self.base, name)
        try:
            ours = _first_line(os.path.join(directory, "provisioner.py")) == _first_line(__file__)
            if not ours and os.path.exists(os.path.join(directory, "Makefile")):
                self.vms[name] = None
                return
            vm = read_vm(directory, f"'{name}/vm.json'")
            vm.make = _make_of(name)
            self.vms[name] = vm
        except Problem as problem:
            self.complain(problem.text())

    def complain(self, text: str) -> None:
        """Say an error, and remember that there was one."""
        write(text)
        self.failed = True

    def take(self, vm: Vm) -> Virsh:
        """Return a conversation with the machine's node that nobody else uses."""
        with self._lock:
            idle = self._idle.setdefault(vm.uri, [])
            if idle:
                return idle.pop()
        return Virsh(connection(vm), vm.knobs.command_timeout, vm.directory, vm.uri)

    def give_back(self, vm: Vm, virsh: Virsh) -> None:
        """Let others use a conversation."""
        with self._lock:
            self._idle[vm.uri].append(virsh)

    def close(self) -> None:
        """End all conversations."""
        for idle in self._idle.values():
            for virsh in idle:
                virsh.close()
        end_all()

    def judge(self) -> dict[str, Judged]:
        """Ask all nodes at the same time how their machines are."""
        nodes: dict[str, list[Vm]] = {}
        for vm in filter(None, self.vms.values()):
            nodes.setdefault(vm.uri, []).append(vm)
        found: dict[str, Judged] = {}
        at_once([partial(self._judge_node, vms, found) for vms in nodes.values()], len(nodes))
        return found

    def _judge_node(self, vms: list[Vm], found: dict[str, Judged]) -> None:
        try:
            virsh = self.take(vms[0])
        except Problem as problem:
            self.complain(f"{vms[0].name}: {problem.text()}")
            found.update({vm.name: Judged("not known", False, False) for vm in vms})
            return
        try:
            domains = list_domains(virsh)
            running = list_domains(virsh, "--state-running")
            off = list_domains(virsh, "--state-shutoff")
            for vm in vms:
                found[vm.name] = _judge_vm(vm, virsh, domains, running, off)
        except Problem as problem:
            reason = Problem("libvirt did not answer as it should", str(problem), *problem.hints)
            self.complain(f"node {vms[0].node}: {reason.text()}")
            found.update({vm.name: Judged("not known", False, False) for vm in vms})
        finally:
            self.give_back(vms[0], virsh)


def _judge_vm(vm: Vm, virsh: Virsh, domains: dict[str, str], running: dict[str, str], off: dict[str, str]) -> Judged:
    uuid = vm.domain.uuid
    if uuid not in domains:
        taken = vm.domain.name in domains.values()
        return Judged("another domain of that name" if taken else "not there", False)
    state = "running" if uuid in running else "shut off" if uuid in off else ""
    if not state:
        state = virsh.ask("domstate", f"--domain={uuid}").strip()
    try:
        mark = parse(virsh.ask("metadata", f"--domain={uuid}", f"--uri={NAMESPACE}"), "a mark").attrib
        current = domains[uuid] == vm.domain.name and is_current(vm, dict(mark))
    except Problem:  # its own run says what is wrong
        current = False
    return Judged(state, current)


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline()
    except (OSError, ValueError):
        return ""


def _make_of(name: str) -> str:
    return f"make -C {shlex.quote(name) if re.search('[^A-Za-z0-9._-]', name) else name}"


def at_once(work: list[Callable[[], None]], jobs: int) -> None:
    """Do work in so many threads, in order, and raise the first error. The main thread waits, and so hears Ctrl+C."""
    left = deque(work)
    errors: list[BaseException] = []

    def do() -> None:
        try:
            while left and not errors:
                left.popleft()()
        except IndexError:
            return  # another thread took the last piece
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=do, daemon=True) for _ in range(min(jobs, len(work)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def jobs_and_keep_going() -> tuple[int, bool]:
    """Return how many machines may be at work at a time, from JOBS or make's -j, and whether one failure ends all."""
    flags = os.environ.get("MAKEFLAGS", "")
    keep = "k" in flags.split(" ")[0].lstrip("-") or "--keep-going" in flags
    given = re.search(r"(?:^| )-j ?([0-9]*)", flags)
    jobs = os.environ.get("JOBS", "") or (given and (given[1] or "8")) or "1"
    if not re.fullmatch("[1-9][0-9]{0,3}", jobs):
        raise Problem(f"JOBS is '{jobs}', not a number of VMs")
    return int(jobs), keep


def do_fleet(fleet: Fleet, target: str, names: list[str]) -> None:
    """Bring machines up or take them down. After one that failed no other is begun, unless make was told -k."""
    jobs, keep = jobs_and_keep_going()
    stopped = threading.Event()

    def one(name: str) -> None:
        if stopped.is_set():
            return
        vm = fleet.vms[name]
        good = _perform(fleet, vm, target) if vm else _own_make(fleet, name, target) == 0
        if not good:
            fleet.failed = True
            if not keep:
                stopped.set()

    at_once([partial(one, name) for name in names], jobs)


def _perform(fleet: Fleet, vm: Vm, target: str) -> bool:
    try:
        virsh = fleet.take(vm)
        try:
            virsh.seconds = vm.knobs.command_timeout
            return perform(Run(vm, virsh, fleet.answers), target) == 0
        finally:
            fleet.give_back(vm, virsh)
    except Problem as problem:
        write(f"{vm.name}: {problem.text()}")
    except OSError as error:
        write(f"{vm.name}: error: {error}")
    return False


def _own_make(fleet: Fleet, name: str, target: str, output: int | None = None) -> int:
    environment = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    environment["VMP_MAKE"] = _make_of(name)
    words = ["make", "--no-print-directory", "-C", os.path.join(fleet.base, name), target]
    return subprocess.run(words, env=environment, stdout=output, check=False).returncode


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
    do_fleet(fleet, "up", todo)


def fleet_status(fleet: Fleet) -> None:
    """Print one line for each machine."""
    judged = fleet.judge()
    nodes = {name: vm.node if vm else "-" for name, vm in fleet.vms.items()}
    width, node_width = max(map(len, nodes), default=0), max(map(len, nodes.values()), default=0)
    for name, vm in fleet.vms.items():
        if vm is None:
            found = Judged(
                "running" if _own_make(fleet, name, "status", subprocess.DEVNULL) == 0 else "not running", True
            )
        else:
            found = judged[name]
        fleet.failed = fleet.failed or found.state != "running"
        write(f"{name:<{width}}  {nodes[name]:<{node_width}}  {found.state}", stream=1)
    for name, vm in fleet.vms.items():
        if vm and not judged[name].current and judged[name].known and judged[name].state != "not there":
            _explain(fleet, vm)


def _explain(fleet: Fleet, vm: Vm) -> None:
    """Say what is wrong with a domain, in the words of the machine's own targets."""
    virsh = fleet.take(vm)
    try:
        domains = list_domains(virsh)
        domain = look_at_domain(virsh, vm.domain.uuid, domains)
        if domain is not None:
            refuse_foreign_domain(vm, Seen(domains, domain))
            tell_stale(vm, domain)
    except Problem as problem:
        write(f"{vm.name}: {problem.text()}")
    finally:
        fleet.give_back(vm, virsh)


def select(names: list[str]) -> list[str]:
    """Return the names that VMS picks, each by itself or by a pattern; all without it."""
    wanted = os.environ.get("VMS")
    if wanted is None:
        return names
    picked: set[str] = set()
    wrong = []
    for pattern in re.findall("[^ \t\n]+", wanted):
        escaped = re.sub(r"\\(.)", r"[\1]", pattern)  # as a shell reads patterns
        found = [name for name in names if name == pattern or fnmatch.fnmatchcase(name, escaped)]
        picked.update(found)
        if not found:
            wrong.append(Problem(f"VMS: there is no VM '{pattern}' here", "'make list' lists them").text())
    if not picked and not wrong:
        wrong.append(Problem("VMS is empty", "leave it out for all VMs").text())
    if wrong:
        raise Problem("\n".join(wrong).removeprefix("error: "))
    return [name for name in names if name in picked]


def run_fleet(base: str, target: str) -> int:
    """Do what a target of the fleet's Makefile says; return the exit code."""
    if target == "help":
        write(HELP_FLEET, stream=1)
        return 0
    try:
        names = select(json.loads(read_text(os.path.join(base, ".fleet", VMS_JSON)))["vms"])
    except (ValueError, KeyError):
        raise Problem(f".fleet/{VMS_JSON} is not as vmp writes it", "'vmp gen --fleet' writes it anew") from None
    if target == "list":
        for name in names:
            write(name, stream=1)
        return 0
    if target not in ("up", "down", "status"):
        write(f"error: there is no target '{target}'; 'make help' lists them")
        return 2
    fleet = Fleet(base, names)
    try:
        if target == "up":
            fleet_up(fleet)
        elif target == "status":
            fleet_status(fleet)
        else:
            do_fleet(fleet, "down", list(fleet.vms))
    finally:
        fleet.close()
    return 1 if fleet.failed else 0

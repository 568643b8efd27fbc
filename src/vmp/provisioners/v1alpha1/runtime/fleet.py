"""A fleet: all machines of a directory, and how they are. Each node is asked once, all nodes at the same time."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from .conversation import Failed
from .definition import is_current
from .domain_xml import Answers
from .facts import Vm, read_vm
from .libvirt import NAMESPACE, domain_state, list_domains, parse
from .look import installing_in_words
from .node import connection
from .programs import end_all
from .say import Problem, write
from .seen import Seen, see
from .users import LastingUsers
from .virsh import Virsh


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
        self.users = {vm.uri: LastingUsers() for vm in self.vms.values() if vm}
        """Who uses the volumes of each node, by its URI."""
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
            vm.make = make_of(name)
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
        found: dict[str, Judged] = {}
        known = self.ask_nodes(lambda virsh, vms: _judge_node(virsh, vms, found))
        unknown = Judged("not known", current=False, known=False)
        return {vm.name: found[vm.name] if vm.name in known else unknown for vm in filter(None, self.vms.values())}

    def see(self) -> dict[str, Seen | Problem | None]:
        """Look at the machines of all nodes at the same time; those of a node that did not answer are left out."""
        found: dict[str, Seen | Problem | None] = {}
        self.ask_nodes(lambda virsh, vms: found.update(zip([vm.name for vm in vms], see(virsh, vms))))
        return found

    def ask_nodes(self, ask: Callable[[Virsh, list[Vm]], None]) -> set[str]:
        """Ask all nodes at the same time about their machines; return the names of those whose node has answered."""
        nodes: dict[str, list[Vm]] = {}
        for vm in filter(None, self.vms.values()):
            nodes.setdefault(vm.uri, []).append(vm)
        answered: set[str] = set()
        at_once([partial(self._ask_node, vms, ask, answered) for vms in nodes.values()], len(nodes))
        return answered

    def _ask_node(self, vms: list[Vm], ask: Callable[[Virsh, list[Vm]], None], answered: set[str]) -> None:
        try:
            virsh = self.take(vms[0])
        except Problem as problem:
            self.complain(f"{vms[0].name}: {problem.text()}")
            return
        try:
            ask(virsh, vms)
            answered.update([vm.name for vm in vms])
        except Problem as problem:
            reason = Problem("libvirt did not answer as it should", str(problem), *problem.hints)
            self.complain(f"node {vms[0].node}: {reason.text()}")
        finally:
            self.give_back(vms[0], virsh)


def _judge_node(virsh: Virsh, vms: list[Vm], found: dict[str, Judged]) -> None:
    domains = list_domains(virsh)
    running = list_domains(virsh, "--state-running")
    off = list_domains(virsh, "--state-shutoff")
    there = [vm.domain.uuid for vm in vms if vm.domain.uuid in domains]
    asked = [("metadata", f"--domain={uuid}", f"--uri={NAMESPACE}", "--config") for uuid in there]
    marks = dict(zip(there, virsh.ask_all(*asked)))
    for vm in vms:
        state = "running" if vm.domain.uuid in running else "shut off" if vm.domain.uuid in off else ""
        found[vm.name] = _judge_vm(vm, virsh, domains, state, marks.get(vm.domain.uuid))


def _judge_vm(vm: Vm, virsh: Virsh, domains: dict[str, str], state: str, mark: str | Failed | None) -> Judged:
    uuid = vm.domain.uuid
    if mark is None:
        taken = vm.domain.name in domains.values()
        return Judged("another domain of that name" if taken else "not there", False)
    state = state or domain_state(virsh, uuid) or "not there"
    if isinstance(mark, Failed):  # its own run says what is wrong
        return Judged(state, False)
    installing = False
    try:
        attributes = dict(parse(mark, "a mark").attrib)
        installing = "phase" in attributes
        current = domains[uuid] == vm.domain.name and is_current(vm, attributes)
    except Problem:
        current = False
    if installing:
        state = installing_in_words(state)
    return Judged(state, current)


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline()
    except (OSError, ValueError):
        return ""


def make_of(name: str) -> str:
    """Return how messages call the make of a machine."""
    return f"make -C {shlex.quote(name) if re.search('[^A-Za-z0-9._-]', name) else name}"


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

"""A fleet: all machines of a directory, and how they are. Each node is asked once, all nodes at the same time."""

from __future__ import annotations

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
from .node import connection
from .programs import end_all
from .say import Problem, write
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
            there = [vm.domain.uuid for vm in vms if vm.domain.uuid in domains]
            asked = [("metadata", f"--domain={uuid}", f"--uri={NAMESPACE}") for uuid in there]
            marks = dict(zip(there, virsh.ask_all(*asked)))
            for vm in vms:
                state = "running" if vm.domain.uuid in running else "shut off" if vm.domain.uuid in off else ""
                found[vm.name] = _judge_vm(vm, virsh, domains, state, marks.get(vm.domain.uuid))
        except Problem as problem:
            reason = Problem("libvirt did not answer as it should", str(problem), *problem.hints)
            self.complain(f"node {vms[0].node}: {reason.text()}")
            found.update({vm.name: Judged("not known", False, False) for vm in vms})
        finally:
            self.give_back(vms[0], virsh)


def _judge_vm(vm: Vm, virsh: Virsh, domains: dict[str, str], state: str, mark: str | Failed | None) -> Judged:
    uuid = vm.domain.uuid
    if mark is None:
        taken = vm.domain.name in domains.values()
        return Judged("another domain of that name" if taken else "not there", False)
    state = state or domain_state(virsh, uuid) or "not there"
    if isinstance(mark, Failed):  # its own run says what is wrong
        return Judged(state, False)
    try:
        current = domains[uuid] == vm.domain.name and is_current(vm, dict(parse(mark, "a mark").attrib))
    except Problem:
        current = False
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

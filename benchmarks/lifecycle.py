"""How long the targets of VMs take in the private libvirt of the tests, beside kcli and beside virsh alone.

What is compared runs in turn in the same rounds, so that a machine whose speed drifts favours nobody. After each start
the guests are waited for: what their firmware takes, emulated, is not the next command's.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from counts import count_connections, count_started
from figures import FIGURES, NOT_MEASURED, RATIOS, Row, Table, figure, measure, ratio
from peer import POOL, Peer
from vms import IMAGES, PATH, PLUG, Floor, generate, make, make_fleet, make_pool, renew

FLEET = [f"vm{number:02}" for number in range(1, 21)]

Times = dict[str, list[float]]


class Step(NamedTuple):
    """One command of a tool, and whether guests begin to run with it."""

    name: str
    command: Sequence[str]
    starts: bool = False


class Tool:
    """What is run in one round, one step after the other, from nothing to nothing."""

    def __init__(
        self, steps: Sequence[Step], environment: Mapping[str, str], cwd: Path, directories: Sequence[Path] = ()
    ) -> None:
        self._steps = steps
        self._environment = environment
        self._cwd = cwd
        self._directories = directories

    def measure(self, times: Times) -> None:
        """Run all steps once."""
        self._renew()
        for step in self._steps:
            times.setdefault(step.name, []).append(measure(step.command, self._environment, self._cwd).seconds)
            if step.starts:
                _await_guests()

    def count(self, limits: Mapping[str, int]) -> list[Row]:
        """Return what each step opens and starts, in two more rounds."""
        self._renew()
        runs = [partial(measure, step.command, self._environment, self._cwd) for step in self._steps]
        opened = [count_connections(run) for run in runs]
        self._renew()
        started = [count_started(step.command, self._environment, self._cwd) for step in self._steps]
        rows: dict[str, Row] = {}
        for step, connections, processes in zip(self._steps, opened, started, strict=True):
            limit = limits.get(step.name)
            target = f"≤ {limit}" if limit is not None else ""
            words = map(str, processes) if processes else (NOT_MEASURED, "")
            rows.setdefault(step.name, (step.name, str(connections), target, *words))
        return list(rows.values())

    def _renew(self) -> None:
        for directory in self._directories:
            renew(directory)


def measure_lifecycle(directory: Path, kcli: Path | None, rounds: int, fleet_rounds: int) -> list[Table]:
    """Return the tables of one VM, of twenty, of the ratios, and of what is counted."""
    make_pool("default", IMAGES)
    make_pool(POOL, IMAGES.parent / POOL)
    environment = {"PATH": PATH, "HOME": "/nonexistent", "LANG": "C.UTF-8"}
    one, many = directory / "one", directory / "many"
    generate(["vm"], one)
    generate(FLEET, many)
    for target in ("up", "down"):
        measure(make(one / "vm", target, PLUG), environment)
        if target == "up":
            floor = Floor("vm", directory / "floor")
    root = Path("/")
    singles = [Tool(_ours(one / "vm"), environment, root, [one / "vm"]), Tool(_floor(floor), environment, root)]
    fleets = [
        Tool(_our_fleet(many), environment, root, [many / name for name in FLEET]),
        Tool(_floor_fleet(floor), environment, root),
    ]
    if kcli:
        peer = Peer(kcli, directory / "home")
        singles.insert(1, Tool(_peer(peer), peer.environment, peer.home))
        fleets.insert(1, Tool(_peer_fleet(peer), peer.environment, peer.home))
    times: Times = {}
    measure_apply(directory / "changing", rounds, times, environment)
    for tools, count in ((singles, rounds), (fleets, fleet_rounds)):
        for number in range(count):
            first = number % len(tools)  # who is first changes from round to round
            for tool in tools[first:] + tools[:first]:
                tool.measure(times)
    return [*_tables(times), _counts(singles)]


def measure_apply(base: Path, rounds: int, times: Times, environment: Mapping[str, str]) -> None:
    """Apply another memory to a VM that is off, beside virt-install, which writes a definition and changes nothing."""
    texts = []
    for memory in (64, 80):
        generate(["changing"], base, memory=memory)
        texts.append((base / "changing/vm.json").read_text())
    words = [
        word for word in json.loads(texts[0])["domain"]["virtInstall"] if not word.startswith(("--name", "--uuid"))
    ]
    alone = ["virt-install", "--connect=qemu:///system", "--name=alone", *words, "--check=all=off", "--print-xml", "1"]
    measure(make(base / "changing", "create"), environment)
    for number in range(rounds):
        (base / "changing/vm.json").write_text(texts[number % 2])
        steps = [
            Step("apply of more memory, off", make(base / "changing", "apply")),
            Step("virt-install alone", [*alone, "--dry-run"]),
        ]
        for step in steps if number % 2 else steps[::-1]:
            times.setdefault(step.name, []).append(measure(step.command, environment, Path("/")).seconds)
    measure(make(base / "changing", "down"), environment)


def _await_guests() -> None:
    """Wait until the firmware of all guests has come to its end, as shown by QEMU's share of the processors."""
    deadline = time.monotonic() + 60
    before = _guest_seconds()
    while time.monotonic() < deadline:
        time.sleep(0.5)
        now = _guest_seconds()
        if now - before < 0.15:
            return
        before = now


def _guest_seconds() -> float:
    """Return the processor time that the running guests have taken; the lab sees no others."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().rpartition(")")
        except OSError:
            continue  # it has just ended
        if "(qemu-system" in name:
            ticks += sum(map(int, rest.split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _ours(vm: Path) -> list[Step]:
    return [
        Step("up from nothing", make(vm, "up"), starts=True),
        Step("up, nothing to do", make(vm, "up")),
        Step("status", make(vm, "status")),
        Step("diff, no difference", make(vm, "diff")),
        Step("apply, nothing to do", make(vm, "apply")),
        Step("down", make(vm, "down", PLUG)),
        Step("up after down", make(vm, "up"), starts=True),
        Step("down", make(vm, "down", PLUG)),
    ]


def _peer(peer: Peer) -> list[Step]:
    return [
        Step("kcli create vm", peer.create("peer", "blank.qcow2"), starts=True),
        Step("kcli info vm", peer.info("peer")),
        Step("kcli list vm", peer.list_all()),
        Step("kcli delete vm", peer.delete("peer")),
    ]


def _floor(floor: Floor) -> list[Step]:
    return [
        Step("floor: virsh makes and starts it", floor.up(["floor"]), starts=True),
        Step("floor: virsh list", ["virsh", "-q", "list", "--all"]),
        Step("floor: virsh removes it", floor.down(["floor"])),
    ]


def _our_fleet(base: Path) -> list[Step]:
    return [
        Step("20: up from nothing", make_fleet(base, "up"), starts=True),
        Step("20: up, nothing to do", make_fleet(base, "up")),
        Step("20: status", make_fleet(base, "status")),
        Step("20: diff, no difference", make_fleet(base, "diff")),
        Step("20: down", make_fleet(base, "down", PLUG)),
        Step("20: up after down", make_fleet(base, "up"), starts=True),
        Step("20: down", make_fleet(base, "down", PLUG)),
    ]


def _peer_fleet(peer: Peer) -> list[Step]:
    peer.write_plan(FLEET, "blank.qcow2")
    return [
        Step("20: kcli create plan", peer.create_plan(), starts=True),
        Step("20: kcli create plan again", peer.create_plan()),
        Step("20: kcli delete plan", peer.delete_plan()),
    ]


def _floor_fleet(floor: Floor) -> list[Step]:
    return [
        Step("20: floor: virsh makes and starts them", floor.up(FLEET), starts=True),
        Step("20: floor: virsh removes them", floor.down(FLEET)),
        Step("20: floor: four virsh make and start them", floor.at_once(floor.up, FLEET, 4), starts=True),
        Step("20: floor: four virsh remove them", floor.at_once(floor.down, FLEET, 4)),
    ]


RATIOS_OF_ONE = (
    ("up from nothing", "kcli create vm", 1.3),
    ("up after down", "kcli create vm", 0.75),
    ("up, nothing to do", "kcli info vm", 0.2),
    ("up, nothing to do", "floor: virsh list", 3),
    ("down", "kcli delete vm", 0.6),
    ("diff, no difference", "status", 1.3),
    ("apply, nothing to do", "up, nothing to do", 1.5),
    ("apply of more memory, off", "virt-install alone", 1.2),
    ("up from nothing", "floor: virsh makes and starts it", None),
    ("down", "floor: virsh removes it", None),
)
RATIOS_OF_FLEET = (
    ("20: up from nothing", "20: kcli create plan", 0.35),
    ("20: up after down", "20: kcli create plan", None),
    ("20: up, nothing to do", "20: kcli create plan again", 0.3),
    ("20: down", "20: kcli delete plan", 0.35),
    ("20: diff, no difference", "20: status", 2),
    ("20: up from nothing", "20: floor: virsh makes and starts them", None),
    ("20: up from nothing", "20: floor: four virsh make and start them", None),
    ("20: floor: four virsh make and start them", "20: kcli create plan", None),
    ("20: down", "20: floor: virsh removes them", None),
    ("20: down", "20: floor: four virsh remove them", None),
)
CONNECTIONS = {"up from nothing": 2, "up, nothing to do": 1, "up after down": 1, "down": 1}


def _tables(times: Times) -> list[Table]:
    one = [figure(name, values) for name, values in times.items() if not name.startswith("20: ")]
    many = [figure(name.removeprefix("20: "), values) for name, values in times.items() if name.startswith("20: ")]
    ratios = [
        ratio(f"{ours} / {other.removeprefix('20: ')}", times.get(ours, ()), times.get(other, ()), limit)
        for ours, other, limit in (*RATIOS_OF_ONE, *RATIOS_OF_FLEET)
    ]
    return [
        Table(title="One VM", header=FIGURES, rows=tuple(one)),
        Table(title="20 VMs, four at a time (make -j4)", header=FIGURES, rows=tuple(many)),
        Table(title="Life cycle: ratios of medians", header=RATIOS, rows=tuple(ratios)),
    ]


def _counts(tools: Sequence[Tool]) -> Table:
    rows = [row for tool in tools for row in tool.count(CONNECTIONS)]
    return Table(
        title="What one run opens and starts",
        header=("one VM", "connections", "target", "processes", "programs"),
        rows=tuple(rows),
        notes=(
            "Connections that libvirtd accepted; processes that the command and what it runs have forked (counted by "
            "strace), and programs among them. What libvirtd itself starts is not counted.",
        ),
    )

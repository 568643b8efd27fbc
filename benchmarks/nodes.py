"""How long `status` of a fleet takes over twenty nodes that are 50 ms away, beside one of them.

Each node is an sshd of its own behind a link with latency. All lead to the lab's libvirt, which does the same for each.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from figures import FIGURES, RATIOS, Table, figure, measure, ratio
from vms import IMAGES, PATH, PLUG, build_image, compile_registry, make, make_fleet, make_pool, registry_of

sys.path.append(str(Path(__file__).parent.parent / "tests/lab"))
from link import Link
from local_sshd import local_sshd

NODES = 20
ROUND_TRIP = 0.05
"""Seconds."""


def measure_nodes(directory: Path, rounds: int) -> list[Table]:
    """Return the table of times, and of ratios."""
    names = [f"far{number:02}" for number in range(1, NODES + 1)]
    environment = {"PATH": PATH, "HOME": "/nonexistent", "LANG": "C.UTF-8"}
    times: dict[str, list[float]] = {}
    make_pool("default", IMAGES)
    with _nodes(directory / "nodes") as ports:
        base = directory / "far"
        compile_registry(_registry(names, ports), base)
        (base / "images").mkdir()
        build_image(base / "images/blank.qcow2")
        measure(make_fleet(base, "up"), environment)
        statuses = {"one node": make(base, "status", f"VMS={names[0]}"), f"{NODES} nodes": make(base, "status")}
        for _ in range(rounds):
            for title, command in statuses.items():
                _end_connections(base)
                times.setdefault(f"status of {title}, no connection yet", []).append(
                    measure(command, environment).seconds
                )
                times.setdefault(f"status of {title}, connected", []).append(measure(command, environment).seconds)
        measure(make_fleet(base, "down", PLUG), environment)
    ratios = [
        ratio(
            f"status of {NODES} nodes / of one, {state}",
            times[f"status of {NODES} nodes, {state}"],
            times[f"status of one node, {state}"],
            2,
        )
        for state in ("no connection yet", "connected")
    ]
    return [
        Table(
            title=f"Fleet over nodes that are {ROUND_TRIP * 1000:.0f} ms away (round trip)",
            header=FIGURES,
            rows=tuple([figure(name, values) for name, values in times.items()]),
        ),
        Table(title="Nodes: ratios of medians", header=RATIOS, rows=tuple(ratios)),
    ]


def _registry(names: Sequence[str], ports: Sequence[int]) -> str:
    uri = '"qemu:///system"'
    head, vms = registry_of(names).split("images:\n", 1)
    assert uri in head
    nodes = [
        f"  - {{name: node-of-{name}, libvirt: {{connection: {{uri: 'qemu+ssh://root@127.0.0.1:{port}/system'}}}}}}\n"
        for name, port in zip(names, ports, strict=True)
    ]
    for name in names:
        vms = vms.replace(f"name: {name},", f"name: {name}, nodeName: node-of-{name},")
    return f"nodes:\n{''.join(nodes)}images:\n{vms.replace('    nodeName: localhost', '')}"


@contextmanager
def _nodes(directory: Path) -> Iterator[list[int]]:
    """Start the nodes; give the ports by which they are reached."""
    own = range(22001, 22001 + NODES)
    with local_sshd(directory, own), ExitStack() as stack:
        yield [stack.enter_context(Link(("127.0.0.1", port), delay=ROUND_TRIP / 2)).port for port in own]


def _end_connections(base: Path) -> None:
    for socket in base.rglob(".node-ssh-*"):
        command = ["ssh", "-S", socket.name, "-O", "exit", "node"]
        subprocess.run(command, capture_output=True, cwd=socket.parent)

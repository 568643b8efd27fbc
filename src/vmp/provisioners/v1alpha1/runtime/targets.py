"""The targets by name: what `make TARGET` does. Those that change something are in `lifecycle`, the others here."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

from .address import must_find
from .applying import apply
from .differences import diff
from .files import lock
from .following import is_followed
from .installing import install
from .knobs import COMMAND, KNOBS
from .libvirt import look_at_domain
from .lifecycle import (
    build,
    clean,
    clean_all,
    create,
    create_domain,
    create_network,
    create_pool,
    create_volume,
    delete,
    down,
    kill,
    restart,
    resume,
    save,
    start,
    start_network,
    start_only,
    start_pool,
    stop,
    stop_all,
    stop_network,
    stop_pool,
    suspend,
    up,
)
from .making import Run
from .node import PATIENT, TRIES
from .programs import have, need
from .say import Problem, show, write
from .snapshot_targets import delete_snapshot, revert, snapshot, snapshots
from .ssh import check_ssh, ssh_command
from .status import status
from .volumes import clear_leftovers
from .waiting import wait_ready


def console(run: Run) -> None:
    """Become `virsh console`."""
    domain = look_at_domain(run.virsh, run.vm.domain)
    if domain is None:
        raise Problem(f"there is no domain {run.vm.domain.name}", "'make up' makes and starts it")
    if domain.state != "running":
        raise Problem(f"the domain is {domain.state}: it has no console", "'make start' starts it")
    if not sys.stdin.isatty():
        raise Problem("the console needs a terminal on standard input")
    words = ["virsh", "-c", run.virsh.uri, "console", f"--domain={run.vm.domain.uuid}"]
    words += ["--force"] if is_followed(run.vm) else []  # a run that waits for the installer gives it up for us
    show(words)
    run.virsh.close()
    os.execvp("virsh", words)


def ip(run: Run) -> None:
    """Print the address."""
    write(must_find(run.vm, run.virsh), stream=1)


def ssh(run: Run) -> None:
    """Become ssh: a shell in the guest, or a command."""
    check_ssh(run.vm)
    if not run.vm.knobs.ssh_host and not run.vm.knobs.ip_cmd:
        need("find the address", "virsh")
    address = must_find(run.vm, run.virsh)
    words, environment = ssh_command(run.vm, address, os.environ.get(COMMAND, ""), "-o", f"ConnectionAttempts={TRIES}")
    environment[PATIENT] = "yes"
    show(words)
    run.virsh.close()
    os.execvpe("ssh", words, environment)


def execute(run: Run) -> None:
    """Become a command, or a shell, with the environment of this provisioner."""
    vm = run.vm
    os.environ.update(vm.knobs.texts)
    os.environ.update(VM_NAME=vm.name, NODE_NAME=vm.node, DOMAIN_NAME=vm.domain.name, DOMAIN_UUID=vm.domain.uuid)
    os.environ["LIBVIRT_DEFAULT_URI"] = vm.uri
    command = os.environ.get(COMMAND, "")
    if command:
        os.execvp("sh", ["sh", "-c", command])
    shell = have("bash", "sh")
    os.execvp(shell, [shell])


def help_(run: Run) -> None:
    """List the targets and knobs."""
    vm = run.vm
    head = f"{vm.name}: {vm.image.reference} on node {vm.node} ({vm.uri})"
    defaults = [knob.name + ("" if knob.seconds is None else f"={knob.seconds}") for knob in KNOBS]
    knobs = [f"  {default:<52} {knob.meaning}" for default, knob in zip(defaults, KNOBS)]
    write("\n".join([head, "", HELP, *knobs]), stream=1)


HELP = """\
make up                  build, create and start it
make down                stop it, delete all but what is to be retained, clean
make status              what there is: domain, pools, networks, volumes, address
make diff                what differs between this directory and libvirt, and when apply brings it
make apply               bring it: now where libvirt can, else at the next start; keeps every disk (FORCE=yes: see diff)
make install             wait until its system is installed; one that was broken off begins again, on fresh volumes

make start, stop         stop asks the guest, and pulls the plug after V1ALPHA1_STOP_TIMEOUT_SECS (60)
make restart, kill       stop and start; the plug at once
make suspend, resume     let the guest stand still, in memory; let it go on
make save                its memory to the node's disk, and off; the next start goes on from there
make snapshot NAME=...   keep its disks, and its memory if it runs (DESCRIPTION='...'; snapshot/delete NAME=...)
make snapshots           lists what is kept; * marks what the disks go on from
make revert NAME=...     back to that snapshot; what was written since is lost
make console             the serial console; Ctrl+] leaves it
make ip                  its address
make ssh [CMD=...]       a shell in it, or CMD
make wait-for-ready      wait for its address, SSH and cloud-init (also wait-for-ready/ip, wait-for-ready/ssh)
make exec [CMD=...]      bash, or CMD, here with its environment (LIBVIRT_DEFAULT_URI)

make build               download the image, take members out, make seed and config drives
make create              networks, pools, volumes, domain (create/network, create/pool, create/volume, create/domain)
make start/network, start/pool, start/domain, stop/network, stop/pool, stop/domain, stop-all
make delete              domain (the plug is pulled), volumes, pools, networks, but for those to be retained
                         (delete/domain, delete/volume, delete/pool, delete/network)
make delete-all          retained ones too (delete/volume-all, delete/pool-all, delete/network-all)
make clean, clean-all    remove seed, drives and members; the downloaded image and domain.xml too

V=1 shows each command of virsh, virt-install, curl and ssh as it is run (make up V=1).
Knobs (make ssh V1ALPHA1_SSH_USER=root):"""

TARGETS: Mapping[str, Callable[[Run], int | None]] = {
    "help": help_,
    "up": up,
    "down": down,
    "diff": diff,
    "apply": apply,
    "install": install,
    "build": build,
    "create": create,
    "create/network": create_network,
    "create/pool": create_pool,
    "create/volume": create_volume,
    "create/domain": create_domain,
    "start": start,
    "start/network": start_network,
    "start/pool": start_pool,
    "start/domain": start_only,
    "stop": stop,
    "stop/domain": stop,
    "stop/network": stop_network,
    "stop/pool": stop_pool,
    "stop-all": stop_all,
    "restart": restart,
    "kill": kill,
    "suspend": suspend,
    "resume": resume,
    "save": save,
    "snapshot": snapshot,
    "snapshots": snapshots,
    "revert": revert,
    "snapshot/delete": delete_snapshot,
    "delete": delete("domain", "volume", "pool", "network"),
    "delete/domain": delete("domain"),
    "delete/volume": delete("volume"),
    "delete/pool": delete("pool"),
    "delete/network": delete("network"),
    "delete-all": delete("domain", "volume", "pool", "network", all_=True),
    "delete/volume-all": delete("volume", all_=True),
    "delete/pool-all": delete("pool", all_=True),
    "delete/network-all": delete("network", all_=True),
    "clean": clean,
    "clean-all": clean_all,
    "console": console,
    "ip": ip,
    "ssh": ssh,
    "wait-for-ready": lambda run: wait_ready(run.vm, run.virsh, "all"),
    "wait-for-ready/ip": lambda run: wait_ready(run.vm, run.virsh, "ip"),
    "wait-for-ready/ssh": lambda run: wait_ready(run.vm, run.virsh, "ssh"),
    "exec": execute,
    "status": status,
}

_WITHOUT_VIRSH = frozenset(["help", "build", "clean", "clean-all", "exec", "ssh"])
_TAKE_TURNS = frozenset(
    ["up", "down", "apply", "install", "build", "start/network", "stop/network", "clean", "clean-all"]
    + ["snapshot", "revert", "snapshot/delete"]
    + [name for name in TARGETS if name.startswith(("create", "delete"))]
)
"""The targets that change this VM's files or objects: one at a time."""


def perform(run: Run, target: str) -> int:
    """Do what a target says; return its exit code."""
    if target not in _WITHOUT_VIRSH:
        need("talk to libvirt", "virsh")
    if target not in _TAKE_TURNS:
        return TARGETS[target](run) or 0
    return take_turns(run, TARGETS[target])


def take_turns(run: Run, work: Callable[[Run], int | None]) -> int:
    """Do what changes a machine, while no other run does."""
    with lock(run.vm.file(".lock"), run.vm.name, "changes this VM") as run.turn:
        clear_leftovers(run.vm)
        return work(run) or 0

"""The targets: what `make TARGET` does, each from top to bottom."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

from .address import find_address, must_find, tell_loose
from .definition import tell_stale
from .deletion import delete_what, take_back, take_down
from .domain import define_domain, kill_domain, start_domain, stop_domain
from .domain_xml import Answers, domain_xml, forget
from .facts import Pool, Vm, Volume
from .files import lock, remove
from .image import build_image, clean_image, need_for_image
from .knobs import COMMAND, KNOBS
from .libvirt import Domain, domain_state, glance_at_volume, names, pool_path
from .look import Seen, check_node, glance, look, refuse_foreign_domain
from .node import PATIENT, TRIES, need_for_node
from .node_download import clean_node, make_volumes_on_node
from .osinfo import check_osinfo
from .pools import ensure_pool, start_stopped_pools, stop_pools
from .programs import Beside, have, need
from .say import Problem, show, write
from .seed import build_seed, clean_seed, need_for_seed
from .ssh import check_ssh, ssh_command
from .virsh import Virsh
from .volumes import clear_leftovers, ensure_volume, missing_volumes
from .waiting import wait_ready


class Run:
    """One run of a target: the machine, its conversation with libvirt, and what this run has made."""

    def __init__(self, vm: Vm, virsh: Virsh, answers: Answers | None = None) -> None:
        self.vm = vm
        self.virsh = virsh
        self.answers = answers
        self.made_pools: list[Pool] = []
        self.made_volumes: list[Volume] = []
        """What this run has made; it goes again if virt-install then refuses the definition."""


def prepare(run: Run, *, makes_domain: bool = False) -> Seen:
    """Look at what there is, and refuse to go on, before anything is changed."""
    seen = look(run.vm, run.virsh)
    check_node(run.vm, run.virsh)
    if makes_domain and seen.domain is None:
        need("make the domain", "virt-install")
        if not os.path.exists(run.vm.file("domain.xml")):
            check_osinfo(run.vm)
    return seen


def up(run: Run) -> None:
    """Build, create and start."""
    vm = run.vm
    seen = prepare(run, makes_domain=True)
    make_storage(run, seen)
    domain = ensure_domain(run, seen)
    if domain is None:
        start_new_domain(run)
        return
    was_running = start_domain(vm, run.virsh, domain.state)
    tell_stale(vm, domain)
    if was_running:
        warn_loose(vm, domain)
        vm.say("is running")


def create(run: Run) -> None:
    """Make what is missing: pools, volumes, domain."""
    seen = prepare(run, makes_domain=True)
    make_storage(run, seen)
    tell_stale(run.vm, ensure_domain(run, seen))


def make_storage(run: Run, seen: Seen) -> None:
    """Make pools and volumes. The image and the seed are needed to fill them, and to see whether they are whole."""
    vm, virsh = run.vm, run.virsh
    if seen.domain is not None:
        start_stopped_pools(vm, virsh)
        if not missing_volumes(vm, virsh):
            return
    need_for_build(vm)
    seed = Beside(build_seed, vm)
    try:
        build_image(vm)
        if vm.image_on_node:
            make_volumes_on_node(vm)
        for pool in vm.pools:
            if ensure_pool(vm, virsh, pool):
                run.made_pools.append(pool)
        for volume in vm.volumes:
            if volume.file == vm.seed:
                seed.result()
            if ensure_volume(vm, virsh, volume, seen.domain is not None):
                run.made_volumes.append(volume)
    finally:
        seed.result()


def ensure_domain(run: Run, seen: Seen) -> Domain | None:
    """Define the domain, if it is not there; return it if it was."""
    if seen.domain is not None:
        return seen.domain
    try:
        define_domain(run.vm, run.virsh, domain_xml(run.vm, run.virsh, run.answers))
    except Problem:
        forget(run.vm)
        take_back(run.vm, run.virsh, run.made_volumes, run.made_pools)
        raise
    return None


def warn_loose(vm: Vm, domain: Domain) -> None:
    """Warn of each interface that has no link."""
    for line in tell_loose(vm, domain):
        vm.say(f"warning: {line}")


def start_new_domain(run: Run) -> None:
    """Start a domain that this run has defined."""
    try:
        start_domain(run.vm, run.virsh, "shut off")
    except Problem:
        if not domain_state(run.virsh, run.vm.domain.uuid):
            forget(run.vm)
        raise


def build(run: Run) -> None:
    """Download the image and make the seed."""
    need_for_build(run.vm)
    build_image(run.vm)
    build_seed(run.vm)


def need_for_build(vm: Vm) -> None:
    """Name what is not installed, before anything is changed."""
    need_for_image(vm)
    need_for_seed(vm)
    if vm.image_on_node:
        need_for_node(vm)


def create_pool(run: Run) -> None:
    """Make the pools of this VM."""
    prepare(run)
    for pool in run.vm.pools:
        ensure_pool(run.vm, run.virsh, pool)


def create_volume(run: Run) -> None:
    """Make pools and volumes."""
    seen = prepare(run)
    make_storage(run, seen)


def create_domain(run: Run) -> None:
    """Make the domain; its volumes must be there."""
    seen = prepare(run, makes_domain=True)
    tell_stale(run.vm, ensure_domain(run, seen))


def start(run: Run) -> None:
    """Start the pools of this VM, and the domain."""
    seen = prepare(run)
    start_stopped_pools(run.vm, run.virsh)
    start_existing(run, seen)


def start_only(run: Run) -> None:
    """Start the domain."""
    seen = prepare(run)
    start_existing(run, seen)


def start_existing(run: Run, seen: Seen) -> None:
    """Start a domain that must be there."""
    if seen.domain is None:
        name = run.vm.domain.name
        raise Problem(f"there is no domain {name}", "'make create' makes it, 'make up' makes and starts it")
    start_domain(run.vm, run.virsh, seen.domain.state)
    tell_stale(run.vm, seen.domain)


def start_pool(run: Run) -> None:
    """Start the pools of this VM."""
    prepare(run)
    start_stopped_pools(run.vm, run.virsh)


def restart(run: Run) -> None:
    """Stop the domain, and start it again."""
    seen = prepare(run)
    stop_domain(run.vm, run.virsh, seen.domain)
    start_stopped_pools(run.vm, run.virsh)
    start_existing(run, look(run.vm, run.virsh))


def stop(run: Run) -> None:
    """Ask the guest to shut down; pull the plug if it does not."""
    stop_domain(run.vm, run.virsh, look(run.vm, run.virsh).domain)


def stop_pool(run: Run) -> None:
    """Stop the pools of this VM."""
    stop_pools(run.vm, run.virsh)


def stop_all(run: Run) -> None:
    """Stop the domain, then the pools."""
    stop(run)
    stop_pools(run.vm, run.virsh)


def kill(run: Run) -> None:
    """Pull the plug."""
    domain = look(run.vm, run.virsh).domain
    kill_domain(run.vm, run.virsh, domain.state if domain else "")


def down(run: Run) -> None:
    """Stop, delete all but what is to be retained, clean."""
    take_down(run.vm, run.virsh)
    clean(run)


def delete(*what: str, all_: bool = False) -> Callable[[Run], None]:
    """Return the target that deletes these of domain, volume and pool."""

    def target(run: Run) -> None:
        delete_what(run.vm, run.virsh, look(run.vm, run.virsh), frozenset(what), all_=all_)

    return target


def clean(run: Run) -> None:
    """Remove the seed."""
    clean_seed(run.vm)


def clean_all(run: Run) -> None:
    """Remove the image and domain.xml, too."""
    vm = run.vm
    clean(run)
    remove(vm.file("domain.xml"), vm.file("domain.xml.sum"))
    if vm.image_on_node:
        clean_node(vm)
    clean_image(vm)


def console(run: Run) -> None:
    """Become `virsh console`."""
    state = domain_state(run.virsh, run.vm.domain.uuid)
    if not state:
        raise Problem(f"there is no domain {run.vm.domain.name}", "'make up' makes and starts it")
    if state != "running":
        raise Problem(f"the domain is {state}: it has no console", "'make start' starts it")
    if not sys.stdin.isatty():
        raise Problem("the console needs a terminal on standard input")
    words = ["virsh", "-c", run.virsh.uri, "console", f"--domain={run.vm.domain.uuid}"]
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


def status(run: Run) -> int:
    """Print what there is; return 0 if the domain runs."""
    vm, virsh = run.vm, run.virsh
    seen = glance(vm, virsh)
    state = seen.domain.state if seen.domain else "not there"
    if seen.domain is not None:
        info = virsh.ask("dominfo", f"--domain={vm.domain.uuid}").replace(" ", "")
        state += ", saved" if "Managedsave:yes" in info else ""
        state += ", transient" if "Persistent:no" in info else ""
    _row("domain", vm.domain.name, state)
    active = names(virsh, "pool-list")
    for pool in [*[pool.name for pool in vm.pools], *vm.domain.used_pools]:
        _row("pool", pool, "active" if pool in active else "not active" if pool_path(virsh, pool) else "not there")
    if vm.domain.networks:
        networks, all_networks = names(virsh, "net-list"), names(virsh, "net-list", "--all")
        for network in vm.domain.networks:
            there = "not active" if network in all_networks else "not there"
            _row("network", network, "active" if network in networks else there)
    for volume in vm.volumes:
        _row("volume", volume.key, _volume_state(virsh, volume, active))
    if seen.domain is None or seen.domain.state != "running":
        refuse_foreign_domain(vm, seen)
        tell_stale(vm, seen.domain)
        return 1
    found = find_address(vm, virsh)
    _row("address", found.ip or "-", "" if found.ip else "not known")
    warn_loose(vm, seen.domain)
    tell_stale(vm, seen.domain)
    return 0


def _volume_state(virsh: Virsh, volume: Volume, active: list[str]) -> str:
    if volume.pool not in active:
        return "not known"
    facts = glance_at_volume(virsh, volume.pool, volume.name)
    return f"{facts.physical >> 20} MiB in {facts.path}" if facts else "not there"


def _row(kind: str, name: str, state: str) -> None:
    write(f"{kind:<8} {name:<40} {state}", stream=1)


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
make status              what there is: domain, pools, volumes, address

make start, stop         stop asks the guest, and pulls the plug after V1ALPHA1_STOP_TIMEOUT_SECS (60)
make restart, kill       stop and start; the plug at once
make console             the serial console; Ctrl+] leaves it
make ip                  its address
make ssh [CMD=...]       a shell in it, or CMD
make wait-for-ready      wait for its address, SSH and cloud-init (also wait-for-ready/ip, wait-for-ready/ssh)
make exec [CMD=...]      bash, or CMD, here with its environment (LIBVIRT_DEFAULT_URI)

make build               download the image, make the seed ISO
make create              pools, volumes, domain (also create/pool, create/volume, create/domain)
make start/pool, start/domain, stop/pool, stop/domain, stop-all
make delete              domain, volumes, pools (also delete/domain, delete/volume, delete/pool); it pulls the plug
make delete-all          retained volumes and pools too (also delete/volume-all, delete/pool-all)
make clean, clean-all    remove the seed ISO; the downloaded image and domain.xml too

V=1 shows each command of virsh, virt-install, curl and ssh as it is run (make up V=1).
Knobs (make ssh V1ALPHA1_SSH_USER=root):"""

TARGETS: Mapping[str, Callable[[Run], int | None]] = {
    "help": help_,
    "up": up,
    "down": down,
    "build": build,
    "create": create,
    "create/pool": create_pool,
    "create/volume": create_volume,
    "create/domain": create_domain,
    "start": start,
    "start/pool": start_pool,
    "start/domain": start_only,
    "stop": stop,
    "stop/domain": stop,
    "stop/pool": stop_pool,
    "stop-all": stop_all,
    "restart": restart,
    "kill": kill,
    "delete": delete("domain", "volume", "pool"),
    "delete/domain": delete("domain"),
    "delete/volume": delete("volume"),
    "delete/pool": delete("pool"),
    "delete-all": delete("domain", "volume", "pool", all_=True),
    "delete/volume-all": delete("volume", all_=True),
    "delete/pool-all": delete("pool", all_=True),
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
    ["up", "down", "build", "clean", "clean-all"] + [name for name in TARGETS if name.startswith(("create", "delete"))]
)
"""The targets that change this VM's files or objects: one at a time."""


def perform(run: Run, target: str) -> int:
    """Do what a target says; return its exit code."""
    if target not in _WITHOUT_VIRSH:
        need("talk to libvirt", "virsh")
    run.vm.knobs  # noqa: B018 - a knob that is misspelt ends the run before it begins
    if target not in _TAKE_TURNS:
        return TARGETS[target](run) or 0
    with lock(run.vm.file(".lock"), run.vm.name, "changes this VM"):
        clear_leftovers(run.vm)
        return TARGETS[target](run) or 0

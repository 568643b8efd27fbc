"""Making, starting, stopping and deleting: each target that changes something, from top to bottom."""

from __future__ import annotations

import os
from collections.abc import Callable

from .address import tell_loose
from .definition import tell_stale
from .deletion import delete_what, take_back, take_down
from .domain import define_domain, kill_domain, start_domain, stop_domain
from .domain_xml import Answers, domain_xml, forget
from .facts import Pool, Vm, Volume
from .files import remove
from .image import build_image, clean_image, need_for_image
from .libvirt import Domain, domain_state
from .look import Seen, check_node, look
from .node import need_for_node
from .node_download import clean_node, make_volumes_on_node
from .osinfo import check_osinfo
from .pools import ensure_pool, start_stopped_pools, stop_pools
from .programs import Beside, need
from .say import Problem
from .seed import build_seed, clean_seed, need_for_seed
from .virsh import Virsh
from .volumes import ensure_volume, missing_volumes


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
        run.vm.secrets()
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

"""The steps of `up`: look before anything is changed, make what is stored, define the domain, start it."""

from __future__ import annotations

import os

from .deletion import take_back
from .domain import define_domain, ensure_autostart
from .domain_xml import Answers, domain_xml, install_xml
from .drives import build_drives, need_for_drives
from .facts import Vm
from .files import Turn
from .image import build_image, need_for_image
from .libvirt import RUNNING, Domain
from .look import check_node, look
from .members import build_members, need_for_members
from .network_records import Network
from .networks import NetworkState, ensure_network, look_at_networks, refuse_different_networks
from .node import need_for_node
from .node_download import make_volumes_on_node
from .osinfo import check_osinfo
from .pools import ensure_pool, start_stopped_pools
from .programs import Beside, need
from .record import DEFINED, complete_record, recorded_reservations
from .records import Pool, Volume
from .reservations import ReservationStep, carry_out_reservations, look_at_reservations
from .say import Problem
from .users import LastingUsers
from .virsh import Virsh
from .volumes import ensure_volume, has_gaps


class Run:
    """One run of a target: the machine, its conversation with libvirt, and what this run has made."""

    def __init__(self, vm: Vm, virsh: Virsh, answers: Answers | None = None, users: LastingUsers | None = None) -> None:
        self.vm = vm
        self.virsh = virsh
        self.answers = answers
        self.users = users or LastingUsers()
        self.turn: Turn | None = None
        """The lock of this machine, where the target changes it."""
        self.made_pools: list[Pool] = []
        self.made_volumes: list[Volume] = []
        self.made_networks: list[Network] = []
        """What this run has made; it is deleted if the definition is then refused."""
        self.networks: list[NetworkState] = []
        self.reservations: list[ReservationStep] = []
        """The declared networks and what is to be done about reservations, as `prepare` has seen them."""


def prepare(run: Run, *, makes_domain: bool = False) -> Domain | None:
    """Look at what there is, and refuse to go on, before anything is changed."""
    domain = look(run.vm, run.virsh)
    check_node(run.vm, run.virsh)
    if run.vm.installs and (domain.phase if domain else makes_domain):
        check_node(run.vm.while_installing(), run.virsh)
    run.networks = look_at_networks(run.vm, run.virsh)
    refuse_different_networks(run.vm, run.networks)
    if makes_domain and domain is None:
        need("make the domain", "virt-install")
        run.vm.secrets()
        if not os.path.exists(run.vm.file("domain.xml")):
            check_osinfo(run.vm)
    if makes_domain:
        known = {state.network.name: state.facts for state in run.networks if state.facts}
        run.reservations = look_at_reservations(run.vm, run.virsh, recorded_reservations(run.vm, domain), known)
    return domain


def make_networks(run: Run) -> None:
    """Make or start the declared networks."""
    for state in run.networks:
        if ensure_network(run.vm, run.virsh, state):
            run.made_networks.append(state.network)


def make_reservations(run: Run, domain: Domain | None) -> None:
    """Make the reservations. What a network has is known only once it is there."""
    if any(not state.active for state in run.networks):
        run.reservations = look_at_reservations(run.vm, run.virsh, recorded_reservations(run.vm, domain))
    carry_out_reservations(run.vm, run.virsh, run.reservations)
    new = any("--live" in step.flags and step.kind in ("add", "modify") for step in run.reservations)
    if new and domain is not None and domain.state in (*RUNNING, "paused"):
        run.vm.say(f"the guest takes its address when its lease is renewed, or at '{run.vm.make} restart'")


def make_storage(run: Run, domain: Domain | None) -> None:
    """Make pools and volumes. What fills them is needed to see whether they are whole, too."""
    vm, virsh = run.vm, run.virsh
    if domain is not None:
        start_stopped_pools(vm, virsh)
        if not has_gaps(vm, virsh, domain):
            return
    need_for_build(vm)
    drives = Beside(build_drives, vm)
    try:
        build_image(vm)
        build_members(vm)
        if vm.image_on_node:
            make_volumes_on_node(vm)
        for pool in vm.pools:
            if ensure_pool(vm, virsh, pool):
                run.made_pools.append(pool)
        for volume in vm.volumes:
            if vm.makes(volume.file):
                drives.result()
            if ensure_volume(vm, virsh, volume, domain):
                run.made_volumes.append(volume)
    except BaseException:
        drives.wait()
        raise
    drives.result()


def need_for_build(vm: Vm) -> None:
    """Name what is not installed, before anything is changed."""
    need_for_image(vm)
    need_for_drives(vm)
    need_for_members(vm)
    if vm.image_on_node:
        need_for_node(vm)


def make_what_is_missing(run: Run, domain: Domain | None) -> None:
    """Make networks, reservations, pools, volumes and the domain, as far as `prepare` has not found them."""
    make_networks(run)
    make_reservations(run, domain)
    make_storage(run, domain)
    if domain is None:
        define_new_domain(run)
    else:
        complete_domain(run, domain)


def define_new_domain(run: Run) -> None:
    """Define the domain. If it cannot be, what this run has made is deleted."""
    try:
        path, phase = domain_xml(run.vm, run.virsh, run.answers), ""
        if run.vm.installs:  # that there will be a lasting definition is known before hours are spent
            path, phase = install_xml(run.vm, run.virsh, run.answers), DEFINED
        define_domain(run.vm, run.virsh, path, phase)
    except Problem:
        take_back(run.vm, run.virsh, run.made_volumes, run.made_pools, run.made_networks)
        raise


def complete_domain(run: Run, domain: Domain) -> None:
    """Do what a run that was killed after it had defined the domain has left undone."""
    if not domain.phase:
        ensure_autostart(run.vm, run.virsh)
    complete_record(run.vm, run.virsh, domain)

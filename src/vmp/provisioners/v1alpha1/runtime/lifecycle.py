"""Making, starting, stopping and deleting: each target that changes something, from top to bottom."""

from __future__ import annotations

from collections.abc import Callable

from .address import warn_loose
from .deletion import ALL, delete_storage, delete_what
from .domain import (
    kill_domain,
    resume_domain,
    save_domain,
    start_domain,
    stop_domain,
    suspend_domain,
    take_down_domain,
)
from .drives import build_drives, clean_drives
from .files import remove
from .image import build_image, clean_image
from .installing import go_on_installing, make_anew_unless_begun
from .knobs import is_forced
from .libvirt import Domain
from .look import look, must_be_there, no_domain, still_to_install
from .making import (
    Run,
    complete_domain,
    define_new_domain,
    make_networks,
    make_storage,
    make_what_is_missing,
    need_for_build,
    prepare,
)
from .members import build_members, clean_members
from .networks import refuse_missing_networks, start_stopped_networks
from .node_download import clean_node
from .pools import ensure_pool, start_stopped_pools, stop_pools
from .record import tell_stale
from .reservations import carry_out_reservations
from .unused_networks import stop_networks


def up(run: Run) -> None:
    """Build, create and start; where the system is to be installed, that comes between."""
    vm = run.vm
    is_forced()
    domain = prepare(run, makes_domain=True)
    if domain and domain.phase:
        domain = make_anew_unless_begun(run, domain)
    make_what_is_missing(run, domain)
    if vm.installs if domain is None else domain.phase:
        go_on_installing(run)
        start_existing(run, look(vm, run.virsh))
        return
    was_running = start_domain(vm, run.virsh, domain.state if domain else "shut off")
    tell_stale(vm, run.virsh, domain)
    if was_running and domain:
        warn_loose(vm, domain)
        vm.say("is running")


def create(run: Run) -> None:
    """Make what is missing: networks, reservations, pools, volumes, domain."""
    domain = prepare(run, makes_domain=True)
    make_what_is_missing(run, domain)
    tell_stale(run.vm, run.virsh, domain)


def build(run: Run) -> None:
    """Download the image, take its members out, and make the seed and the config drives."""
    need_for_build(run.vm)
    build_image(run.vm)
    build_members(run.vm)
    build_drives(run.vm)


def create_network(run: Run) -> None:
    """Make the networks that this VM declares."""
    prepare(run)
    make_networks(run)


def create_pool(run: Run) -> None:
    """Make the pools of this VM."""
    prepare(run)
    for pool in run.vm.pools:
        ensure_pool(run.vm, run.virsh, pool)


def create_volume(run: Run) -> None:
    """Make pools and volumes."""
    domain = prepare(run)
    make_storage(run, domain)


def create_domain(run: Run) -> None:
    """Make the domain, and its reservations; its networks and volumes must be there."""
    domain = prepare(run, makes_domain=True)
    refuse_missing_networks(run.vm, run.networks)
    carry_out_reservations(run.vm, run.virsh, run.reservations)
    if domain is None:
        define_new_domain(run)
    else:
        complete_domain(run, domain)
    tell_stale(run.vm, run.virsh, domain)


def start(run: Run) -> None:
    """Start the networks and pools of this VM, and the domain."""
    domain = prepare(run)
    start_networks(run)
    start_stopped_pools(run.vm, run.virsh)
    start_existing(run, domain)


def start_networks(run: Run) -> None:
    """Start the declared networks that are not active; one that the domain needs must be there."""
    refuse_missing_networks(run.vm, run.networks)
    start_stopped_networks(run.vm, run.virsh, run.networks)


def start_network(run: Run) -> None:
    """Start the networks that this VM declares."""
    prepare(run)
    start_stopped_networks(run.vm, run.virsh, run.networks)


def start_only(run: Run) -> None:
    """Start the domain."""
    domain = prepare(run)
    refuse_missing_networks(run.vm, run.networks, inactive=True)
    start_existing(run, domain)


def start_existing(run: Run, domain: Domain | None) -> None:
    """Start a domain that must be there."""
    if domain is None:
        raise no_domain(run.vm)
    if domain.phase:
        raise still_to_install(run.vm, domain)
    start_domain(run.vm, run.virsh, domain.state)
    tell_stale(run.vm, run.virsh, domain)


def suspend(run: Run) -> None:
    """Let the guest stand still."""
    suspend_domain(run.vm, run.virsh, must_be_there(run.vm, run.virsh).state)


def resume(run: Run) -> None:
    """Let it go on."""
    resume_domain(run.vm, run.virsh, must_be_there(run.vm, run.virsh).state)


def save(run: Run) -> None:
    """Write its memory to disk, and stop it."""
    save_domain(run.vm, run.virsh, must_be_there(run.vm, run.virsh))


def start_pool(run: Run) -> None:
    """Start the pools of this VM."""
    prepare(run)
    start_stopped_pools(run.vm, run.virsh)


def restart(run: Run) -> None:
    """Stop the domain, and start it again."""
    domain = prepare(run)
    if domain and domain.phase:
        raise still_to_install(run.vm, domain)
    start_networks(run)
    stop_domain(run.vm, run.virsh, domain)
    start_stopped_pools(run.vm, run.virsh)
    start_existing(run, look(run.vm, run.virsh))


def stop(run: Run) -> None:
    """Ask the guest to shut down; pull the plug if it does not."""
    domain = look(run.vm, run.virsh)
    if domain and domain.phase and domain.state != "shut off":
        run.vm.say(f"its installation has not ended, and is broken off: '{run.vm.make} install' begins it again")
    stop_domain(run.vm, run.virsh, domain)


def stop_pool(run: Run) -> None:
    """Stop the pools of this VM."""
    stop_pools(run.vm, run.virsh)


def stop_network(run: Run) -> None:
    """Stop the networks that this VM declares, if no running domain is on them."""
    stop_networks(run.vm, run.virsh)


def stop_all(run: Run) -> None:
    """Stop the domain, then the pools and networks."""
    stop(run)
    stop_pools(run.vm, run.virsh)
    stop_networks(run.vm, run.virsh)


def kill(run: Run) -> None:
    """Pull the plug."""
    domain = look(run.vm, run.virsh)
    kill_domain(run.vm, run.virsh, domain.state if domain else "")


def down(run: Run) -> None:
    """Stop, delete all but what is to be retained, clean."""
    finish_down(run, take_down_domain(run.vm, run.virsh))


def finish_down(run: Run, disks: list[str] | None) -> None:
    """Delete what is stored, and clean, after the domain is gone; ``disks`` are what it had, None without a domain."""
    delete_storage(run.vm, run.virsh, ALL, run.users, disks)
    clean(run)


def delete(*what: str, all_: bool = False) -> Callable[[Run], None]:
    """Return the target that deletes these of domain, volume, pool and network."""

    def target(run: Run) -> None:
        delete_what(run.vm, run.virsh, frozenset(what), run.users, all_=all_)

    return target


def clean(run: Run) -> None:
    """Remove the seed, the config drives, and members of ISO images."""
    clean_drives(run.vm)
    clean_members(run.vm)


def clean_all(run: Run) -> None:
    """Remove the image and domain.xml, too."""
    vm = run.vm
    clean(run)
    remove(*[vm.file(name) for xml in ("domain.xml", "install.xml") for name in (xml, f"{xml}.sum")])
    if vm.image_on_node:
        clean_node(vm)
    clean_image(vm)

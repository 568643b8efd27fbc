"""`status`: what there is of this machine, and whether it runs."""

from __future__ import annotations

from .address import find_address, warn_loose
from .libvirt import look_at_domain, names
from .look import installing_in_words, refuse_foreign_domain
from .making import Run
from .networks import look_at_networks
from .record import tell_stale
from .records import Volume
from .say import write
from .storage import glance_at_volume, look_at_pool
from .virsh import Virsh


def status(run: Run) -> int:
    """Print what there is; return 0 if the domain runs."""
    vm, virsh = run.vm, run.virsh
    domain = look_at_domain(virsh, vm.domain)
    state = domain.state if domain else "not there"
    if domain is not None:
        if domain.phase:
            state += f", {installing_in_words(domain.state)}"
        info = virsh.ask("dominfo", f"--domain={vm.domain.uuid}").replace(" ", "")
        state += ", saved" if "Managedsave:yes" in info else ""
        state += ", transient" if "Persistent:no" in info else ""
    _row("domain", vm.domain.name, state)
    pools = {name: look_at_pool(virsh, name) for name in [*[pool.name for pool in vm.pools], *vm.domain.used_pools]}
    for name, pool in pools.items():
        _row("pool", name, "not there" if pool is None else "active" if pool.active else "not active")
    active = [name for name, pool in pools.items() if pool and pool.active]
    for network in look_at_networks(vm, virsh):
        there = "not there" if network.facts is None else "active" if network.active else "not active"
        _row("network", network.network.name, "; ".join([there, *network.differences]))
    used = [name for name in vm.domain.networks if name not in [network.name for network in vm.networks]]
    if used:
        active_networks, all_networks = names(virsh, "net-list"), names(virsh, "net-list", "--all")
        for name in used:
            there = "not active" if name in all_networks else "not there"
            _row("network", name, "active" if name in active_networks else there)
    for volume in vm.volumes:
        _row("volume", volume.key, _volume_state(virsh, volume, active))
    if domain is None or domain.phase or domain.state != "running":
        refuse_foreign_domain(vm, virsh, domain)
        tell_stale(vm, virsh, domain)
        return 1
    found = find_address(vm, virsh)
    _row("address", found.ip or "-", "" if found.ip else "not known")
    warn_loose(vm, domain)
    tell_stale(vm, virsh, domain)
    return 0


def _volume_state(virsh: Virsh, volume: Volume, active: list[str]) -> str:
    if volume.pool not in active:
        return "not known"
    facts = glance_at_volume(virsh, volume.pool, volume.name)
    return f"{facts.physical >> 20} MiB in {facts.path}" if facts else "not there"


def _row(kind: str, name: str, state: str) -> None:
    write(f"{kind:<8} {name:<40} {state}", stream=1)

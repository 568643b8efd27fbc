"""The first look of each target: what libvirt has of this machine, and whether the target may go on."""

from __future__ import annotations

import shlex

from .facts import Vm
from .libvirt import Domain, list_domains, look_at_domain, names
from .records import Pool
from .say import Problem
from .storage import PoolFacts, look_at_pool
from .virsh import Virsh


def look(vm: Vm, virsh: Virsh) -> Domain | None:
    """Look at the domain, and refuse to go on where it is not ours."""
    domain = look_at_domain(virsh, vm.domain)
    refuse_foreign_domain(vm, virsh, domain)
    return domain


def refuse_foreign_domain(vm: Vm, virsh: Virsh, domain: Domain | None) -> None:
    """Refuse a domain of our UUID that carries no mark, and one of our name with another UUID."""
    if domain is not None:
        if domain.mark is None:
            raise Problem(
                f"the domain with UUID {vm.domain.uuid} on {vm.uri} was not made by a provisioner: it carries no mark",
                "take that UUID out of the registry, or remove that domain",
            )
        if domain.name == vm.domain.name:  # no other domain can have it
            return
        vm.say(f"the domain was renamed: it is called '{domain.name}' now")
    for uuid, name in list_domains(virsh).items():
        if name == vm.domain.name and uuid != vm.domain.uuid:
            raise Problem(
                f"there is another domain '{name}' on {vm.uri}, which this provisioner did not make (UUID {uuid})",
                "give this VM another domain name, or remove that one",
            )


def check_node(vm: Vm, virsh: Virsh) -> None:
    """Refuse to change anything where a pool is somebody else's, or what is only used is not there or not active."""
    for pool in vm.pools:
        found = look_at_pool(virsh, pool.name)
        if found and not is_ours(pool, found):
            raise Problem(
                f"pool '{pool.name}' is somebody else's: its directory is {found.path}, not {pool.path}",
                "give this VM's pool another name, or the same directory",
            )
    for name in vm.domain.used_pools:
        pool_there = look_at_pool(virsh, name)
        if pool_there is None or not pool_there.active:
            _refuse_unusable(vm, "pool", "pool", name, pool_there is not None)
    declared = [network.name for network in vm.networks]
    used = [name for name in vm.domain.networks if name not in declared]
    active = names(virsh, "net-list") if used else []
    for name in used:
        if name not in active:
            _refuse_unusable(vm, "network", "net", name, name in names(virsh, "net-list", "--all"))


def is_ours(pool: Pool, found: PoolFacts) -> bool:
    """Tell whether a pool of this name has the directory that we declare; libvirt keeps paths without spare slashes."""
    plain = pool.path
    while "//" in plain:
        plain = plain.replace("//", "/")
    return found.path == (plain.rstrip("/") or "/")


def _refuse_unusable(vm: Vm, kind: str, command: str, name: str, defined: bool) -> None:
    virsh = ["virsh", "-c", vm.uri]
    start = shlex.join([*virsh, f"{command}-start", name])
    if defined:
        link = f"a guest that runs on it has lost its link: then '{vm.make} restart' connects it again"
        raise Problem(
            f"{kind} '{name}' is not active on {vm.uri}", f"start it: {start}", link if kind == "network" else ""
        )
    define = ("pool-define-as", name, "dir", "--target", "DIRECTORY") if kind == "pool" else ("net-define", "FILE.xml")
    raise Problem(
        f"there is no {kind} '{name}' on {vm.uri}",
        f"make it: {shlex.join([*virsh, *define])}",
        f"then start it: {start}",
    )


def no_domain(vm: Vm) -> Problem:
    """Return the error of a target that needs a domain."""
    return Problem(f"there is no domain {vm.domain.name}", "'make create' makes it, 'make up' makes and starts it")


def installing_in_words(state: str) -> str:
    """Return how a domain stands whose installation has not ended, in words for a table."""
    return "to be installed" if state in ("shut off", "crashed") else "installing"


def still_to_install(vm: Vm, domain: Domain) -> Problem:
    """Return the error of a target that needs an installed system."""
    if installing_in_words(domain.state) == "installing":
        return Problem("its system is being installed", f"'{vm.make} up' waits for the end, and starts it")
    return Problem("its system is still to be installed", f"'{vm.make} up' installs and starts it, or says why not")


def must_be_there(vm: Vm, virsh: Virsh) -> Domain:
    """Return the domain, and refuse to go on without it."""
    domain = look(vm, virsh)
    if domain is None:
        raise no_domain(vm)
    return domain

"""The first look of each target: what libvirt has of this machine, and whether the target may go on."""

from __future__ import annotations

from typing import NamedTuple

from .facts import Pool, Vm
from .libvirt import Domain, list_domains, look_at_domain, names, pool_path
from .say import Problem
from .virsh import Virsh


class Seen(NamedTuple):
    """What a look has found."""

    domains: dict[str, str]
    """The names of all domains of the node, by UUID."""
    domain: Domain | None


def look(vm: Vm, virsh: Virsh) -> Seen:
    """Look at the domain, and refuse to go on where it is not ours."""
    seen = glance(vm, virsh)
    refuse_foreign_domain(vm, seen)
    return seen


def glance(vm: Vm, virsh: Virsh) -> Seen:
    """Look at the domain, whosever it is."""
    domains = list_domains(virsh)
    return Seen(domains, look_at_domain(virsh, vm.domain.uuid, domains))


def refuse_foreign_domain(vm: Vm, seen: Seen) -> None:
    """Refuse a domain of our UUID that carries no mark, and one of our name with another UUID."""
    if seen.domain is not None:
        if seen.domain.mark is None:
            raise Problem(
                f"the domain with UUID {vm.domain.uuid} on {vm.uri} was not made by a provisioner: it carries no mark",
                "take that UUID out of the registry, or remove that domain",
            )
        if seen.domain.name != vm.domain.name:
            vm.say(f"the domain was renamed: it is called '{seen.domain.name}' now")
    for uuid, name in seen.domains.items():
        if name == vm.domain.name and uuid != vm.domain.uuid:
            raise Problem(
                f"there is another domain '{name}' on {vm.uri}, which this provisioner did not make (UUID {uuid})",
                "give this VM another domain name, or remove that one",
            )


def check_node(vm: Vm, virsh: Virsh) -> None:
    """Refuse to change anything where a pool is somebody else's, or what is only used is not there or not active."""
    for pool in vm.pools:
        found = pool_path(virsh, pool.name)
        if found and not is_ours(pool, found):
            raise Problem(
                f"pool '{pool.name}' is somebody else's: its directory is {found}, not {pool.path}",
                "give this VM's pool another name, or the same directory",
            )
    for kind, command, wanted in (("pool", "pool", vm.domain.used_pools), ("network", "net", vm.domain.networks)):
        if not wanted:
            continue
        active = names(virsh, f"{command}-list")
        for name in wanted:
            if name not in active:
                _refuse_unusable(vm, kind, command, name, name in names(virsh, f"{command}-list", "--all"))


def is_ours(pool: Pool, path: str) -> bool:
    """Tell whether a pool of this name has the directory that we declare; libvirt keeps paths without spare slashes."""
    plain = pool.path
    while "//" in plain:
        plain = plain.replace("//", "/")
    return path == (plain.rstrip("/") or "/")


def _refuse_unusable(vm: Vm, kind: str, command: str, name: str, defined: bool) -> None:
    import shlex

    def pasted(*words: str) -> str:
        return " ".join(map(shlex.quote, ["virsh", "-c", vm.uri, *words]))

    start = pasted(f"{command}-start", name)
    if defined:
        link = f"a guest that runs on it has lost its link: then '{vm.make} restart' connects it again"
        raise Problem(
            f"{kind} '{name}' is not active on {vm.uri}", f"start it: {start}", link if kind == "network" else ""
        )
    define = ("pool-define-as", name, "dir", "--target", "DIRECTORY") if kind == "pool" else ("net-define", "FILE.xml")
    raise Problem(f"there is no {kind} '{name}' on {vm.uri}", f"make it: {pasted(*define)}", f"then start it: {start}")

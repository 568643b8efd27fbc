"""Pools that belong to this machine: made when they are missing, started when they are not active."""

from __future__ import annotations

from .facts import Pool, Vm
from .files import scratch
from .libvirt import escape, names, pool_path
from .look import is_ours
from .say import Problem
from .virsh import Virsh


def ensure_pool(vm: Vm, virsh: Virsh, pool: Pool) -> bool:
    """Make or start a pool, if it is not active; return whether this run has made it."""
    if pool.name in names(virsh, "pool-list"):
        return False
    failures = []
    missing = pool.name not in names(virsh, "pool-list", "--all")
    if missing:
        failures.append(define_pool(vm, virsh, pool))
    failures.append(virsh.try_("pool-build", f"--pool={pool.name}"))
    failures.append(virsh.try_("pool-start", f"--pool={pool.name}"))
    if pool.name not in names(virsh, "pool-list"):
        raise Problem(f"could not make pool {pool.name}", *filter(None, failures))
    made = missing and not failures[0]  # else another run was faster
    if made or not failures[-1]:
        vm.say(f"{'created' if missing else 'started'} pool {pool.name}")
    return made


def define_pool(vm: Vm, virsh: Virsh, pool: Pool) -> str:
    """Define a pool; return libvirt's words if it refuses. (virsh's pool-define-as escapes no names.)"""
    target = f"<target><path>{escape(pool.path)}</path></target>"
    with scratch(vm.file("create.tmp"), f"<pool type='dir'><name>{escape(pool.name)}</name>{target}</pool>") as path:
        return virsh.try_("pool-define", f"--file={path}")


def start_stopped_pools(vm: Vm, virsh: Virsh) -> None:
    """Start the pools that are defined but not active; those that are missing are made only by `create`."""
    if not vm.pools:
        return
    defined = names(virsh, "pool-list", "--all")
    for pool in vm.pools:
        if pool.name in defined:
            ensure_pool(vm, virsh, pool)


def stop_pools(vm: Vm, virsh: Virsh) -> None:
    """Stop the pools that are ours."""
    for pool in vm.pools:
        found = pool_path(virsh, pool.name)
        if found and not is_ours(pool, found):
            vm.say(f"left pool {pool.name} alone: its directory is {found}, not {pool.path}")
        elif found and pool.name in names(virsh, "pool-list"):
            failure = virsh.try_("pool-destroy", f"--pool={pool.name}")
            if failure and pool.name in names(virsh, "pool-list"):
                raise Problem(f"could not stop pool {pool.name}", failure)
            vm.say(f"stopped pool {pool.name}")

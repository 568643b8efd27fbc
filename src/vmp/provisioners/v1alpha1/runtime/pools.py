"""Pools that belong to this machine: made when they are missing, started when they are not active."""

from __future__ import annotations

from .facts import Vm
from .files import scratch
from .libvirt import escape
from .look import is_ours
from .records import Pool
from .say import Problem
from .storage import is_active, look_at_pool
from .virsh import Virsh


def ensure_pool(vm: Vm, virsh: Virsh, pool: Pool) -> bool:
    """Make or start a pool, if it is not active; return whether this run has made it."""
    found = look_at_pool(virsh, pool.name)
    if found and found.active:
        return False
    failures = []
    missing = found is None
    if missing:
        failures.append(define_pool(vm, virsh, pool))
    failures.append(virsh.try_("pool-build", f"--pool={pool.name}"))
    failures.append(virsh.try_("pool-start", f"--pool={pool.name}"))
    if failures[-1] and not is_active(virsh, pool.name):
        raise Problem(f"could not make pool {pool.name}", *filter(None, failures))
    made = missing and not failures[0]  # else another run has made it first
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
    for pool in vm.pools:
        found = look_at_pool(virsh, pool.name)
        if found and not found.active:
            ensure_pool(vm, virsh, pool)


def stop_pools(vm: Vm, virsh: Virsh) -> None:
    """Stop the pools that are ours."""
    for pool in vm.pools:
        found = look_at_pool(virsh, pool.name)
        if found and not is_ours(pool, found):
            vm.say(f"left pool {pool.name} alone: its directory is {found.path}, not {pool.path}")
        elif found and found.active:
            failure = virsh.try_("pool-destroy", f"--pool={pool.name}")
            if failure and is_active(virsh, pool.name):
                raise Problem(f"could not stop pool {pool.name}", failure)
            vm.say(f"stopped pool {pool.name}")

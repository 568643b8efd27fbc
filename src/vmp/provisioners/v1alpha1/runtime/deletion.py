"""Deletion: the domain with all that belongs to it, volumes that nobody uses, pools that are empty, networks."""

from __future__ import annotations

import time

from .conversation import Failed
from .domain import delete_domain_and_its_keys
from .domain_xml import forget
from .facts import Vm
from .libvirt import domain_state
from .look import is_ours, look
from .network_records import Network
from .pools import define_pool
from .records import Pool, Volume
from .reservations import remove_reservations
from .say import Problem
from .storage import is_active, list_volumes, look_at_pool
from .unused_networks import delete_networks
from .users import LastingUsers, Users, find_users
from .virsh import Virsh

ALL = frozenset(["domain", "volume", "pool", "network"])


def delete_what(vm: Vm, virsh: Virsh, what: frozenset[str], users: LastingUsers, *, all_: bool) -> None:
    """Delete ``what`` of domain, volume, pool and network; also what is to be retained if ``all_``."""
    domain = look(vm, virsh)
    disks = None
    if "domain" in what:
        disks = delete_domain_and_its_keys(vm, virsh, domain)
    elif domain is not None:
        raise Problem(
            f"domain {vm.domain.name} is there, and uses its volumes, pools and networks",
            f"delete it first: '{vm.make} delete/domain'",
        )
    delete_storage(vm, virsh, what, users, disks, all_=all_)


def delete_storage(
    vm: Vm, virsh: Virsh, what: frozenset[str], users: LastingUsers, disks: list[str] | None, *, all_: bool = False
) -> None:
    """Delete ``what`` of volume, pool and network; ``disks`` are those that the domain had, None if there was none."""
    if what & {"volume", "pool"}:
        own = [pool for pool in vm.pools if _bring_up_to_date(vm, virsh, pool, disks is not None, all_)]
        for pool in vm.pools if "pool" in what else ():
            found = None if pool in own else look_at_pool(virsh, pool.name)
            if found and not is_ours(pool, found):
                vm.say(f"kept pool {pool.name}: its directory is {found.path}, not {pool.path}")
        if "volume" in what:
            _delete_volumes(vm, virsh, users, disks or [], own, all_)
        if "pool" in what:
            for pool in own:
                _delete_pool(vm, virsh, pool, all_)
    if "network" in what:
        delete_networks(vm, virsh, users, all_=all_)


def _bring_up_to_date(vm: Vm, virsh: Virsh, pool: Pool, had_domain: bool, all_: bool) -> bool:
    """Let libvirt see what a pool of ours holds; return whether the pool is there and ours.

    Somebody may have put files into it or taken them away, or have undefined the pool under our domain.
    """
    found = look_at_pool(virsh, pool.name)
    if found and not is_ours(pool, found):
        return False
    if not found:
        if not had_domain or (pool.retained and not all_):
            return False
        define_pool(vm, virsh, pool)
    if found and found.active:
        virsh.try_("pool-refresh", f"--pool={pool.name}")
        return True
    virsh.try_("pool-build", f"--pool={pool.name}")  # without its directory it cannot start, and holds nothing
    failure = virsh.try_("pool-start", f"--pool={pool.name}")
    if failure and not is_active(virsh, pool.name):
        vm.say(f"kept pool {pool.name}, and what is in it: it cannot be started: {failure}")
        return False
    return True


def _delete_volumes(
    vm: Vm, virsh: Virsh, found_users: LastingUsers, disks: list[str], own: list[Pool], all_: bool
) -> None:
    others = {pool.name: pool for pool in vm.pools if pool not in own}
    pools = {name: look_at_pool(virsh, name) for name in dict.fromkeys(volume.pool for volume in vm.volumes)}
    paths = {name: list_volumes(virsh, name) if pool and pool.active else {} for name, pool in pools.items()}
    there: dict[str, str] = {}
    candidates: list[tuple[Volume | None, str, str]] = []
    for volume in vm.volumes:
        pool, path = pools[volume.pool], paths[volume.pool].get(volume.name, "")
        if path:
            there[path] = volume.key
        if volume.retained and not all_:
            continue
        if volume.pool in others:
            if pool and not is_ours(others[volume.pool], pool):
                vm.say(f"kept volume {volume.key}: the pool is somebody else's")
        elif path:
            candidates.insert(0, (volume, volume.key, path))  # overlays before what they lie over
        elif volume.pool in vm.domain.used_pools and pool and not pool.active:
            vm.say(
                f"kept volume {volume.key}, if it is there: pool {volume.pool} is not active; start it, delete again"
            )
    if not candidates:
        return
    users = found_users.find(vm, virsh)
    layers = _snapshot_layers(vm, users, disks, there, {path for _, _, path in candidates})
    going: set[str] = set()
    for ours, key, path in [*layers, *candidates]:
        user = users.user_of(path, key, frozenset(going))
        if not user and ours is not None and ours.file and not vm.makes(ours.file) and users.unread:
            disk, name = next(iter(users.unread.items()))
            user = f"domain {name} may lie over it, as nobody can read what its disk {disk} is backed by; perhaps it"
        if user:
            vm.say(f"kept volume {key}: {user} uses it")
        elif _delete_volume(virsh, key):
            vm.say(f"deleted volume {key}")
            going.add(path)
            users.forget(f"volume {path}")


def _snapshot_layers(
    vm: Vm, users: Users, disks: list[str], there: dict[str, str], going: set[str]
) -> list[tuple[Volume | None, str, str]]:
    """Return the volumes that external snapshots have put over volumes of ours, the uppermost first.

    With a volume that goes they go too; over one that stays they stay, as they hold what was written since.
    """
    found: list[tuple[Volume | None, str, str]] = []
    for disk in disks:
        chain: list[tuple[Volume | None, str, str]] = []
        path = disk
        while path not in there and path in users.paths and users.backing.get(path):
            chain.append((None, "/".join(users.paths[path]), path))
            path = users.backing[path]
        if not chain or path not in there or chain[0] in found:
            continue
        if path in going:
            found += chain
        else:
            vm.say(
                f"kept volume {chain[0][1]}: a snapshot made it, and what was written since is only there; "
                f"merge it into {path} before the next 'make up', which would go on from before the snapshot"
            )
    return found


def delete_written_volumes(vm: Vm, virsh: Virsh, found_users: LastingUsers, names: frozenset[str]) -> None:
    """Delete the disks that the guest writes, but for those to be retained. The domain (by its names) is off."""
    users = found_users.find(vm, virsh)
    disks = {*vm.domain.volumes, *(vm.while_installing().domain.volumes if vm.installs else ())}
    for volume in reversed(vm.volumes):
        path = list_volumes(virsh, volume.pool).get(volume.name, "")
        if not path or volume.read_only or volume.key not in disks:
            continue
        if volume.retained:
            vm.say(f"kept volume {volume.key} as it is: it is to be retained")
            continue
        user = users.user_of(path, volume.key, names)
        if user:
            raise Problem(f"volume {volume.key} is used by {user}: it stays as it is", "give this VM's another name")
        if _delete_volume(virsh, volume.key):
            vm.say(f"deleted volume {volume.key}")
        users.forget(f"volume {path}")


def _delete_volume(virsh: Virsh, key: str) -> bool:
    """Delete a volume; return whether this run has done it, and not another one. A busy pool is tried again."""
    pool, _, name = key.partition("/")
    for attempt in range(10):
        try:
            virsh.ask("vol-delete", f"--pool={pool}", f"--vol={name}")
            return True
        except Failed as error:
            if name not in list_volumes(virsh, pool):
                return False
            if attempt == 9:
                raise Problem("could not delete everything", f"volume {key}: {error}") from None
            virsh.try_("pool-refresh", f"--pool={pool}")  # its file may be gone
            if name not in list_volumes(virsh, pool):
                return False
            time.sleep(0.2 * attempt)
    return False


def _delete_pool(vm: Vm, virsh: Virsh, pool: Pool, all_: bool) -> None:
    """Delete a pool that is ours, meant to go, and holds nothing; its directory too, if it is empty."""
    if pool.retained and not all_:
        return
    held = sorted(list_volumes(virsh, pool.name))
    if held:
        vm.say(f"kept pool {pool.name}: it holds {', '.join(held)}")
        return
    kept = ""
    if is_active(virsh, pool.name):  # else it has no directory
        failure = virsh.try_("pool-destroy", f"--pool={pool.name}")
        if failure and is_active(virsh, pool.name):
            raise Problem("could not delete everything", f"pool {pool.name}: {failure}")
        for _ in range(2):  # no later run finds the directory of an undefined pool
            kept = virsh.try_("pool-delete", f"--pool={pool.name}")
            if not kept:
                break
    failure = virsh.try_("pool-undefine", f"--pool={pool.name}")
    if failure and look_at_pool(virsh, pool.name):
        raise Problem("could not delete everything", f"pool {pool.name}: {failure}")
    if kept:
        vm.say(f"kept the directory of pool {pool.name}: {kept}")
    if not failure:
        vm.say(f"deleted pool {pool.name}")


def take_back(vm: Vm, virsh: Virsh, volumes: list[Volume], pools: list[Pool], networks: list[Network]) -> None:
    """Undo what a run has made whose domain could not be defined; not what is to be retained, or what others use."""
    try:
        if domain_state(virsh, vm.domain.uuid):
            return  # libvirt has defined it after all, and it needs them
        forget(vm, "domain.xml", "install.xml")
        users = find_users(vm, virsh)
        for volume in reversed(volumes):
            path = list_volumes(virsh, volume.pool).get(volume.name, "")
            if path and not volume.retained and not users.user_of(path, volume.key):
                if _delete_volume(virsh, volume.key):
                    vm.say(f"deleted volume {volume.key}")
                users.forget(f"volume {path}")
        for pool in reversed(pools):
            _delete_pool(vm, virsh, pool, all_=False)
        remove_reservations(vm, virsh, ())
        delete_networks(vm, virsh, LastingUsers(), only=networks)
    except Problem:
        return  # the first failure is the one to tell; `down` finds what stays

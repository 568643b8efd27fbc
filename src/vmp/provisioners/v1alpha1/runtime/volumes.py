"""Volumes: each is looked at, then made, filled or grown. Overlays come after what they are backed by.

A volume that is filled from a file is made with one byte, then filled. Until it has the file's size it is incomplete,
whoever made it. It is made as raw, because a fresh qcow2 can be larger than the file; libvirt reads the real format
once it is filled.
"""

from __future__ import annotations

import os
import shlex
import time

from .facts import Vm
from .files import remove, scratch, size_of
from .filling import fill, same_ends
from .libvirt import Domain, disk_sources, escape
from .members import MEMBER_TMP
from .pools import ensure_pool
from .records import Volume
from .say import Problem
from .storage import VolumeFacts, look_at_pool, look_at_volume, look_at_volumes
from .users import find_users
from .virsh import Virsh

_PATIENCE = 10
"""Seconds for which a volume may stand still until it is taken for abandoned."""


def ensure_volume(vm: Vm, virsh: Virsh, volume: Volume, domain: Domain | None) -> bool:
    """Bring one volume to what the directory says; return whether this run has made it."""
    facts, made = look_at_volume(virsh, volume.pool, volume.name), False
    if facts and volume.file and not volume.by_node:
        facts = _judge_filled(vm, virsh, volume, facts, domain is not None)
    if facts is None:
        if domain is not None and not vm.makes(volume.file) and _is_open(virsh, volume, domain):
            raise Problem(
                f"volume {volume.key} is not there any more, and the domain is {domain.state}",
                "the guest goes on with the deleted file, and what is in it is lost when it stops: save it from inside",
                f"then '{vm.make} kill up' makes the volume anew",
            )
        facts = _make(vm, virsh, volume)
        if facts is None:  # another run has made it first: it may be filling it
            return ensure_volume(vm, virsh, volume, domain)
        made = True
    if (made or domain is None) and facts.capacity < volume.capacity:
        virsh.ask("vol-resize", f"--pool={volume.pool}", f"--vol={volume.name}", f"--capacity={volume.capacity}")
        vm.say(f"grew volume {volume.key} to {volume.capacity_text}")
    return made


def _make(vm: Vm, virsh: Virsh, volume: Volume) -> VolumeFacts | None:
    """Make a volume that is not there, and fill it; None where another run has made it first."""
    if volume.by_node:
        raise Problem(f"volume {volume.key} is missing; node {vm.node} was to fill it from the image")
    if volume.file:
        check_file(vm, volume)
        xml = _xml(volume.name, "raw", 1)
    elif volume.backing:
        base = look_at_volume(virsh, volume.backing.pool, volume.backing.name)
        base_key = f"{volume.backing.pool}/{volume.backing.name}"
        if base is None:
            raise Problem(f"volume {base_key} is missing; another volume is backed by it")
        if 0 < volume.capacity < base.capacity:
            raise Problem(
                f"volume {volume.key} is to have {volume.capacity_text}, less than the {base.capacity} bytes of "
                f"{base_key}, on which it is based",
                "a disk cannot be cut off: give it more, or no capacity at all",
            )
        backing = f"<path>{escape(base.path)}</path><format type='{escape(volume.backing.format)}'/>"
        xml = _xml(volume.name, volume.format, volume.capacity or base.capacity, backing)
    else:
        xml = _xml(volume.name, volume.format, volume.capacity)
    if not _create(vm, virsh, volume, xml):
        return None
    if volume.file:
        fill(vm, virsh, volume)
    vm.say(f"created volume {volume.key}")
    return look_at_volume(virsh, volume.pool, volume.name)


def check_file(vm: Vm, volume: Volume) -> None:
    """Refuse to fill a volume from nothing."""
    if not size_of(vm.file(volume.file)):
        raise Problem(f"cannot upload {volume.file} to volume {volume.key}: there is no such file, or it is empty")


def _xml(name: str, form: str, capacity: int, backing: str = "") -> str:
    # Without compat libvirt makes the qcow2 that QEMU had before 2012.
    compat = "<compat>1.1</compat>" if form == "qcow2" else ""
    return (
        f"<volume><name>{escape(name)}</name><capacity unit='bytes'>{capacity}</capacity><allocation>0</allocation>"
        f"<target><format type='{escape(form)}'/>{compat}</target>"
        f"{backing and f'<backingStore>{backing}</backingStore>'}</volume>"
    )


def _create(vm: Vm, virsh: Virsh, volume: Volume, xml: str) -> bool:
    """Create a volume; False where another run has created it meanwhile. A pool that is busy is tried again."""
    failure = ""
    for attempt in range(3):
        with scratch(vm.file("create.tmp"), xml) as path:
            failure = virsh.try_("vol-create", f"--pool={volume.pool}", f"--file={path}")
        if not failure:
            return True
        # libvirt may take a pool for active whose directory is gone, or not know a file that is there: a refresh tells.
        virsh.try_("pool-refresh", f"--pool={volume.pool}")
        for pool in vm.pools:
            if pool.name == volume.pool:
                ensure_pool(vm, virsh, pool)
        if look_at_volume(virsh, volume.pool, volume.name):
            return False
        time.sleep(attempt)
    raise Problem("could not make the volumes", f"volume {volume.key}: {failure}")


def _judge_filled(vm: Vm, virsh: Virsh, volume: Volume, facts: VolumeFacts, has_domain: bool) -> VolumeFacts | None:
    """Return the volume if it may stay as it is; wait for one that is being filled, delete one that was abandoned."""
    if has_domain:
        _refuse_beginning(vm, virsh, volume, facts)
        return facts
    if vm.makes(volume.file):
        # The volume of a seed or drive is made anew with each domain: it is small, and must never be an old one.
        user = find_users(vm, virsh).user_of(facts.path, volume.key)
        if user:
            raise Problem(
                f"volume {volume.key} is used by {user}: it is not this VM's to fill",
                "give the volume another name or pool",
            )
        virsh.ask("vol-delete", f"--pool={volume.pool}", f"--vol={volume.name}")
        return None
    size = size_of(vm.file(volume.file))
    if not size:
        raise Problem(f"cannot tell whether volume {volume.key} is complete: there is no {volume.file}, or it is empty")
    if facts.physical >= size:  # a guest's writes may have made it larger
        if volume.read_only and not volume.capacity and not same_ends(vm, virsh, volume, size):
            raise _other(vm, volume, facts.physical)
        return facts
    vm.say(f"volume {volume.key} is incomplete ({facts.physical} of {size} bytes): waiting to see whether it grows")
    still, found = 0, facts
    while still < _PATIENCE and found.physical < size:
        time.sleep(1)
        again = look_at_volume(virsh, volume.pool, volume.name)
        if again is None:
            return None
        still = still + 1 if again.physical == found.physical else 0
        found = again
    if found.physical >= size:
        return _judge_filled(vm, virsh, volume, found, has_domain)
    _delete_abandoned(vm, virsh, volume, found)
    return None


def _refuse_beginning(vm: Vm, virsh: Virsh, volume: Volume, facts: VolumeFacts) -> None:
    """Refuse a volume of an existing domain that is the beginning of its file: nobody knows what was written to it."""
    size = size_of(vm.file(volume.file))
    if not vm.makes(volume.file) and facts.physical < size and same_ends(vm, virsh, volume, facts.physical):
        delete = shlex.join(["virsh", "-c", vm.uri, "vol-delete", f"--pool={volume.pool}", f"--vol={volume.name}"])
        raise Problem(
            f"volume {volume.key} has only {facts.physical} of the {size} bytes of {volume.file}",
            "an interrupted run may have left it so; then delete it, and the next 'up' makes it anew:",
            delete,
            f"or '{vm.make} start' starts the VM with it as it is",
        )


def _delete_abandoned(vm: Vm, virsh: Virsh, volume: Volume, facts: VolumeFacts) -> None:
    """Delete what an interrupted run left. It is ours only if nobody uses it and it is the beginning of our file."""
    user = find_users(vm, virsh).user_of(facts.path, volume.key)
    if user:
        size = size_of(vm.file(volume.file))
        raise Problem(
            f"volume {volume.key} has {facts.physical} bytes and its file {volume.file} has {size}, but {user} uses it",
            "give this VM's volume another name, or delete it when it is not needed",
        )
    if facts.capacity > 1024 and not same_ends(vm, virsh, volume, facts.physical):  # else nothing has come into it
        raise _other(vm, volume, facts.physical)
    again = look_at_volume(virsh, volume.pool, volume.name)
    if again is None or again.physical != facts.physical:
        return  # another run was waiting, too, and has begun it anew
    failure = virsh.try_("vol-delete", f"--pool={volume.pool}", f"--vol={volume.name}")
    if failure and look_at_volume(virsh, volume.pool, volume.name):
        raise Problem(f"could not delete the incomplete volume {volume.key}", failure)
    vm.say(f"deleted volume {volume.key}, which an interrupted run had left incomplete")


def _other(vm: Vm, volume: Volume, physical: int) -> Problem:
    return Problem(
        f"volume {volume.key} is something else than {volume.file}: it has {physical} bytes, the file has "
        f"{size_of(vm.file(volume.file))}",
        "give this VM's volume another name, or delete it when it is not needed",
    )


def has_gaps(vm: Vm, virsh: Virsh, domain: Domain) -> bool:
    """Tell whether volumes of a domain are not there, or, while it is off, shorter than what they are filled from."""
    found = look_at_volumes(virsh, [(volume.pool, volume.name) for volume in vm.volumes])
    return any(
        facts is None or (_is_off(domain) and _is_file(vm, volume) and facts.physical < size_of(vm.file(volume.file)))
        for volume, facts in zip(vm.volumes, found)
    )


def _is_file(vm: Vm, volume: Volume) -> bool:
    """Tell whether a volume is filled from a file that is not made here."""
    return bool(volume.file) and not vm.makes(volume.file)


def _is_off(domain: Domain) -> bool:
    return domain.state in ("shut off", "crashed")


def _is_open(virsh: Virsh, volume: Volume, domain: Domain) -> bool:
    """Tell whether a running domain has a volume open, be it deleted."""
    pool = look_at_pool(virsh, volume.pool)
    path = f"{pool.path.rstrip('/')}/{volume.name}" if pool else ""
    return not _is_off(domain) and not {path, volume.key}.isdisjoint(disk_sources(domain.xml))


def clear_leftovers(vm: Vm) -> None:
    """Remove what a run that was killed has left in the directory."""
    for name in (
        "create.tmp",
        "create.tmp.tmp",
        "apply.tmp",
        "apply.tmp.tmp",
        "ends.tmp",
        "domain.xml.tmp",
        "domain.xml.sum.tmp",
        f"{vm.seed}.sum.tmp",
        *[f"{drive.path}.sum.tmp" for drive in vm.config_drives],
        MEMBER_TMP,
    ):
        remove(os.path.join(vm.directory, name))

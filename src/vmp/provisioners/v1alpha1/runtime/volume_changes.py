"""What `apply` does to volumes that are there: disks grow, and drives of new documents replace the old."""

from __future__ import annotations

from .changes import may_grow
from .definition import instance_id, seed_sum
from .drive_changes import changed_documents, changed_drives
from .drives import build_drive, build_seed
from .facts import Vm
from .graft import source_of
from .making import Run
from .record import Record
from .records import Volume
from .say import Problem
from .seen import Seen
from .snapshots import snapshot_names
from .storage import glance_at_volume
from .virsh import Virsh
from .volumes import ensure_volume


def grow_volume(vm: Vm, virsh: Virsh, volume: Volume, seen: Seen) -> None:
    """Grow a volume that is there. One that a guest has open only its QEMU can grow."""
    facts = seen.volumes[volume.key]
    if may_grow(vm, volume) and facts is None and volume.capacity:
        facts = glance_at_volume(virsh, volume.pool, volume.name)  # its pool was not active at the first look
    if facts is None or not may_grow(vm, volume) or facts.capacity >= volume.capacity:
        return
    is_open = seen.on and any(source_of(disk) == facts.path for disk in seen.current.iterfind("devices/disk"))
    if is_open:
        words = ("blockresize", f"--domain={vm.domain.uuid}", f"--path={facts.path}", f"--size={volume.capacity}B")
    else:
        words = ("vol-resize", f"--pool={volume.pool}", f"--vol={volume.name}", f"--capacity={volume.capacity}")
    failure = virsh.try_(*words)
    if failure:
        raise Problem(f"could not grow volume {volume.key} to {volume.capacity_text}", failure)
    sees = "the guest sees it now" if is_open else "the guest sees it when it starts"
    vm.say(f"grew volume {volume.key} to {volume.capacity_text}: {sees}; its file system grows in the guest")
    if snapshot_names(virsh, vm.domain.uuid):
        vm.say(f"the snapshots of {vm.domain.name} keep the old size, and 'revert' brings it back")


def replace_drives(run: Run, seen: Seen) -> None:
    """Put the seed and config drives of changed documents in place of the old ones."""
    vm, before, now = run.vm, seen.record.seed, seed_sum(run.vm)
    if changed_documents(before, now) and any(vm.seed and volume.file == vm.seed for volume in vm.volumes):
        build_seed(vm)
        _fill_anew(run, vm.seed)
        vm.say(f"replaced the seed: the guest gets it at its next start; {_effect_of_seed(vm, seen.record)}")
    changed = changed_drives(before, now)
    for drive in vm.config_drives:
        if drive.path in changed and any(volume.file == drive.path for volume in vm.volumes):
            build_drive(vm, drive)
            _fill_anew(run, drive.path)
            vm.say(f"replaced the config drive {drive.path}: the guest gets it at its next start")


def _fill_anew(run: Run, file: str) -> None:
    """Make the volumes of a drive anew. A guest that has one open keeps the deleted file."""
    vm, virsh = run.vm, run.virsh
    for volume in vm.volumes:
        if volume.file != file or volume in run.made_volumes:
            continue
        facts = glance_at_volume(virsh, volume.pool, volume.name)
        if facts:
            user = run.users.find(vm, virsh).user_of(facts.path, volume.key, frozenset([vm.domain.name]))
            if user:
                message = f"volume {volume.key} is used by {user}: it is not this VM's to fill"
                raise Problem(message, "give it another name")
            virsh.ask("vol-delete", f"--pool={volume.pool}", f"--vol={volume.name}")
        ensure_volume(vm, virsh, volume, None)


def _effect_of_seed(vm: Vm, record: Record) -> str:
    """Say what cloud-init makes of a new seed (https://docs.cloud-init.io/en/latest/explanation/first_boot.html)."""
    known, now = record.facts.get("instanceId"), instance_id(vm)
    if known is None:
        return "with an instance-id that it knows, cloud-init does next to nothing"
    if known == now:
        return f"the instance-id is still '{now}', with which cloud-init does next to nothing"
    return (
        f"the instance-id is new ('{now}'), so cloud-init does everything once more: it makes the SSH host keys anew "
        "(then delete known_hosts), adds users and keys, and takes none away"
    )

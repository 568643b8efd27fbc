"""Whether libvirt can make a snapshot of a domain: asked before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from .conversation import Failed
from .facts import Vm
from .libvirt import RUNNING, Domain, libvirt_version, list_domains, parse
from .look import still_to_install
from .nvram import has_uefi, is_in_snapshots
from .say import Problem
from .virsh import Virsh

_WITH_UEFI = (10, 9)
"""Since this libvirt a running guest with UEFI can have a snapshot."""

_FILES = ("dir", "fs", "netfs")
"""Types of pools whose volumes grow as long as there is room in their file system."""


def refuse_transient(vm: Vm, virsh: Virsh) -> None:
    """Refuse a domain that is gone once it is off, and its snapshots with it."""
    if vm.domain.uuid in list_domains(virsh, "--transient"):
        raise Problem(
            f"domain {vm.domain.name} is transient: it goes when it stops, and libvirt forgets its snapshots then",
            f"'{vm.make} stop up' makes it a lasting one",
        )


def refuse_state(vm: Vm, virsh: Virsh, domain: Domain) -> None:
    """Refuse a guest that neither runs, nor stands still, nor is off; and one whose memory is saved."""
    state = domain.state
    if domain.phase:
        raise still_to_install(vm, domain)
    if state == "shut off" and vm.domain.uuid in list_domains(virsh, "--with-managed-save"):
        raise Problem(
            "the guest's memory was saved, and belongs to its disks: a snapshot would be of the disks alone",
            f"'{vm.make} start snapshot' makes one of both",
        )
    if state in (*RUNNING, "paused", "shut off"):
        return
    ways = {
        "pmsuspended": f"it sleeps: '{vm.make} resume snapshot' wakes it first",
        "crashed": f"'{vm.make} stop snapshot start' makes a snapshot of what is on its disks",
    }
    raise Problem(f"the domain is {state}: it can have no snapshot", ways.get(state, "try again in a moment"))


def writable_disks(xml: Element) -> Iterator[Element]:
    """Yield the disks that a snapshot is of; a medium that the guest only reads and an empty drive are none."""
    for disk in xml.iterfind("devices/disk"):
        source = disk.find("source")
        kind = disk.get("type")
        empty = source is None or (kind in ("file", "block") and not (source.get("file") or source.get("dev")))
        if disk.find("readonly") is None and not empty:
            yield disk


def refuse_disks(vm: Vm, virsh: Virsh, disks: list[Element]) -> None:
    """Refuse disks that cannot hold a snapshot."""
    for disk in disks:
        driver, target = disk.find("driver"), disk.find("target")
        kind = "raw" if driver is None else driver.get("type", "raw")
        if kind != "qcow2":
            name = "" if target is None else target.get("dev", "")
            raise Problem(
                f"disk {name} ({_volume_of(virsh, disk)}) is {kind}, and can hold no snapshot: only qcow2 can",
                "if the guest does not write to it, as to a seed, give it 'readonly: on' in virtInstall.disk",
                f"else give its volume 'format: qcow2'; '{vm.make} down up' makes it anew, and loses what is in it",
            )
    if not disks:
        raise Problem(f"domain {vm.domain.name} has no disk that it writes to: there is nothing to make a snapshot of")


def _volume_of(virsh: Virsh, disk: Element) -> str:
    """Return the volume of a disk, as pool/name, or else what is known of it."""
    source = disk.find("source")
    assert source is not None
    if source.get("pool"):
        return f"{source.get('pool')}/{source.get('volume')}"
    path = source.get("file") or source.get("dev") or source.get("dir") or source.get("name") or "a disk of the network"
    pool, name = virsh.ask_all(("vol-pool", f"--vol={path}"), ("vol-name", f"--vol={path}"))
    if isinstance(pool, Failed) or isinstance(name, Failed):
        return path
    return f"{pool.rstrip()}/{name.rstrip()}"


def refuse_uefi(vm: Vm, virsh: Virsh, domain: Domain) -> None:
    """Refuse a guest with UEFI that is not off, where libvirt cannot take its variables into the snapshot."""
    if domain.state == "shut off" or not has_uefi(domain.xml):
        return
    version, way = daemon_version(virsh), f"'{vm.make} stop snapshot start' makes one while the guest is off"
    if version < _WITH_UEFI:
        raise Problem(
            "the guest boots by UEFI: of such a guest libvirt makes snapshots only from 10.9 on while it runs, "
            f"and on {vm.uri} is {'.'.join(map(str, version))}",
            way,
        )
    if not is_in_snapshots(domain.xml):
        raise Problem(
            "the guest boots by UEFI, and the file of its variables is no qcow2: "
            "of such a guest libvirt makes no snapshot while it runs",
            way,
        )


def daemon_version(virsh: Virsh) -> tuple[int, ...]:
    """Return the version of the node's libvirt, to be compared."""
    return tuple([int(number) for number in libvirt_version(virsh).split(".") if number])


def refuse_without_room(vm: Vm, virsh: Virsh, domain: Domain, disks: list[Element]) -> None:
    """Refuse to write the guest's memory into the first disk where that does not fit. Most often it takes less."""
    pool = _pool_of(virsh, disks[0])
    if domain.state == "shut off" or not pool:
        return
    virsh.try_("pool-refresh", f"--pool={pool}")  # libvirt keeps the figures of the last time
    found = parse(virsh.ask("pool-dumpxml", f"--pool={pool}"), f"libvirt's answer about pool {pool}")
    available, needed = int(found.findtext("available") or 0) >> 20, domain.memory_mib
    if found.get("type") in _FILES and available < needed:
        raise Problem(
            f"there is no room for the guest's memory: it has {needed} MiB, and pool {pool} {available} MiB left",
            f"make room in {found.findtext('target/path')}; "
            f"or '{vm.make} stop snapshot start': a guest that is off needs none",
        )


def _pool_of(virsh: Virsh, disk: Element) -> str:
    """Return the pool of a disk; '' where it is in none that is active."""
    source = disk.find("source")
    assert source is not None
    path = source.get("file") or source.get("dev")
    if source.get("pool") or not path:
        return source.get("pool", "")
    try:
        return virsh.ask("vol-pool", f"--vol={path}").rstrip()
    except Failed:
        return ""

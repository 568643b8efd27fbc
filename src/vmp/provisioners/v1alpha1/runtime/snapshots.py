"""Snapshots that libvirt has of a domain, and the names that users give them."""

from __future__ import annotations

import os
import re
import shlex
import time
from typing import NamedTuple

from .conversation import Failed
from .facts import Vm
from .knobs import SNAPSHOT_DESCRIPTION, SNAPSHOT_NAME
from .libvirt import parse
from .say import Problem, printable
from .virsh import Virsh

LONGEST = 200
"""Bytes of a name. libvirt takes 247, and the copy of the UEFI variables carries the UUID, too."""

UNFINISHED = 1
"""The time of creation, in seconds, of an entry that stands for what a run that was cut off has left in the disks."""

_SNAPSHOT_STATES = {"shutoff": "shut off", "disk-snapshot": "disks only"}
_BAD = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
"""What XML, or a line of a list, cannot hold. Bytes that are no UTF-8 come as \\ud800 to \\udfff."""


class Snapshot(NamedTuple):
    """A snapshot, as libvirt describes it."""

    name: str
    description: str
    seconds: int
    """When it was made, in seconds since 1970."""
    state: str
    """That of the guest: running, paused, shut off, disks only, …"""
    external: bool
    """What was written since is in files of its own, or the memory is."""

    @property
    def time(self) -> str:
        """Return when it was made, as people here read it."""
        found = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(self.seconds))
        return f"{found[:-2]}:{found[-2:]}"


def snapshot_names(virsh: Virsh, uuid: str) -> list[str]:
    """Return the names of the snapshots of a domain that is there."""
    return [line for line in virsh.ask("snapshot-list", f"--domain={uuid}", "--name").split("\n") if line]


def names_as_far_as_known(virsh: Virsh, uuid: str) -> list[str]:
    """Return the names of the snapshots; none where libvirt refuses to tell, as of a domain that has just gone."""
    try:
        return snapshot_names(virsh, uuid)
    except Failed:
        return []


def look_at_snapshots(virsh: Virsh, uuid: str) -> list[Snapshot]:
    """Return the snapshots of a domain that is there, the oldest first."""
    listed = snapshot_names(virsh, uuid)
    answers = virsh.ask_all(*[_words_of_snapshot(uuid, name) for name in listed])
    found = []
    for name, answer in zip(listed, answers):
        if not isinstance(answer, Failed):
            found.append(_snapshot(answer))
        elif name in snapshot_names(virsh, uuid):
            raise answer
    return sorted(found, key=lambda snapshot: snapshot.seconds)


def look_at_snapshot(virsh: Virsh, uuid: str, name: str) -> Snapshot | None:
    """Return a snapshot, if it is there."""
    if name not in snapshot_names(virsh, uuid):
        return None
    return _snapshot(virsh.ask(*_words_of_snapshot(uuid, name)))


def current_snapshot(virsh: Virsh, uuid: str) -> str:
    """Return the name of the snapshot that the disks go on from, or ''. libvirt refuses to tell where there is none."""
    try:
        return _snapshot(virsh.ask("snapshot-current", f"--domain={uuid}")).name
    except Failed:
        return ""


def _words_of_snapshot(uuid: str, name: str) -> tuple[str, ...]:
    return ("snapshot-dumpxml", f"--domain={uuid}", f"--snapshotname={name}")


def _snapshot(xml: str) -> Snapshot:
    root = parse(xml, "libvirt's answer about a snapshot")
    parts = [*root.iterfind("memory"), *root.iterfind("disks/disk")]
    state = root.findtext("state") or ""
    return Snapshot(
        name=root.findtext("name") or "",
        description=root.findtext("description") or "",
        seconds=int(root.findtext("creationTime") or 0),
        state=_SNAPSHOT_STATES.get(state, state),
        external=any(part.get("snapshot") == "external" for part in parts),
    )


def given_name(vm: Vm, target: str) -> str:
    """Return the name that the user gives."""
    name = os.environ.get(SNAPSHOT_NAME, "")
    if not name:
        raise Problem(
            f"{SNAPSHOT_NAME} is missing: it says which snapshot is meant",
            f"write '{vm.make} {target} {SNAPSHOT_NAME}=before-upgrade', for instance",
            f"'{vm.make} snapshots' lists those that are there",
        )
    return name


def given_new_name(vm: Vm, target: str) -> str:
    """Return the name that the user gives to a new snapshot, if it can always be used.

    Since libvirt 10 it is a part of QEMU's names of jobs, when the guest runs; of a file's name it is each time.
    """
    name = given_name(vm, target)
    reason = ""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
        reason = "holds other characters than A-Z, a-z, 0-9, '-', '_' and '.', which QEMU does not take"
    elif name.startswith("."):
        reason = "begins with a dot"
    elif len(name.encode()) > LONGEST:
        reason = f"has more than {LONGEST} bytes"
    elif is_number_of_another(name):
        reason = "is a number: QEMU may take it for the number that each snapshot has in a qcow2"
    if reason:
        raise Problem(
            f"{SNAPSHOT_NAME} is '{printable(name.encode(errors='replace').decode())}': it {reason}",
            f"write '{vm.make} {target} {SNAPSHOT_NAME}=before-upgrade', for instance",
        )
    return name


def is_number_of_another(name: str) -> bool:
    """Tell whether QEMU may revert to another snapshot than the one of this name: it looks for a number first.

    libvirt's own names, the seconds since 1970, are beyond all numbers that there are.
    """
    return re.fullmatch("[0-9]{1,7}", name) is not None


def given_description() -> str:
    """Return the description that the user gives, or ''."""
    description = os.environ.get(SNAPSHOT_DESCRIPTION, "")
    if _BAD.search(description):
        raise Problem(f"{SNAPSHOT_DESCRIPTION} is '{printable(description)}': it is not one line of text")
    return description


def must_find_snapshot(vm: Vm, virsh: Virsh, name: str) -> Snapshot:
    """Return the snapshot of a name; where there is none, say which name is the nearest."""
    listed = snapshot_names(virsh, vm.domain.uuid)
    if name in listed:
        return _snapshot(virsh.ask(*_words_of_snapshot(vm.domain.uuid, name)))
    import difflib

    close = difflib.get_close_matches(name, listed, 1)
    raise Problem(
        f"there is no snapshot '{printable(name)}' of {vm.domain.name}",
        f"is it '{close[0]}'?" if close else "",
        f"'{vm.make} snapshots' lists them" if listed else f"there are none; '{vm.make} snapshot' makes one",
    )


def with_name(vm: Vm, target: str, name: str) -> str:
    """Return the command of a user that names a snapshot."""
    return f"{vm.make} {target} {SNAPSHOT_NAME}={shlex.quote(name)}"

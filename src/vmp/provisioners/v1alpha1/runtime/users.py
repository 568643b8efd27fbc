"""Who uses a volume: the disks of every other domain, running or not, and the volumes and files that lie over it.

And who uses a network: the interfaces of every other domain, by the network's name or that of its bridge.
"""

from __future__ import annotations

import json
import os
import shlex
import struct
import threading
import time
from xml.etree.ElementTree import Element

from .conversation import Failed
from .facts import Vm
from .libvirt import disk_sources, list_domains, names, parse
from .node import ask_node, is_here
from .storage import list_volumes, look_at_volume, volume_facts
from .virsh import Virsh


class Users:
    """The users of all volumes and networks of a node."""

    def __init__(self) -> None:
        self.paths: dict[str, tuple[str, str]] = {}
        """All volumes of active pools: pool and name, by path."""
        self.backing: dict[str, str] = {}
        """What a volume or file lies over, by path."""
        self.unread: dict[str, str] = {}
        """Disks of domains that lie over we know not what, and the domains."""
        self._by: dict[str, list[str]] = {}

    def add(self, used: str, user: str) -> None:
        """Note that a path, a volume as pool/name, `network NAME` or `bridge NAME` is used."""
        if user not in self._by.setdefault(used, []):
            self._by[used].append(user)

    def forget(self, user: str) -> None:
        """Note that a user has gone."""
        for used, found in self._by.items():
            if user in found:  # another thread may be reading the list
                self._by[used] = [other for other in found if other != user]

    def user_of(self, path: str, key: str, going: frozenset[str] = frozenset()) -> str:
        """Return who uses a volume, or ''; those whose path is ``going`` are about to be deleted."""
        found = [user for used in (path, key) for user in self._by.get(used, ())]
        return next((user for user in found if user.partition(" ")[2] not in going), "")


class LastingUsers:
    """The users of a node's volumes and networks, found once for all machines of a fleet that go at the same time.

    After two seconds they are found anew: somebody may have made a domain on one of the volumes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: Users | None = None
        self._at = 0.0

    def find(self, vm: Vm, virsh: Virsh) -> Users:
        """Return the users."""
        with self._lock:
            if self._found is None or time.monotonic() - self._at > 2:
                self._at = time.monotonic()
                self._found = find_users(vm, virsh)
            return self._found


def find_users(vm: Vm, virsh: Virsh) -> Users:
    """Find all users of the node's volumes and networks. Domains come last: a new one may have come."""
    users = Users()
    for pool in names(virsh, "pool-list"):
        for name, path in list_volumes(virsh, pool).items():
            users.paths[path] = (pool, name)
    asked = [("vol-dumpxml", f"--vol={path}") for path in users.paths]  # in names the list loses blanks at the end
    for path, answer in zip(users.paths, virsh.ask_all(*asked)):
        # It was deleted meanwhile, or its file is gone; anything else is an error.
        facts = look_at_volume(virsh, *users.paths[path]) if isinstance(answer, Failed) else volume_facts(answer)
        if facts and facts.backing:
            users.backing[path] = facts.backing
            users.add(facts.backing, f"volume {path}")
    domains = list_domains(virsh)
    # The second answer about a domain has what `attach-disk --config` added.
    questions = [("dumpxml", f"--domain={uuid}", *option) for uuid in domains for option in ((), ("--inactive",))]
    for (_, domain, *_), answer in zip(questions, virsh.ask_all(*questions)):
        uuid = domain.partition("=")[2]
        if not isinstance(answer, Failed):
            _add_domain(vm, users, domains[uuid], answer)
        elif uuid in list_domains(virsh):
            raise answer
    return users


def _add_domain(vm: Vm, users: Users, name: str, answer: str) -> None:
    xml = parse(answer, f"libvirt's answer about domain {name}")
    add_interfaces(users, name, xml)
    for source in disk_sources(xml):
        users.add(source, f"domain {name}")
        # libvirt tells what a file lies over if it is a volume, or the disk of a running domain. Else we read the file.
        while source.startswith("/") and not _is_device(source) and source not in users.paths:
            over = users.backing[source] if source in users.backing else read_backing(vm, source)
            if over is None:
                users.unread[source] = name
                break
            users.backing[source] = over
            if not over:
                break
            users.add(over, f"domain {name}")
            source = over


def add_interfaces(users: Users, name: str, xml: Element) -> None:
    """Note the networks and bridges that the interfaces of a domain are on."""
    for source in xml.iterfind("devices/interface/source"):
        for kind, key in (("network", "network"), ("bridge", "bridge"), ("bridge", "dev")):
            if source.get(key):
                users.add(f"{kind} {source.get(key)}", f"domain {name}")


def _is_device(path: str) -> bool:
    return path.startswith("/dev/") and not path.startswith("/dev/shm/")


def read_backing(vm: Vm, path: str) -> str | None:
    """Return what a file of the node lies over; '' where over nothing, None where that cannot be read."""
    if is_here(vm):
        return _read_qcow2(path)
    words = (
        f"qemu-img info --force-share --output=json -- {shlex.quote(path)} 2>/dev/null || test ! -e {shlex.quote(path)}"
    )
    ended = ask_node(vm, words)
    if ended.code:
        return None
    if not ended.output.strip():
        return ""
    try:
        found = json.loads(ended.output)
    except ValueError:
        return None
    return _backing_path(path, str(found.get("full-backing-filename", found.get("backing-filename", ""))))


def _read_qcow2(path: str) -> str | None:
    """Read the header of a qcow2 or QED file (docs/interop/qcow2.txt and qed_spec.txt of QEMU)."""
    try:
        with open(path, "rb") as file:
            head = file.read(72)
            if head[:4] == b"QFI\xfb":
                offset, size = struct.unpack(">QI", head[8:20])
            elif head[:4] == b"QED\0":
                offset, size = struct.unpack("<II", head[56:64])
            else:
                return ""
            if not offset or not size:
                return ""
            file.seek(offset)
            name = file.read(min(size, 4096)).decode(errors="surrogateescape")
    except FileNotFoundError:
        return ""
    except (OSError, struct.error):
        return None
    return _backing_path(path, name)


def _backing_path(path: str, name: str) -> str | None:
    """Return the path of what a file says it lies over; None for a description that is no path."""
    name = name.removeprefix("file:")
    if name.startswith("json:") or "://" in name:
        return None
    return name and os.path.normpath(os.path.join(os.path.dirname(path), name))

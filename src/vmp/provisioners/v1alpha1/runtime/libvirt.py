"""What libvirt has: questions, and their answers as records. A list of all such things says whether one is there."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from .conversation import Failed
from .say import Problem, printable
from .virsh import Virsh

NAMESPACE = "urn:vmp:v1alpha1"
MARK = f"{{{NAMESPACE}}}provisioner"
"""The element in a domain's metadata by which it is known to be made by a provisioner."""

RUNNING = ("running", "idle", "blocked")
_STATES = ("no state", *RUNNING, "paused", "in shutdown", "shut off", "crashed", "pmsuspended")
"""What `virsh domstate` says."""


class Domain(NamedTuple):
    """A domain that is there."""

    name: str
    state: str
    """As `virsh domstate` says it: running, paused, in shutdown, shut off, crashed, pmsuspended, …"""
    xml: Element

    @property
    def mark(self) -> dict[str, str] | None:
        """Return the attributes of our mark: `definition` and `seed`."""
        found = self.xml.find(f"metadata/{MARK}")
        return None if found is None else dict(found.attrib)


class VolumeFacts(NamedTuple):
    """A volume that is there."""

    path: str
    capacity: int
    physical: int
    """Bytes of its file: of a file that is being filled, those that have come."""
    format: str
    backing: str
    """The path of what it is backed by."""


def parse(xml: str, what: str) -> Element:
    """Return libvirt's XML as a tree."""
    try:
        return ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise Problem(f"{what} is not XML: {error}") from None


def nonsense(what: str, answer: str) -> Problem:
    """Return the error for an answer that virsh does not give."""
    return Problem(
        f"virsh's answer about {what} makes no sense: '{printable(answer, 1)}'",
        "perhaps another program stands in its place: 'command -v virsh' tells",
    )


def names(virsh: Virsh, command: str, *options: str) -> list[str]:
    """Return the names that `pool-list` or `net-list` gives."""
    for attempt in range(10):
        try:
            return [line.rstrip() for line in virsh.ask(command, "--name", *options).splitlines() if line.rstrip()]
        except Failed:  # one may have gone while virsh made the list
            if attempt == 9:
                raise
            time.sleep(0.01 * attempt)
    return []


def list_domains(virsh: Virsh, *options: str) -> dict[str, str]:
    """Return the names of domains by UUID: of all, or those in a state (``--state-running``)."""
    found = {}
    for line in virsh.ask("list", "--all", "--uuid", "--name", *options).splitlines():
        uuid, _, name = line.strip(" \n").partition(" ")
        if name and re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", uuid):
            found[uuid] = name
        elif uuid:
            raise nonsense("the domains", line)
    return found


def look_at_domain(virsh: Virsh, uuid: str, domains: dict[str, str]) -> Domain | None:
    """Return a domain, if it is there; ``domains`` are those there were a moment ago."""
    while uuid in domains:
        try:
            xml = virsh.ask("dumpxml", f"--domain={uuid}")
            return Domain(
                domains[uuid], _ask_state(virsh, uuid), parse(xml, f"libvirt's answer about domain {domains[uuid]}")
            )
        except Failed:
            again = list_domains(virsh)
            if uuid in again:
                raise
            domains = again
    return None


def domain_state(virsh: Virsh, uuid: str) -> str:
    """Return the state of a domain; '' where there is none."""
    try:
        return _ask_state(virsh, uuid)
    except Failed:
        if uuid in list_domains(virsh):
            raise
        return ""


def _ask_state(virsh: Virsh, uuid: str) -> str:
    answer = virsh.ask("domstate", f"--domain={uuid}")
    if answer.strip() not in _STATES:
        raise nonsense("the domain's state", answer)
    return answer.strip()


def pool_path(virsh: Virsh, pool: str) -> str:
    """Return the directory of a pool; '' where there is no such pool."""
    try:
        xml = virsh.ask("pool-dumpxml", f"--pool={pool}")
    except Failed:
        if pool in names(virsh, "pool-list", "--all"):
            raise
        return ""
    return parse(xml, f"libvirt's answer about pool {pool}").findtext("target/path") or ""


def list_volumes(virsh: Virsh, pool: str) -> dict[str, str]:
    """Return the paths of the volumes of an active pool, by name; none where it is not active.

    virsh prints a table: blank, name, blanks, path. No name holds a slash, with which each path begins.
    """
    try:
        table = virsh.ask("vol-list", f"--pool={pool}")
    except Failed:
        if pool in names(virsh, "pool-list"):
            raise
        return {}
    found = {}
    for line in table.splitlines():
        name, slash, path = line[1:].partition("/")
        if slash and name.endswith("  "):
            found[name.rstrip()] = f"/{path}"
        elif line[:1] == " " and len(line.split()) > 1:  # of a pool whose paths are none, such as rbd
            found[line.split()[0]] = line.split()[-1]
        elif line.strip():
            raise nonsense(f"the volumes of pool {pool}", line)
    return found


def look_at_volume(virsh: Virsh, pool: str, name: str) -> VolumeFacts | None:
    """Return a volume, if it is there. One whose file somebody has removed is not: libvirt forgets it by a refresh."""
    for attempt in range(3):
        if name not in list_volumes(virsh, pool):
            return None
        try:
            return volume_facts(virsh.ask("vol-dumpxml", f"--pool={pool}", f"--vol={name}"))
        except Failed:
            if attempt == 2:
                raise
            virsh.try_("pool-refresh", f"--pool={pool}")
    return None


def glance_at_volume(virsh: Virsh, pool: str, name: str) -> VolumeFacts | None:
    """Return a volume as `look_at_volume` does, and change nothing: one whose file was removed is not there."""
    for _ in range(2):  # one failure can be the connection's: then the list, or the second time, tells
        if name not in list_volumes(virsh, pool):
            return None
        try:
            return volume_facts(virsh.ask("vol-dumpxml", f"--pool={pool}", f"--vol={name}"))
        except Failed:
            continue
    list_volumes(virsh, pool)
    return None


def volume_facts(xml: str) -> VolumeFacts:
    """Read what `vol-dumpxml` prints."""
    root = parse(xml, "libvirt's answer about a volume")
    target = root.find("target/format")
    return VolumeFacts(
        path=root.findtext("target/path") or root.findtext("key") or "",
        capacity=_bytes(root.findtext("capacity")),
        physical=_bytes(root.findtext("physical") or root.findtext("allocation")),
        format=target.get("type", "") if target is not None else "",
        backing=root.findtext("backingStore/path") or "",
    )


def _bytes(text: str | None) -> int:
    if text and not text.isdecimal():
        raise nonsense("a volume's size", text)
    return int(text or 0)


def disk_sources(xml: Element) -> Iterator[str]:
    """Yield what a domain uses as disks and boots from: paths, and volumes as pool/name."""
    for source in [*xml.iterfind(".//disk//source"), *xml.iterfind(".//mirror/source")]:
        for key in ("file", "dev", "dir"):
            if source.get(key):
                yield str(source.get(key))
        if source.get("pool"):
            yield f"{source.get('pool')}/{source.get('volume')}"
    for path in ("os/kernel", "os/initrd", "os/nvram", "os/loader", "os/dtb"):
        found = xml.findtext(path)
        if found:
            yield found


def escape(text: str) -> str:
    """Return a text as XML."""
    for letter, name in (("&", "amp"), ("<", "lt"), (">", "gt"), ('"', "quot"), ("'", "apos")):
        text = text.replace(letter, f"&{name};")
    return text

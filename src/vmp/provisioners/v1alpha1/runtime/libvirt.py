"""What libvirt has: questions, and their answers as records. A list of all such things says whether one is there."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from .conversation import Failed
from .records import DomainFacts
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
        """Return the attributes of our mark: `definition`, `seed`, and `phase` while it is installed."""
        found = self.xml.find(f"metadata/{MARK}")
        return None if found is None else dict(found.attrib)

    @property
    def phase(self) -> str:
        """Return which part of its installation the domain is in; '' once it is installed."""
        return (self.mark or {}).get("phase", "")

    @property
    def memory_mib(self) -> int:
        """Return the MiB of memory that the guest has now."""
        kib = self.xml.findtext("currentMemory", "")
        return int(kib) >> 10 if kib.isdecimal() else 0


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


def look_at_domain(virsh: Virsh, wanted: DomainFacts) -> Domain | None:
    """Return the domain with this UUID, if it is there."""
    try:
        xml = virsh.ask("dumpxml", f"--domain={wanted.uuid}")
    except Failed:
        if wanted.uuid in list_domains(virsh):
            raise
        return None
    state = domain_state(virsh, wanted.uuid)
    root = parse(xml, f"libvirt's answer about domain {wanted.name}")
    return Domain(root.findtext("name") or "", state, root) if state else None


def domain_state(virsh: Virsh, uuid: str) -> str:
    """Return the state of a domain; '' where there is none."""
    try:
        return _state(virsh.ask("domstate", f"--domain={uuid}"))
    except Failed:
        if uuid in list_domains(virsh):
            raise
        return ""


def state_and_reason(virsh: Virsh, uuid: str) -> tuple[str, str]:
    """Return the state of a domain, and how it came to it, such as `shut off` by `shutdown` or `destroyed`."""
    try:
        answer = virsh.ask("domstate", f"--domain={uuid}", "--reason")
    except Failed:
        if uuid in list_domains(virsh):
            raise
        return "", ""
    state, _, reason = answer.strip().partition(" (")
    return _state(state), reason.rstrip(")")


def _state(answer: str) -> str:
    if answer.strip() not in _STATES:
        raise nonsense("the domain's state", answer)
    return answer.strip()


def libvirt_version(virsh: Virsh) -> str:
    """Return the version of the node's libvirt, such as 9.0.0: the last number that virsh tells; '' without one."""
    found: list[str] = re.findall(r"\d+(?:\.\d+)+", virsh.ask("version", "--daemon"))
    return found[-1] if found else ""


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

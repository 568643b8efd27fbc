"""What libvirt has of networks: their XML as they work now and as they start next, and the leases of their DHCP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple
from xml.etree.ElementTree import Element

from .conversation import Failed
from .libvirt import names, parse
from .virsh import Virsh


class NetworkFacts(NamedTuple):
    """A network that is there."""

    live: Element | None
    """As it works now; None where it is not active."""
    lasting: Element | None
    """As it starts the next time; None where it is transient."""
    autostarts: bool

    @property
    def xml(self) -> Element:
        """Return what its guests have now or, where it is not active, will have."""
        found = self.lasting if self.live is None else self.live
        assert found is not None
        return found

    def places(self) -> Iterator[tuple[str, Element]]:
        """Yield each of the two with the option of `net-update` that changes it."""
        for flag, xml in (("--live", self.live), ("--config", self.lasting)):
            if xml is not None:
                yield flag, xml


class Lease(NamedTuple):
    """What a network's DHCP has given to a guest."""

    until: str
    """Date and time; something else where it has no end."""
    mac: str
    ip: str
    name: str
    """What the guest calls itself, or '-'."""


def look_at_network_facts(virsh: Virsh, wanted: Iterable[str]) -> dict[str, NetworkFacts]:
    """Return networks by name, as far as they are there."""
    found: dict[str, NetworkFacts] = {}
    asked = list(dict.fromkeys(wanted))
    if not asked:
        return found
    active = names(virsh, "net-list")
    lasting = names(virsh, "net-list", "--all", "--persistent")
    autostarting = names(virsh, "net-list", "--all", "--autostart")
    for name in asked:
        live = _xml_of(virsh, name) if name in active else None
        later = _xml_of(virsh, name, "--inactive") if name in lasting else None
        if live is not None or later is not None:
            found[name] = NetworkFacts(live, later, name in autostarting)
    return found


def _xml_of(virsh: Virsh, name: str, *options: str) -> Element | None:
    """Return what `net-dumpxml` prints; None for a network that has just gone."""
    try:
        xml = virsh.ask("net-dumpxml", f"--network={name}", *options)
    except Failed:
        if name in names(virsh, "net-list", "--all"):
            raise
        return None
    return parse(xml, f"libvirt's answer about network {name}")


def leases_of(virsh: Virsh, network: str) -> list[Lease]:
    """Return the leases of an active network: virsh prints expiry, MAC, protocol, address/prefix, name, client id."""
    found = []
    for line in virsh.ask("net-dhcp-leases", f"--network={network}").splitlines():
        words = line.split()
        for place in (2, 3):  # the time of expiry is two words, or one where there is none
            if len(words) > place + 1 and words[place] in ("ipv4", "ipv6"):
                name = words[place + 2] if len(words) > place + 2 else "-"
                ip = words[place + 1].partition("/")[0]
                found.append(Lease(" ".join(words[: place - 1]), words[place - 1].lower(), ip, name))
                break
    return found


def plain_address(text: str) -> str:
    """Return an address as all spell it; another text as it is."""
    import ipaddress  # only who has networks of his own pays for it

    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text

"""The entries of a network's DHCP: who always gets which address."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from xml.etree.ElementTree import Element

from .libvirt import escape
from .network_facts import plain_address
from .network_records import Reservation
from .network_xml import with_prefix
from .say import Problem


class Entry(NamedTuple):
    """An entry of libvirt's DHCP for IPv4; '' for what it does not have."""

    parent: int
    """The number of its `<ip>` in the network, as `net-update --parent-index` counts."""
    mac: str
    ip: str
    name: str

    def is_(self, reservation: Reservation) -> bool:
        """Tell whether it is exactly this reservation."""
        wanted = (reservation.mac, plain_address(reservation.address), reservation.hostname)
        return (self.mac, self.ip, self.name) == wanted


def entries_of(xml: Element) -> Iterator[Entry]:
    """Yield the entries for IPv4. Those of IPv6 have no MAC addresses, and are nobody's rivals."""
    for parent, ip in enumerate(xml.iterfind("ip")):
        for host in ip.iterfind("dhcp/host") if ip.get("family") != "ipv6" else ():
            mac, address = host.get("mac", "").lower(), plain_address(host.get("ip", ""))
            yield Entry(parent, mac, address, host.get("name", ""))


def parent_of(network: str, xml: Element, reservation: Reservation) -> int:
    """Return the number of the `<ip>` whose subnet has the address, and refuse an address that no guest can have."""
    import ipaddress  # only who has reservations pays for it

    address = ipaddress.ip_address(reservation.address)
    subnets = []
    serving = [parent for parent, ip in enumerate(xml.iterfind("ip")) if _serves(ip)]
    for parent, ip in enumerate(xml.iterfind("ip")):
        if ip.get("family") == "ipv6":
            continue
        own = ipaddress.ip_interface(with_prefix(ip))
        subnets.append(str(own.network))
        if address not in own.network:
            continue
        if address in (own.ip, own.network.network_address, own.network.broadcast_address):
            raise Problem(f"{address} cannot be reserved: on network '{network}' it is no address of a guest")
        if serving and parent not in serving:
            break
        return parent
    has = f"it gives away addresses of {', '.join(subnets)}" if subnets else "that network has no DHCP"
    raise Problem(
        f"{address} cannot be reserved on network '{network}': {has}", "reserve one of these" if subnets else ""
    )


def _serves(ip: Element) -> bool:
    return ip.get("family") != "ipv6" and (ip.find("dhcp/range") is not None or ip.find("dhcp/host") is not None)


def entry_xml(mac: str, address: str, name: str) -> str:
    """Return an entry as libvirt has it."""
    given = [(key, word) for key, word in (("mac", mac), ("name", name), ("ip", address)) if word]
    return "<host{}/>".format("".join([f" {key}='{escape(word)}'" for key, word in given]))

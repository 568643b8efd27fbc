"""The registry's types of networks and known addresses; a part of :mod:`vmp.schema`, declared once like the others."""

from __future__ import annotations

from vmp.nodes import Mapping, is_null
from vmp.shapes import Choice, Decoding, ListOf, Path, Record, Text, Truth, optional, record, required
from vmp.texts import (
    check_address,
    check_device,
    check_guest_name,
    check_host_name,
    check_mtu,
    check_network_name,
    check_network_xml,
    check_not_empty,
    check_prefix,
)

ADDRESS = Text("an IP address", check_address)
HOST_NAME = Text("a host name", check_host_name)
NETWORK_NAME = Text("a name", check_network_name)


@record
class Forward:
    """How guests on a network reach others (https://libvirt.org/formatnetwork.html#connectivity)."""

    mode: str = optional(
        Choice("nat", "route", "open", "bridge", "none"),
        "`nat`: with the node's address. `route`: with their own. `open`: the same, and libvirt adds no firewall "
        "rules. `bridge`: on a bridge of the node that exists. `none`: not at all; they reach each other and the node.",
        "nat",
    )
    dev: str | None = optional(
        Text("a device", check_device),
        "The node's device through which alone they go out; with `mode: bridge` the one that they share (macvtap).",
    )


@record
class NetworkDomain:
    """The DNS domain of a network."""

    name: str = required(HOST_NAME, "Such as `lab.example`; guests learn it by DHCP.")
    local_only: bool | None = optional(
        Truth(), "true: names in it that the network does not know are not asked of other DNS servers. Default: false."
    )


@record
class DhcpRange:
    """The addresses that DHCP gives to guests without a reservation."""

    start: str = required(ADDRESS, "The first.")
    end: str = required(ADDRESS, "The last.")


@record
class IpAddress:
    """An address of the node on a network, and the subnet around it."""

    address: str = required(ADDRESS, "IPv4 or IPv6; guests have it as gateway and DNS server.")
    prefix: str = required(Text("a number of bits", check_prefix), "The length of the subnet's prefix, such as 24.")
    dhcp: DhcpRange | None = optional(
        Record(DhcpRange), "In one subnet of IPv4 and one of IPv6. Reservations work without it, too."
    )


@record
class DnsHost:
    """Names that the network's DNS answers with an address."""

    ip: str = required(ADDRESS, "The address.")
    hostnames: tuple[str, ...] = required(ListOf(HOST_NAME), "Its names.")


@record
class NetworkDns:
    """The DNS server that libvirt runs on a network."""

    forwarders: tuple[str, ...] = optional(
        ListOf(ADDRESS), "The DNS servers that it asks; the node's own where there are none.", ()
    )
    hosts: tuple[DnsHost, ...] = optional(
        ListOf(Record(DnsHost)), "What it knows besides guests. What is missing is added while the network runs.", ()
    )


@record
class Network:
    """A network: made when it is missing, started, and never changed or restarted under its guests.

    Several VMs may declare the same one, in a template."""

    name: str = required(NETWORK_NAME, "Its name in libvirt.", always=True)
    forward: Forward | None = optional(Record(Forward), "How its guests reach others. Default: `{mode: nat}`.")
    bridge: str | None = optional(
        Text("a bridge", check_device),
        "The name of its bridge, libvirt's choice where unset; with `mode: bridge` one that exists.",
    )
    domain: NetworkDomain | None = optional(Record(NetworkDomain), "Its DNS domain.")
    mtu: str | None = optional(Text("a number of bytes", check_mtu), "Its MTU, which guests learn by DHCP.")
    ips: tuple[IpAddress, ...] = optional(
        ListOf(Record(IpAddress)), "The node's addresses on it. Without one there is no DHCP and no DNS.", ()
    )
    dns: NetworkDns | None = optional(Record(NetworkDns), "Its DNS server.")
    autostart: bool = optional(Truth(), "It is started when the node boots.", True)
    deletion_policy: str = optional(
        Choice("Delete", "Retain"),
        "`Delete`: goes with `delete`, unless another domain uses it. `Retain`: only with `delete-all`.",
        "Retain",
    )
    xml: str | None = optional(
        Text("XML", check_network_xml),
        "A whole `<network>` element, for what the other keys cannot say. Excludes all but `name` and "
        "`deletionPolicy`; whether libvirt's network differs from it is not compared.",
    )


class NetworkRecord(Record[Network]):
    """A network, whose `xml` excludes what it says itself."""

    def decode_fields(self, node: Mapping, path: Path, decoding: Decoding) -> Network:
        given = [key for key, entry in node.entries.items() if not is_null(entry.value)]
        for key in given if "xml" in given else ():
            if key in self.keys and key not in ("name", "deletionPolicy", "xml"):
                message = f"{'.'.join(path).replace('.[', '[')}: 'xml' and {key!r} exclude each other"
                decoding.error("conflicting-keys", message, node.entries[key].key, "say it in the XML, or without it")
        return super().decode_fields(node, path, decoding)


@record
class Reservation:
    """An address that DHCP gives to one interface of the VM, always, and a name that the network's DNS has for it."""

    network: str = required(NETWORK_NAME, "The network: one of `networks`, or one that is only used, as `default`.")
    interface: str = required(
        Text("a name", check_not_empty),
        "The interface: the `name` of an item of `virtInstall.network`; `default` where that is given as text.",
    )
    address: str = required(ADDRESS, "The address, of IPv4, in a subnet of the network.")
    hostname: str | None = optional(Text("a host name", check_guest_name), "Its name. Default: the VM's.")


NETWORK = NetworkRecord(Network)
RESERVATION = Record(Reservation)

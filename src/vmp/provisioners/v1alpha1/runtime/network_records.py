"""The records of vm.json about networks and known addresses."""

from __future__ import annotations

from typing import Any, NamedTuple


class Ip(NamedTuple):
    """The node's address on a network, its subnet, and what DHCP gives away of it: from `start` to `end`, or ''."""

    address: str
    prefix: int
    start: str
    end: str


class DnsHost(NamedTuple):
    """An address, and the names that a network's DNS answers with it."""

    ip: str
    hostnames: tuple[str, ...]


class Network(NamedTuple):
    """A network that is to be there; '' for what the registry leaves to libvirt."""

    name: str
    mode: str
    """nat, route, open, bridge or none; '' with `xml`."""
    dev: str
    bridge: str
    domain: str
    local_only: bool | None
    mtu: str
    ips: tuple[Ip, ...]
    forwarders: tuple[str, ...]
    hosts: tuple[DnsHost, ...]
    autostart: bool
    retained: bool
    xml: str
    """A whole `<network>` in place of all but name and policy."""


class Reservation(NamedTuple):
    """An address and a name that DHCP always gives to one MAC address."""

    network: str
    mac: str
    address: str
    hostname: str


def read_network(facts: dict[str, Any]) -> Network:
    """Return a network of vm.json."""
    forward, domain, dns = facts.get("forward", {}), facts.get("domain", {}), facts.get("dns", {})
    ranges = [ip.get("dhcp", {}) for ip in facts.get("ips", ())]
    return Network(
        name=facts["name"],
        mode=forward.get("mode", ""),
        dev=forward.get("dev", ""),
        bridge=facts.get("bridge", ""),
        domain=domain.get("name", ""),
        local_only=domain.get("localOnly"),
        mtu=facts.get("mtu", ""),
        ips=tuple(
            [
                Ip(ip["address"], int(ip["prefix"]), dhcp.get("start", ""), dhcp.get("end", ""))
                for ip, dhcp in zip(facts.get("ips", ()), ranges)
            ]
        ),
        forwarders=tuple(dns.get("forwarders", ())),
        hosts=tuple([DnsHost(host["ip"], tuple(host["hostnames"])) for host in dns.get("hosts", ())]),
        autostart=facts.get("autostart", False),
        retained=facts.get("deletionPolicy") == "Retain",
        xml=facts.get("xml", ""),
    )

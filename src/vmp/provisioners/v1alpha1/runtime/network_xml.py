"""A network as XML: the one that libvirt is given, and in which declared facts the one that it has differs.

What is not declared is libvirt's choice or somebody's own, and is not compared; neither is a network that is declared
as XML. Addresses are compared as addresses: libvirt may have a netmask in place of a prefix, or spell IPv6 otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from .libvirt import escape
from .network_facts import plain_address
from .network_records import DnsHost, Ip, Network


def network_xml(network: Network) -> str:
    """Return the XML that defines a network."""
    if network.xml:
        return network.xml
    parts = [f"<name>{escape(network.name)}</name>"]
    if network.mode != "none":
        parts.append(f"<forward mode='{network.mode}'{_attribute('dev', network.dev)}/>")
    if network.bridge:
        parts.append(f"<bridge name='{escape(network.bridge)}'/>")
    if network.mtu:
        parts.append(f"<mtu size='{escape(network.mtu)}'/>")
    if network.domain:
        local = "" if network.local_only is None else "yes" if network.local_only else "no"
        parts.append(f"<domain name='{escape(network.domain)}'{_attribute('localOnly', local)}/>")
    if network.forwarders or network.hosts:
        forwarders = [f"<forwarder addr='{escape(address)}'/>" for address in network.forwarders]
        hosts = [dns_host_xml(host.ip, host.hostnames) for host in network.hosts]
        parts.append(f"<dns>{''.join([*forwarders, *hosts])}</dns>")
    parts += map(_ip_xml, network.ips)
    return f"<network>{''.join(parts)}</network>"


def _attribute(name: str, value: str) -> str:
    return f" {name}='{escape(value)}'" if value else ""


def dns_host_xml(ip: str, names: tuple[str, ...]) -> str:
    """Return an address and its names as the DNS of a network has them."""
    return f"<host ip='{escape(ip)}'>{''.join([f'<hostname>{escape(name)}</hostname>' for name in names])}</host>"


def _ip_xml(ip: Ip) -> str:
    family = " family='ipv6'" if ":" in ip.address else ""
    given = f"<range start='{escape(ip.start)}' end='{escape(ip.end)}'/>" if ip.start else ""
    return f"<ip{family} address='{escape(ip.address)}' prefix='{ip.prefix}'>{given and f'<dhcp>{given}</dhcp>'}</ip>"


def differences_of(network: Network, xml: Element) -> list[str]:
    """Return in which declared facts libvirt's network differs: what it has and what is declared, `mtu 1500 → 9000`."""
    if network.xml:
        return []
    return [
        f"{fact} {' '.join(has) or '(none)'} → {' '.join(wanted) or '(none)'}"
        for fact, has, wanted in _compared(network, xml)
        if has != wanted
    ]


def _compared(network: Network, xml: Element) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield each declared fact that is compared: its name, what libvirt has, what is declared."""
    forward = xml.find("forward")
    yield "forward", [_get(xml, "forward", "mode") or ("none" if forward is None else "nat")], [network.mode]
    if network.dev:
        yield "forward dev", [_get(xml, "forward", "dev") or _get(xml, "forward/interface", "dev")], [network.dev]
    if network.bridge:
        yield "bridge", [_get(xml, "bridge", "name")], [network.bridge]
    if network.domain:
        yield "domain", [_get(xml, "domain", "name")], [network.domain]
        if network.local_only is not None:
            wanted = "yes" if network.local_only else "no"
            yield "domain localOnly", [_get(xml, "domain", "localOnly") or "no"], [wanted]
    if network.mtu:
        yield "mtu", [_get(xml, "mtu", "size")], [network.mtu]
    if network.ips:
        yield from _compared_ips(network, xml)
    if network.forwarders:
        found = [forwarder for forwarder in xml.iterfind("dns/forwarder") if not forwarder.get("domain")]
        has = sorted([plain_address(forwarder.get("addr", "")) for forwarder in found])
        yield "forwarders", has, sorted(map(plain_address, network.forwarders))


def _get(xml: Element, path: str, attribute: str) -> str:
    found = xml.find(path)
    return "" if found is None else found.get(attribute, "")


def _compared_ips(network: Network, xml: Element) -> Iterator[tuple[str, list[str], list[str]]]:
    there = {with_prefix(ip): ip for ip in xml.iterfind("ip")}
    wanted = {f"{plain_address(ip.address)}/{ip.prefix}": ip for ip in network.ips}
    missing = [address for address in wanted if address not in there]
    if missing:
        yield "ips", [address for address in there if address not in wanted], missing
    for address, ip in wanted.items():
        if address in there and ip.start:
            ranges = [
                f"{plain_address(found.get('start', ''))}-{plain_address(found.get('end', ''))}"
                for found in there[address].iterfind("dhcp/range")
            ]
            yield f"dhcp of {address}", ranges, [f"{plain_address(ip.start)}-{plain_address(ip.end)}"]


def with_prefix(ip: Element) -> str:
    """Return address/prefix of libvirt's `<ip>`, which may have a netmask, or neither: then the class tells."""
    import ipaddress  # only who has networks of his own pays for it

    address = plain_address(ip.get("address", ""))
    prefix = ip.get("prefix") or ip.get("netmask")
    if not prefix:
        first = int(address.partition(".")[0]) if "." in address else 0
        prefix = "64" if ":" in address else "8" if first < 128 else "16" if first < 192 else "24"
    try:
        return str(ipaddress.ip_interface(f"{address}/{prefix}"))
    except ValueError:
        return f"{address}/{prefix}"


def names_in_dns(xml: Element, ip: str) -> list[str]:
    """Return the names that a network's DNS has for an address, as far as they were given to it by hand."""
    hosts = [host for host in xml.iterfind("dns/host") if plain_address(host.get("ip", "")) == plain_address(ip)]
    return [name.text or "" for host in hosts for name in host.iterfind("hostname")]


def missing_hosts_in(network: Network, xml: Element) -> list[DnsHost]:
    """Return the declared DNS hosts that libvirt's network lacks, with the names that are missing."""
    found = []
    for host in network.hosts:
        there = names_in_dns(xml, host.ip)
        lacking = tuple([name for name in host.hostnames if name not in there])
        if lacking:
            found.append(DnsHost(host.ip, lacking))
    return found

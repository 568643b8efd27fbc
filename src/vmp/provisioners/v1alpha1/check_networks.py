"""What libvirt, dnsmasq or the kernel would refuse of networks and reservations, said at the word in the registry."""

from __future__ import annotations

import ipaddress
from typing import TypeAlias

from vmp.diagnostics import Report, Span
from vmp.nodes import Mapping
from vmp.provisioners.v1alpha1.identity import mac_of
from vmp.provisioners.v1alpha1.places import DOMAIN, place_of
from vmp.provisioners.v1alpha1.plan import Ip, Network, Plan, Reservation
from vmp.texts import address_of, check_guest_name

Subnet: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"
Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
Place: TypeAlias = "tuple[str | int, ...]"

_MOST = 65535
"""How many addresses libvirt lets one range of DHCP have."""


def check_networks(plan: Plan, vm: Mapping, report: Report) -> None:
    """Report what is wrong with the networks and reservations of a VM."""
    seen: set[str] = set()
    for index, network in enumerate(plan.networks):
        place = ("libvirt", "networks", index)
        if network.name in seen:
            message = f"two networks are called {network.name!r}"
            report.error("duplicate-name", message, place_of(vm, *place, "name"))
        seen.add(network.name)
        if network.xml:
            _check_xml(network, place_of(vm, *place, "xml"), report)
        else:
            _check_together(network, vm, place, report)
            _check_ips(network, vm, place, report)
    _check_reservations(plan, vm, report)


def _check_xml(network: Network, span: Span, report: Report) -> None:
    from xml.etree import ElementTree  # only a registry with such XML pays for it

    name = ElementTree.fromstring(network.xml).findtext("name")
    if name != network.name:
        message = (
            f"the XML of network {network.name!r} names it {name!r}" if name else "the XML of a network has no <name>"
        )
        report.error("bad-value", message, span, help=f"write <name>{network.name}</name>")


def _check_together(network: Network, vm: Mapping, place: Place, report: Report) -> None:
    """Report what libvirt does not take together (src/conf/network_conf.c, src/network/bridge_driver.c)."""

    def refuse(message: str, help_: str, *key: str) -> None:
        report.error("conflicting-keys", message, place_of(vm, *place, *key), help=help_)

    mode = network.mode
    given = {
        "domain": network.domain,
        "mtu": network.mtu,
        "ips": network.ips,
        "dns": network.forwarders or network.hosts,
    }
    if mode == "bridge":
        for key in [key for key, value in given.items() if value]:
            help_ = "the network behind the bridge has its own DHCP, DNS and MTU; leave it out"
            refuse(f"a network with mode 'bridge' cannot have {key!r}", help_, key)
        if bool(network.bridge) == bool(network.dev):
            help_ = "bridge: NAME for a bridge of the node, or forward.dev for a device that guests share"
            refuse("a network with mode 'bridge' needs a 'bridge' or a 'forward.dev', and not both", help_, "forward")
        return
    if mode in ("open", "none") and network.dev:
        help_ = "'dev' goes with the modes nat, route and bridge"
        refuse(f"a network with mode {mode!r} cannot have a 'dev'", help_, "forward", "dev")
    if not network.ips:
        if mode != "none":
            help_ = "give it 'ips', or 'forward: {mode: none}' for a network without addresses"
            refuse(f"a network with mode {mode!r} needs 'ips'", help_, "name")
        for key in [key for key in ("domain", "dns") if given[key]]:
            refuse(f"a network without 'ips' has no DNS, and cannot have {key!r}", "give it 'ips'", key)
    if network.mtu and int(network.mtu) < 1280 and any(":" in ip.address for ip in network.ips):
        report.error("bad-value", "IPv6 needs an MTU of at least 1280", place_of(vm, *place, "mtu"))


def _check_ips(network: Network, vm: Mapping, place: Place, report: Report) -> None:
    with_dhcp: set[int] = set()
    for index, ip in enumerate(network.ips):
        where = (*place, "ips", index)
        subnet = subnet_of(ip)
        if subnet is None:
            message = f"{ip.prefix} bits are more than the address {ip.address} has"
            report.error("bad-value", message, place_of(vm, *where, "prefix"), help="24, say: 32 at most with IPv4")
            continue
        address = ipaddress.ip_address(ip.address)
        if _is_special(address, subnet):
            message = f"{address} is the network or broadcast address of {subnet}"
            report.error("bad-value", message, place_of(vm, *where, "address"), help=f"such as {subnet[1]}")
        elif _is_no_host(address):
            report.error("bad-value", f"{address} is no address that a host can have", place_of(vm, *where, "address"))
        if not ip.start:
            continue
        if address.version in with_dhcp:
            message = f"DHCP can serve one subnet of IPv{address.version} in a network"
            report.error("conflicting-keys", message, place_of(vm, *where, "dhcp"), help="leave out the other 'dhcp'")
        with_dhcp.add(address.version)
        _check_range(ip, subnet, vm, (*where, "dhcp"), report)


def _check_range(ip: Ip, subnet: Subnet, vm: Mapping, place: Place, report: Report) -> None:
    ends = {"start": ipaddress.ip_address(ip.start), "end": ipaddress.ip_address(ip.end)}
    for key, end in ends.items():
        if end not in subnet:
            message = f"{end} is outside the subnet {subnet}"
        elif _is_special(end, subnet):
            message = f"{end} is the network or broadcast address of {subnet}"
        else:
            continue
        report.error("bad-value", message, place_of(vm, *place, key), help=f"an address in {subnet}")
        return
    size = int(ends["end"]) - int(ends["start"]) + 1
    if size < 1:
        message = f"the range of DHCP ends with {ip.end}, before it starts with {ip.start}"
        report.error("bad-value", message, place_of(vm, *place, "end"))
    elif size > _MOST:
        help_ = f"{_MOST} at most"
        report.error(
            "bad-value", f"a range of DHCP cannot have {size} addresses", place_of(vm, *place, "end"), help=help_
        )


def subnet_of(ip: Ip) -> Subnet | None:
    """Return the subnet around an address; None where the prefix is longer than the address."""
    try:
        return ipaddress.ip_network(f"{ip.address}/{ip.prefix}", strict=False)
    except ValueError:
        return None


def _is_special(address: Address, subnet: Subnet) -> bool:
    """Tell whether an address is the network or broadcast address; IPv6 and subnets of two addresses have none."""
    return subnet.version == 4 and subnet.num_addresses > 2 and address in (subnet[0], subnet[-1])


def _is_no_host(address: Address) -> bool:
    return address.is_multicast or address.is_unspecified or address.is_loopback


def _check_reservations(plan: Plan, vm: Mapping, report: Report) -> None:
    networks = {network.name: network for network in plan.networks}
    seen: dict[tuple[str, str], str] = {}
    for index, reservation in enumerate(plan.reservations):
        place = ("libvirt", "reservations", index)
        _check_interface(plan, reservation, vm, place, report)
        _check_reserved(reservation, networks.get(reservation.network), place_of(vm, *place, "address"), report)
        if wrong := check_guest_name(reservation.hostname):
            span = place_of(vm, *place, "hostname")
            report.error("bad-value", wrong[0], span, help=f"'hostname' gives one: {wrong[1]}")
        address = str(address_of(reservation.address))
        for key, value, what in (("address", address, "address"), ("interface", reservation.interface, "interface")):
            if (key, f"{reservation.network}/{value}") in seen:
                message = f"two reservations on network {reservation.network!r} have the {what} {value!r}"
                report.error("bad-value", message, place_of(vm, *place, key))
            seen[key, f"{reservation.network}/{value}"] = value


def _check_interface(plan: Plan, reservation: Reservation, vm: Mapping, place: Place, report: Report) -> None:
    interfaces = {interface.name: interface for interface in plan.domain.interfaces}
    found = interfaces.get(reservation.interface)
    if found is None:
        message = f"the domain has no interface {reservation.interface!r}"
        known = ", ".join(map(repr, interfaces)) or "none"
        help_ = report.nearest(reservation.interface, interfaces) or f"the names in virtInstall.network: {known}"
        report.error("bad-value", message, place_of(vm, *place, "interface"), help=help_)
    elif found.network != reservation.network:
        if reservation.network not in plan.domain.networks:
            message = f"no interface of the domain is on network {reservation.network!r}"
            nearest = report.nearest(reservation.network, plan.domain.networks)
            report.error("bad-value", message, place_of(vm, *place, "network"), help=nearest)
        else:
            on = f"on network {found.network!r}" if found.network else "on no network of libvirt"
            message = f"the interface {found.name!r} is {on}, not on {reservation.network!r}"
            report.error("bad-value", message, place_of(vm, *place, "interface"))
    elif not mac_of(plan, found.name):
        message = f"the MAC address of interface {found.name!r} is drawn when the domain is made"
        help_ = "leave 'mac' out, and vmp derives one from the names; or write one"
        report.error("bad-value", message, place_of(vm, *DOMAIN, "network"), help=help_)


def _check_reserved(reservation: Reservation, network: Network | None, span: Span, report: Report) -> None:
    """Report an address that no guest on this network can have."""
    address = ipaddress.ip_address(reservation.address)
    wrong, help_ = "", ""
    if address.version == 6:
        wrong = f"{address} cannot be reserved: it is of IPv6"
        help_ = "DHCPv6 of libvirt knows guests by what they say of themselves, and no MAC address; reserve one of IPv4"
    elif _is_no_host(address):
        wrong = f"{address} is no address that a guest can have"
    elif network is not None and not network.xml:
        wrong, help_ = _judge_in(network, address)
    if wrong:
        report.error("bad-value", wrong, span, help=help_ or None)


def _judge_in(network: Network, address: Address) -> tuple[str, str]:
    subnets = {ip: subnet for ip in network.ips if (subnet := subnet_of(ip)) and subnet.version == address.version}
    home = next((ip for ip, subnet in subnets.items() if address in subnet), None)
    if not network.ips:
        return f"network {network.name!r} has no 'ips', and so no DHCP that could give {address} away", ""
    if home is None:
        known = ", ".join(map(str, subnets.values())) or "none of IPv4"
        return f"{address} is outside the subnets of network {network.name!r}", f"it has {known}"
    if any(address == ipaddress.ip_address(ip.address) for ip in subnets):
        return f"{address} is the node's own address on network {network.name!r}", "guests have it as their gateway"
    if _is_special(address, subnets[home]):
        return f"{address} is the network or broadcast address of {subnets[home]}", ""
    if not home.start and any(ip.start for ip in subnets):
        return f"{address} is in a subnet of network {network.name!r} without DHCP, and another one has it", ""
    return "", ""

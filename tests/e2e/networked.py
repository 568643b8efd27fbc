"""VMs without an operating system on networks that the registry declares, and questions to a network's DNS."""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from blank import blank
from world import virsh

LAB: dict[str, Any] = {
    "name": "lab",
    "ips": [{"address": "10.20.0.1", "prefix": 24, "dhcp": {"start": "10.20.0.100", "end": "10.20.0.200"}}],
    "deletionPolicy": "Delete",
}
"""A network as most registries would have it."""


def vm(name: str = "web", *networks: str, mac: str = "", **libvirt: Any) -> str:
    """Return a VM of such a registry, whose interfaces eth0, eth1, … are on these networks, eth0 with that MAC."""
    options: list[dict[str, str]] = [{"network": network} for network in networks]
    if mac:
        options[0]["mac"] = mac
    interfaces = [{"name": f"eth{number}", "options": each} for number, each in enumerate(options)] or "none"
    domain = {"virtInstall": {"network": interfaces}}
    return f"  - {json.dumps({'name': name, 'template': 'blank', 'libvirt': {'domain': domain, **libvirt}})}\n"


def on_network(image: Path, *networks: dict[str, Any], name: str = "web", **libvirt: Any) -> str:
    """Return a registry of one VM that declares networks, and is on the first of them."""
    return blank(image, vm(name, networks[0]["name"], networks=list(networks), **libvirt))


def xml_of(network: str = "lab", *options: str) -> ElementTree.Element:
    """Return what libvirt says of a network."""
    return ElementTree.fromstring(virsh("net-dumpxml", network, *options))


def define(xml: str, directory: Path, *, start: bool = True) -> str:
    """Make a network by hand; return its name."""
    name = ElementTree.fromstring(xml).findtext("name") or ""
    (directory / "network.xml").write_text(xml)
    virsh("net-define", str(directory / "network.xml"))
    if start:
        virsh("net-start", name)
    return name


def undefine(network: str) -> None:
    """Delete a network by hand."""
    virsh("net-destroy", network)
    virsh("net-undefine", network)


def ask_dns(server: str, name: str) -> list[str]:
    """Return the IPv4 addresses that a DNS server has for a name (RFC 1035)."""
    labels = b"".join([bytes([len(label)]) + label.encode() for label in name.split(".")])
    question = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.settimeout(5)
        asked.sendto(question, (server, 53))
        answer = asked.recv(512)
    found = []
    rest = answer[len(question) :]
    for _ in range(struct.unpack(">H", answer[6:8])[0]):
        # a pointer to the name, then type, class, time to live and length
        size = struct.unpack(">H", rest[10:12])[0]
        if rest[2:4] == b"\0\1":
            found.append(".".join(map(str, rest[12 : 12 + size])))
        rest = rest[12 + size :]
    return found

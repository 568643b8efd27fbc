"""The address of the guest: given, printed by a command of the user's, or asked of libvirt by the MAC addresses."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from .conversation import Failed, Lost
from .facts import Vm
from .libvirt import RUNNING, Domain, look_at_domain, names
from .network_facts import leases_of
from .node import ask_node, is_here
from .programs import run_program
from .say import Problem
from .virsh import Virsh

SOURCES = ("lease", "agent", "arp")


class Address(NamedTuple):
    """What the search for the address has found."""

    ip: str
    reasons: list[str]
    """Why there is none; where libvirt was asked, a line for each source and MAC address."""
    state: str = ""
    """The state of the domain, as far as it was asked."""


def find_address(vm: Vm, virsh: Virsh, seconds: int | None = None) -> Address:
    """Find the address."""
    if vm.knobs.ssh_host:
        return Address(vm.knobs.ssh_host, [])
    if vm.knobs.ip_cmd:
        return _run_command(vm, vm.knobs.command_timeout if seconds is None else seconds)
    return _ask_libvirt(vm, virsh)


def _run_command(vm: Vm, seconds: int) -> Address:
    ended = run_program(["sh", "-c", vm.knobs.ip_cmd], seconds, own_group=True, errors=None)
    ip = ended.output.partition("\n")[0]
    if ended.timed_out:
        return Address("", [f"V1ALPHA1_IP_CMD took longer than {seconds} seconds and was ended"])
    if ended.code:
        return Address("", [f"V1ALPHA1_IP_CMD failed with exit code {ended.code}"])
    if not ip:
        return Address("", ["V1ALPHA1_IP_CMD printed nothing"])
    if len(ip.split()) != 1:
        return Address("", [f"V1ALPHA1_IP_CMD printed '{ip}', which is no address"])
    return Address(ip, [])


def _ask_libvirt(vm: Vm, virsh: Virsh) -> Address:
    domain = look_at_domain(virsh, vm.domain)
    if domain is None:
        return Address("", ["the domain does not exist"], "")
    if domain.state not in (*RUNNING, "paused"):
        return Address("", [f"the domain is {domain.state}"], domain.state)
    macs = _macs(domain)
    if not macs:
        return Address("", ["the domain has no network interface"], domain.state)
    found: dict[tuple[str, str], list[str]] = {}
    reasons = []
    for source, ask in zip(SOURCES, (_leases, _agent, _neighbours)):
        known = any(usable(ip) for ips in found.values() for ip in ips)
        try:
            rows = list(ask(vm, virsh, domain, known))
        except Failed as error:
            reasons.append(f"{source}: {str(error).splitlines()[-1].strip()}")
            continue
        for mac, ip in rows:
            found.setdefault((source, mac), []).append(ip)
        for mac in macs:
            ips = found.get((source, mac), [])
            words = f"{mac} has {' '.join(ips)}" if ips else f"nothing known of MAC address {mac}"
            reasons.append(f"{source}: {words}")
    reasons += tell_loose(vm, domain)
    for version in (4, 6):
        for mac in macs:
            for source in SOURCES:
                for ip in found.get((source, mac), ()):
                    if usable(ip) == version:
                        return Address(ip, reasons, domain.state)
    return Address("", reasons, domain.state)


def usable(ip: str) -> int:
    """Return 4 or 6 for an address that others can reach, else 0."""
    import ipaddress  # only who looks for the address pays for it

    try:
        found = ipaddress.ip_address(ip)
    except ValueError:
        return 0
    bad = found.is_loopback or found.is_link_local or found.is_unspecified or found.is_multicast
    return 0 if bad or ip.startswith("0.") else found.version


def _domifaddr(vm: Vm, virsh: Virsh, source: str) -> Iterator[tuple[str, str]]:
    """Yield MAC and address of each row of `domifaddr`: interface, MAC, protocol, address/prefix."""
    for line in virsh.ask("domifaddr", f"--domain={vm.domain.uuid}", f"--source={source}", "--full").splitlines():
        words = line.split()
        if len(words) == 4 and words[2] in ("ipv4", "ipv6"):
            yield words[1].lower(), words[3].partition("/")[0]


def _agent(vm: Vm, virsh: Virsh, domain: Domain, known: bool) -> Iterator[tuple[str, str]]:
    """Yield what the guest agent says."""
    return _domifaddr(vm, virsh, "agent")


def _leases(vm: Vm, virsh: Virsh, domain: Domain, known: bool) -> Iterator[tuple[str, str]]:
    """Yield MAC and address of each DHCP lease, the newest first.

    A MAC address can have several: a guest that was made anew comes with another client id, and its predecessor's lease
    has not expired. The one that expires last is the one in use; `domifaddr` does not tell it. Of two without an end
    the later one in libvirt's list is newer. The networks of a session's machine are those of the system's libvirt.
    """
    with _of_networks(vm, virsh) as (asked, networks):
        leases = [lease for network in networks for lease in leases_of(asked, network)]
    leases.sort(key=lambda lease: lease.until)
    for lease in leases[::-1]:
        yield lease.mac, lease.ip


@contextmanager
def _of_networks(vm: Vm, virsh: Virsh) -> Iterator[tuple[Virsh, Sequence[str]]]:
    """Give the conversation and the names of the networks that know the machine's leases."""
    head, session, tail = vm.uri.partition(":///session")
    if not session:
        yield virsh, vm.domain.networks
        return
    system = Virsh(f"{head}:///system{tail}", virsh.seconds, vm.directory, read_only=True)
    try:
        yield system, names(system, "net-list")
    except Problem as error:
        raise Failed(str(error)) from None
    finally:
        system.close()


def _neighbours(vm: Vm, virsh: Virsh, domain: Domain, known: bool) -> Iterator[tuple[str, str]]:
    """Yield what the node's neighbour table says, the surest first.

    libvirt's own reading of it ends with `wrong nlmsg len` on many systems, so we read it ourselves, if we can.
    """
    bridges = [str(source.get("bridge")) for source in domain.xml.iterfind("devices/interface/source[@bridge]")]
    ended = ask_node(vm, _NEIGHBOURS)
    rows = list(_rows_of_neighbours(ended.output))
    if ended.code:
        return _domifaddr(vm, virsh, "arp")
    macs = _macs(domain)
    if bridges and not known and not any(usable(ip) for mac, ip in rows if mac in macs):
        # A guest without IPv4 tells its address only to those who speak to it: greet all on its bridge.
        ask_node(vm, "; ".join([_GREETING.format(bridge=shlex.quote(bridge)) for bridge in bridges]))
        rows = list(_rows_of_neighbours(ask_node(vm, _NEIGHBOURS).output))
    return iter(rows)


def _macs(domain: Domain) -> list[str]:
    return [str(mac.get("address")).lower() for mac in domain.xml.iterfind("devices/interface/mac")]


_NEIGHBOURS = "PATH=$PATH:/usr/sbin:/sbin; ip neigh show 2>/dev/null || cat /proc/net/arp"
_GREETING = (
    "for a in $(PATH=$PATH:/usr/sbin:/sbin ip -6 -o addr show dev {bridge} scope global 2>/dev/null "
    "| sed 's/.*inet6 //; s,/.*,,'); do "
    "for g in $(ping -6 -n -c 2 -i 0.3 -W 1 -I $a ff02::1%{bridge} 2>/dev/null "
    "| sed -n 's/.* from \\([0-9a-f:]*\\): .*/\\1/p' | sort -u); do "
    "[ $g = $a ] || ping -6 -n -c 1 -W 1 $g >/dev/null 2>&1; done; done"
)
"""Asks all hosts on a bridge for their global addresses, and then each, so that the node learns its MAC address."""


def _rows_of_neighbours(table: str) -> Iterator[tuple[str, str]]:
    """Yield MAC and address of the rows of `ip neigh` or /proc/net/arp; stale ones come last."""
    stale = []
    for line in table.splitlines():
        words = line.split()
        if "lladdr" in words[:-1]:
            row = (words[words.index("lladdr") + 1].lower(), words[0])
            if words[-1] == "STALE":
                stale.append(row)
            elif words[-1] not in ("FAILED", "INCOMPLETE"):
                yield row
        elif len(words) == 6 and words[2] == "0x2":
            yield words[3].lower(), words[0]
    yield from stale


def loose_taps(vm: Vm, domain: Domain) -> list[str]:
    """Return the taps of a running domain that are on no bridge: its network was stopped and started under it."""
    taps = []
    for interface in domain.xml.iterfind("devices/interface"):
        source, target = interface.find("source"), interface.find("target")
        if source is not None and source.get("bridge") and target is not None and target.get("dev"):
            taps.append(str(target.get("dev")))
    if not taps or domain.state not in (*RUNNING, "paused"):
        return []
    if is_here(vm):
        places = [f"/sys/class/net/{tap}" for tap in taps]
        return [
            tap for tap, place in zip(taps, places) if os.path.exists(place) and not os.path.exists(f"{place}/master")
        ]
    words = " ".join(map(shlex.quote, taps))
    test = 'test -e "/sys/class/net/$tap" && test ! -e "/sys/class/net/$tap/master" && echo "$tap"'
    found = ask_node(vm, f"for tap in {words}; do {test}; done").output.split()
    return [tap for tap in found if tap in taps]


def tell_loose(vm: Vm, domain: Domain) -> list[str]:
    """Return a line for each interface of a running domain that has no link."""
    return [
        f"interface {tap} is on no bridge, so the guest has no link: '{vm.make} restart' connects it again"
        for tap in loose_taps(vm, domain)
    ]


def warn_loose(vm: Vm, domain: Domain) -> None:
    """Warn of each interface that has no link."""
    for line in tell_loose(vm, domain):
        vm.say(f"warning: {line}")


def must_find(vm: Vm, virsh: Virsh) -> str:
    """Return the address, or end the run with all reasons."""
    try:
        found = find_address(vm, virsh)
    except Lost as error:
        raise Problem("no address was found", str(error), *error.hints) from None
    if not found.ip:
        raise Problem("no address was found", *found.reasons)
    return found.ip

"""Networks that are declared: looked at, made when they are missing, started, and never changed under their guests."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .conversation import Failed
from .facts import Vm
from .files import scratch
from .network_facts import NetworkFacts, look_at_network_facts, plain_address
from .network_records import DnsHost, Network
from .network_xml import differences_of, dns_host_xml, missing_hosts_in, names_in_dns, network_xml
from .node import ask_node
from .say import Problem
from .virsh import Virsh


class NetworkState(NamedTuple):
    """A declared network, and how it is."""

    network: Network
    facts: NetworkFacts | None
    """None where it is not there."""
    differences: list[str]
    """In which declared facts it differs, such as `mtu 1500 → 9000`."""
    missing_hosts: list[DnsHost]
    """The declared DNS hosts that it lacks, now or at its next start."""

    @property
    def active(self) -> bool:
        """Tell whether guests can use it."""
        return self.facts is not None and self.facts.live is not None

    def lines(self) -> list[str]:
        """Return a line for each thing that is not as declared."""
        name = self.network.name
        if self.facts is None:
            return [f"network {name}: is not there"]
        found = [] if self.active else ["is not active"]
        if self.network.autostart and not self.facts.autostarts:
            found.append("does not start with its node")
        found += [f"DNS host {host.ip} {' '.join(host.hostnames)}: missing" for host in self.missing_hosts]
        return [f"network {name}: {line}" for line in [*found, *self.differences]]


def look_at_networks(vm: Vm, virsh: Virsh) -> list[NetworkState]:
    """Look at the declared networks; nothing is changed."""
    found = look_at_network_facts(virsh, [network.name for network in vm.networks])
    return [_state_of_network(network, found.get(network.name)) for network in vm.networks]


def look_at_network(virsh: Virsh, network: Network) -> NetworkState:
    """Look at one of them."""
    return _state_of_network(network, look_at_network_facts(virsh, [network.name]).get(network.name))


def _state_of_network(network: Network, facts: NetworkFacts | None) -> NetworkState:
    if facts is None:
        return NetworkState(network, None, [], [])
    lacking: dict[str, dict[str, None]] = {}
    for host in [host for _, xml in facts.places() for host in missing_hosts_in(network, xml)]:
        lacking.setdefault(host.ip, {}).update(dict.fromkeys(host.hostnames))
    hosts = [DnsHost(ip, tuple(names)) for ip, names in lacking.items()]
    return NetworkState(network, facts, differences_of(network, facts.xml), hosts)


def refuse_different_networks(vm: Vm, states: Sequence[NetworkState]) -> None:
    """Refuse to go on where a network is another one than declared, before anything is changed."""
    different = [state for state in states if state.differences]
    if different:
        first = different[0].network.name
        raise Problem(
            "; ".join([f"network '{state.network.name}' on {vm.uri} is not as declared" for state in different]),
            *[f"{state.network.name}: {line}" for state in different for line in state.differences],
            "it is never changed by this, as its guests would lose their link; give this VM's network another name,",
            f"or, once nobody uses it, take it away, and the next '{vm.make} up' makes it as declared:",
            *commands_to_delete(vm, first),
        )


def commands_to_delete(vm: Vm, network: str) -> list[str]:
    """Return the commands by which a person takes a network away."""
    return [
        shlex.join(["virsh", "-c", vm.uri, command, f"--network={network}"])
        for command in ("net-destroy", "net-undefine")
    ]


def ensure_network(vm: Vm, virsh: Virsh, state: NetworkState) -> bool:
    """Make or start a network if it is not active, add what its DNS lacks; return whether this run has made it."""
    network, made = state.network, False
    if state.facts is None:
        with scratch(vm.file("create.tmp"), network_xml(network)) as path:
            failure = virsh.try_("net-define", f"--file={path}")
        state, made = look_at_network(virsh, network), not failure
        if state.facts is None:
            raise Problem(f"could not make network {network.name}", failure)
        refuse_different_networks(vm, [state])  # another run may have made it first
    _ensure_autostart(vm, virsh, state)
    if not state.active and _start(vm, virsh, network, made):
        vm.say(f"{'created' if made else 'started'} network {network.name}")
    if state.missing_hosts:
        _add_hosts(vm, virsh, look_at_network(virsh, network))
    return made


def _ensure_autostart(vm: Vm, virsh: Virsh, state: NetworkState) -> None:
    """Let libvirt start the network when the node boots, if the registry says so."""
    network = state.network
    if network.autostart and state.facts and not state.facts.autostarts:
        failure = virsh.try_("net-autostart", f"--network={network.name}")
        again = look_at_network(virsh, network).facts if failure else None
        if failure and (again is None or not again.autostarts):
            raise Problem(f"could not let network {network.name} start when its node boots", failure)


def _start(vm: Vm, virsh: Virsh, network: Network, made: bool) -> bool:
    """Start a network; return whether this run has done it. One that was just made and cannot start goes again."""
    failure = virsh.try_("net-start", f"--network={network.name}")
    if not failure:
        return True
    state = look_at_network(virsh, network)
    if state.active:  # another run has started it at this moment
        return made
    hints = _hints_of_bridge(vm, state)
    if made:
        virsh.try_("net-undefine", f"--network={network.name}")
    raise Problem(f"could not start network {network.name}", failure, *hints)


def _hints_of_bridge(vm: Vm, state: NetworkState) -> list[str]:
    """Return the way out where a bridge of that name is there: libvirt makes one, and takes none that exists."""
    found = state.facts.xml.find("bridge") if state.facts and state.network.mode != "bridge" else None
    bridge = "" if found is None else found.get("name", "")
    if not bridge or ask_node(vm, f"test -e /sys/class/net/{shlex.quote(bridge)}").code:
        return []
    return [
        f"node {vm.node} has a device {bridge} already: somebody else's, or left by a libvirtd that was killed as it",
        f"made it; if nobody needs it, delete it there: ip link delete {shlex.quote(bridge)}",
    ]


def _add_hosts(vm: Vm, virsh: Virsh, state: NetworkState) -> None:
    """Add what the network's DNS lacks. Names that others have given to an address stay."""
    failures: list[str] = []
    for host in state.missing_hosts:
        for commands in _commands_for_host(state, host.ip):
            failures += [str(answer) for answer in virsh.ask_all(*commands) if isinstance(answer, Failed)]
    left = look_at_network(virsh, state.network).missing_hosts
    if left:
        line = "; ".join([f"{host.ip} {' '.join(host.hostnames)}" for host in left])
        raise Problem(f"could not add to the DNS of network {state.network.name}: {line}", *failures)
    for host in state.missing_hosts:
        vm.say(f"added {host.ip} {' '.join(host.hostnames)} to the DNS of network {state.network.name}")


def _commands_for_host(state: NetworkState, ip: str) -> Iterator[list[tuple[str, ...]]]:
    """Yield what is to be told in one breath so that all names of an address are there, now and at the next start.

    libvirt can add and delete hosts, and not modify them: one with other names goes, and comes back with all. That is
    done in one place after the other, so that the names are still known if this run is killed in between.
    """
    places = list(state.facts.places()) if state.facts else []
    there = {flag: names_in_dns(xml, ip) for flag, xml in places}
    declared = [
        name for host in state.network.hosts if plain_address(host.ip) == plain_address(ip) for name in host.hostnames
    ]
    all_names = tuple(dict.fromkeys([*[name for names in there.values() for name in names], *declared]))
    network = ("net-update", f"--network={state.network.name}", "--section=dns-host")
    add = (*network, "--command=add-last", f"--xml={dns_host_xml(ip, all_names)}")
    if not any(there.values()):
        yield [(*add, *there)]
        return
    for flag, names in there.items():
        if not set(declared) <= set(names):
            delete = [(*network, "--command=delete", f"--xml=<host ip='{ip}'/>", flag)] if names else []
            yield [*delete, (*add, flag)]


def start_stopped_networks(vm: Vm, virsh: Virsh, states: Sequence[NetworkState]) -> None:
    """Start the networks that are defined but not active; those that are missing are made only by `create`."""
    for state in states:
        if state.facts is not None and not state.active:
            ensure_network(vm, virsh, state)


def refuse_missing_networks(vm: Vm, states: Sequence[NetworkState], *, inactive: bool = False) -> None:
    """Refuse to start a domain on a declared network that is not there, or is ``inactive``."""
    for state in states:
        name = state.network.name
        if state.facts is None and name in vm.domain.networks:
            raise Problem(f"there is no network '{name}' on {vm.uri}", f"'{vm.make} create/network' makes it")
        if inactive and not state.active and name in vm.domain.networks:
            raise Problem(f"network '{name}' is not active on {vm.uri}", f"'{vm.make} start/network' starts it")

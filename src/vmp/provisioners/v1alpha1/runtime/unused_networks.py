"""Networks that nobody uses any more: stopped, and deleted. One that a domain is on, or that differs, is kept."""

from __future__ import annotations

from collections.abc import Sequence

from .conversation import Failed
from .facts import Vm
from .libvirt import list_domains, parse
from .network_records import Network
from .networks import NetworkState, commands_to_delete, look_at_network
from .say import Problem
from .users import LastingUsers, Users, add_interfaces
from .virsh import Virsh


def stop_networks(vm: Vm, virsh: Virsh) -> None:
    """Stop the declared networks that no running domain is on."""
    users: Users | None = None
    for network in vm.networks:
        state = look_at_network(virsh, network)
        if not state.active:
            continue
        if state.differences:
            vm.say(f"left network {network.name} alone: it is not as declared: {'; '.join(state.differences)}")
            continue
        users = users or _running_users(virsh)
        user = user_of_network(users, state)
        if user:
            vm.say(f"left network {network.name} alone: {user} is on it")
            continue
        failure = virsh.try_("net-destroy", f"--network={network.name}")
        if failure and look_at_network(virsh, network).active:
            raise Problem(f"could not stop network {network.name}", failure)
        vm.say(f"stopped network {network.name}")


def _running_users(virsh: Virsh) -> Users:
    """Find who has an interface on a network now."""
    users = Users()
    for uuid, name in list_domains(virsh, "--state-running", "--state-paused", "--state-other").items():
        try:
            xml = virsh.ask("dumpxml", f"--domain={uuid}")
        except Failed:
            if uuid in list_domains(virsh):
                raise
            continue
        add_interfaces(users, name, parse(xml, f"libvirt's answer about domain {name}"))
    return users


def user_of_network(users: Users, state: NetworkState) -> str:
    """Return who is on a network, by its name or by its bridge, or ''.

    A bridge that was there before the network stays, so those who are on it by themselves do not use the network.
    """
    bridge = state.facts.xml.find("bridge") if state.facts else None
    name = "" if bridge is None or state.network.mode == "bridge" else bridge.get("name", "")
    return users.user_of(f"network {state.network.name}", f"bridge {name}")


def delete_networks(
    vm: Vm, virsh: Virsh, found_users: LastingUsers, *, all_: bool = False, only: Sequence[Network] | None = None
) -> None:
    """Delete the declared networks, or ``only`` some, that nobody uses; not those to be retained unless ``all_``."""
    for network in vm.networks if only is None else only:
        if network.retained and not all_:
            continue
        state = look_at_network(virsh, network)
        if state.facts is None:
            continue
        if state.differences:
            commands = "; ".join(commands_to_delete(vm, network.name))
            vm.say(
                f"kept network {network.name}: it is not as declared: {'; '.join(state.differences)}; "
                f"if it is not needed: {commands}"
            )
            continue
        user = user_of_network(found_users.find(vm, virsh), state)
        if user:
            vm.say(f"kept network {network.name}: {user} uses it")
        elif _delete_network(virsh, network):
            vm.say(f"deleted network {network.name}")


def _delete_network(virsh: Virsh, network: Network) -> bool:
    """Delete a network; return whether this run has done it, and not another one."""
    failure = virsh.try_("net-destroy", f"--network={network.name}")
    if failure and look_at_network(virsh, network).active:  # undefined now, it would go on without a definition
        raise Problem("could not delete everything", f"network {network.name}: {failure}")
    failure = virsh.try_("net-undefine", f"--network={network.name}")
    if failure and look_at_network(virsh, network).facts:
        raise Problem("could not delete everything", f"network {network.name}: {failure}")
    return not failure

"""What VMs of one node cannot have together: plans in, mistakes out."""

from __future__ import annotations

from collections.abc import Iterable

from vmp.diagnostics import Report
from vmp.nodes import Mapping
from vmp.provisioners.v1alpha1.places import place_of
from vmp.provisioners.v1alpha1.plan import Network, Plan
from vmp.texts import address_of

Compiled = tuple[Plan, Mapping]
"""A VM: its plan, and the mapping that has the places of its values."""

_KEYS = {
    "mode": ("forward", "mode"),
    "dev": ("forward", "dev"),
    "domain": ("domain", "name"),
    "local_only": ("domain", "localOnly"),
    "forwarders": ("dns", "forwarders"),
}
"""Where a fact of a network stands in the registry, if not under its own name."""

_MAY_DIFFER = ("name", "hosts", "retained")
"""DNS hosts that are missing are added, and whether a network goes is each VM's own business."""


def check_nodes(compiled: Iterable[Compiled], report: Report) -> None:
    """Report networks that VMs of one node declare differently, and addresses and names that two of them reserve."""
    networks: dict[tuple[str, str], tuple[Plan, Mapping, int]] = {}
    reserved: dict[tuple[str, str, str, str], tuple[Plan, Mapping, int]] = {}
    for plan, vm in compiled:
        node = plan.node.name
        for index, network in enumerate(plan.networks):
            first, its_vm, its_index = networks.setdefault((node, network.name), (plan, vm, index))
            if first is not plan:
                for fact in _differences(first.networks[its_index], network):
                    message = f"VMs {first.name!r} and {plan.name!r} declare network {network.name!r} with another "
                    message += f"{'.'.join(_KEYS.get(fact, (fact,)))!r}"
                    help_ = "a network is one for all that declare it: put it into a template of both"
                    for its, place in ((its_vm, its_index), (vm, index)):
                        span = place_of(its, "libvirt", "networks", place, *_KEYS.get(fact, (fact,)))
                        report.error("conflicting-vms", message, span, help=help_)
        for index, reservation in enumerate(plan.reservations):
            for key, value in (("address", str(address_of(reservation.address))), ("hostname", reservation.hostname)):
                first, its_vm, its_index = reserved.setdefault(
                    (node, reservation.network, key, value), (plan, vm, index)
                )
                if first is not plan:
                    message = f"VMs {first.name!r} and {plan.name!r} both reserve the {key} {value!r} "
                    message += f"on network {reservation.network!r}"
                    for its, place in ((its_vm, its_index), (vm, index)):
                        span = place_of(its, "libvirt", "reservations", place, key)
                        report.error("conflicting-vms", message, span)


def _differences(one: Network, other: Network) -> list[str]:
    """Return the names of the facts that differ; addresses are compared as addresses."""
    if one.xml != other.xml:
        return ["xml"]
    return [
        fact
        for fact in Network._fields
        if fact not in _MAY_DIFFER and _plain(fact, getattr(one, fact)) != _plain(fact, getattr(other, fact))
    ]


def _plain(fact: str, value: object) -> object:
    if fact == "ips" and isinstance(value, tuple):
        return {tuple([str(address_of(word) or word) for word in ip]) for ip in value}
    if fact == "forwarders" and isinstance(value, tuple):
        return {str(address_of(word)) for word in value}
    return value

"""Addresses that DHCP always gives to this machine: entries in libvirt's networks, looked at, then made or removed.

An entry is ours if it has a MAC address that vmp derived from our names, if it is one that the domain was made with, or
if it has our MAC address and our host name. Any other one for our address, MAC address or name is somebody else's.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

from .dhcp_entries import Entry, entries_of, entry_xml, parent_of
from .facts import Vm
from .network_facts import NetworkFacts, leases_of, look_at_network_facts, plain_address
from .network_records import Reservation
from .say import Problem
from .virsh import Virsh


class ReservationStep(NamedTuple):
    """What is to be done about one reservation."""

    kind: str
    """remove, modify, add; or keep, where nothing is to be done."""
    reservation: Reservation
    words: str
    """Such as `reservation 10.20.0.11 for 52:54:00:00:00:01: added`."""
    parent: int = 0
    flags: tuple[str, ...] = ()
    """Where: --live, --config or both. None for a network that is not there yet: look again once it is."""


_ORDER = ("remove", "modify", "add", "keep")
_COMMANDS = {"remove": "delete", "modify": "modify", "add": "add-last"}


def look_at_reservations(
    vm: Vm, virsh: Virsh, recorded: Sequence[Reservation], known: Mapping[str, NetworkFacts] | None = None
) -> list[ReservationStep]:
    """Return what is to be done, in order. Refuses what is somebody else's; nothing is changed.

    ``recorded`` are the reservations that the domain was made with, ``known`` networks that were just looked at.
    """
    steps: list[ReservationStep] = []
    for name, facts in _networks_of(vm, virsh, recorded, known or {}):
        declared = [reservation for reservation in vm.reservations if reservation.network == name]
        old = [reservation for reservation in recorded if reservation.network == name]
        if facts is None:
            steps += [_step("add", reservation, "added") for reservation in declared]
            continue
        found: dict[ReservationStep, list[str]] = {}
        for flag, xml in facts.places():
            for step in _steps_in(vm, name, xml, declared, old):
                found.setdefault(step, []).append(flag)
        changed = [step._replace(flags=tuple(flags)) for step, flags in found.items() if step.kind != "keep"]
        _refuse_leased(vm, virsh, name, changed)
        same = [reservation for reservation in declared if reservation not in [step.reservation for step in changed]]
        steps += sorted(changed, key=lambda step: _ORDER.index(step.kind))
        steps += [_step("keep", reservation, "is there") for reservation in same]
    return steps


def _networks_of(
    vm: Vm, virsh: Virsh, recorded: Sequence[Reservation], known: Mapping[str, NetworkFacts]
) -> Iterator[tuple[str, NetworkFacts | None]]:
    wanted = list(dict.fromkeys([reservation.network for reservation in (*vm.reservations, *recorded)]))
    found = {**known, **look_at_network_facts(virsh, [name for name in wanted if name not in known])}
    return ((name, found.get(name)) for name in wanted)


def _step(kind: str, reservation: Reservation, done: str, parent: int = 0) -> ReservationStep:
    words = f"reservation {reservation.address} for {reservation.mac or reservation.hostname}: {done}"
    return ReservationStep(kind, reservation, words, parent)


def _steps_in(
    vm: Vm, network: str, xml: Element, declared: Sequence[Reservation], old: Sequence[Reservation]
) -> Iterator[ReservationStep]:
    """Yield the steps for a network as it works now, or as it starts next."""
    entries = list(entries_of(xml))
    stale = [entry for entry in entries if _is_stale(vm, entry, declared, old)]
    for reservation in declared:
        if any(entry.is_(reservation) for entry in entries):
            continue
        for entry in entries:
            if entry not in stale and _conflicts(entry, reservation):
                raise _foreign(vm, network, entry, reservation)
        parent = parent_of(network, xml, reservation)
        own = next((entry for entry in stale if entry.mac == reservation.mac), None)
        in_the_way = [entry for entry in stale if entry != own and _conflicts(entry, reservation)]
        if own and own.parent == parent and not in_the_way:
            stale.remove(own)
            yield _step("modify", reservation, f"was {own.ip} {own.name}".rstrip(), parent)
        else:
            yield _step("add", reservation, "added", parent)
    for entry in stale:
        yield _step("remove", Reservation(network, entry.mac, entry.ip, entry.name), "removed", entry.parent)


def _is_stale(vm: Vm, entry: Entry, declared: Sequence[Reservation], old: Sequence[Reservation]) -> bool:
    """Tell whether an entry is ours, and not as declared."""
    if any(entry.is_(reservation) for reservation in declared):
        return False
    return any(entry.is_(reservation) for reservation in old) or _has_our_mac(vm, entry, declared)


def _has_our_mac(vm: Vm, entry: Entry, declared: Iterable[Reservation]) -> bool:
    """Tell whether an entry is of a MAC address of ours, which nobody else can have, or has our host name as well."""
    return any(
        entry.mac == reservation.mac and (entry.mac in vm.domain.macs or entry.name == reservation.hostname)
        for reservation in declared
    )


def _conflicts(entry: Entry, reservation: Reservation) -> bool:
    """Tell whether libvirt's DHCP cannot have both."""
    same_name = bool(entry.name) and entry.name == reservation.hostname
    return same_name or entry.mac == reservation.mac or entry.ip == plain_address(reservation.address)


def _foreign(vm: Vm, network: str, entry: Entry, reservation: Reservation) -> Problem:
    delete = ["virsh", "-c", vm.uri, "net-update", network, "delete", "ip-dhcp-host", entry_xml(*entry[1:])]
    return Problem(
        f"network '{network}' on {vm.uri} has an entry of somebody else: {entry_xml(*entry[1:])}; "
        f"this VM wants {entry_xml(reservation.mac, reservation.address, reservation.hostname)}",
        "reserve another address or name; or, if nobody needs that entry, delete it:",
        shlex.join([*delete, "--live", "--config", f"--parent-index={entry.parent}"]),
    )


def _refuse_leased(vm: Vm, virsh: Virsh, network: str, steps: Sequence[ReservationStep]) -> None:
    """Refuse an address that a guest of another MAC address has now: ours would be given another one."""
    wanted = {
        plain_address(step.reservation.address): step.reservation
        for step in steps
        if step.kind in ("add", "modify") and "--live" in step.flags
    }
    for lease in leases_of(virsh, network) if wanted else ():
        reservation = wanted.get(plain_address(lease.ip))
        if reservation and lease.mac != reservation.mac:
            who = lease.mac if lease.name == "-" else f"{lease.name} ({lease.mac})"
            raise Problem(
                f"{lease.ip} on network '{network}' belongs to {who} until {lease.until}, by a lease of DHCP: "
                f"this VM would be given another address",
                "reserve an address outside of the range that DHCP gives away, or wait until that guest has gone "
                "and its lease has ended",
            )


def carry_out_reservations(vm: Vm, virsh: Virsh, steps: Sequence[ReservationStep]) -> None:
    """Do what was decided. No network is restarted, and no guest loses its link."""
    for step in steps:
        if not step.flags:
            continue
        mac, address, name = step.reservation[1:]
        where = (f"--network={step.reservation.network}", f"--parent-index={step.parent}", *step.flags)
        command = (
            f"--command={_COMMANDS[step.kind]}",
            "--section=ip-dhcp-host",
            f"--xml={entry_xml(mac, address, name)}",
        )
        failure = virsh.try_("net-update", *where, *command)
        if failure and not _is_done(virsh, step):
            raise Problem(f"the reservation of {address} on network {step.reservation.network} failed", failure)
        if not failure:
            vm.say(step.words)


def _is_done(virsh: Virsh, step: ReservationStep) -> bool:
    """Tell whether another run has done a step meanwhile."""
    facts = look_at_network_facts(virsh, [step.reservation.network]).get(step.reservation.network)
    there = [
        any(entry.is_(step.reservation) for entry in entries_of(xml))
        for flag, xml in (facts.places() if facts else ())
        if flag in step.flags
    ]
    return not any(there) if step.kind == "remove" else bool(there) and all(there)


def remove_reservations(vm: Vm, virsh: Virsh, recorded: Sequence[Reservation]) -> None:
    """Remove the reservations that are declared, and those that the domain was made with, as far as they are ours."""
    for name, facts in _networks_of(vm, virsh, recorded, {}):
        declared = [reservation for reservation in vm.reservations if reservation.network == name]
        old = [reservation for reservation in recorded if reservation.network == name]
        found: dict[ReservationStep, list[str]] = {}
        for flag, xml in facts.places() if facts else ():
            for entry in entries_of(xml):
                if any(entry.is_(reservation) for reservation in (*declared, *old)) or _has_our_mac(
                    vm, entry, declared
                ):
                    gone = Reservation(name, entry.mac, entry.ip, entry.name)
                    found.setdefault(_step("remove", gone, "removed", entry.parent), []).append(flag)
        carry_out_reservations(vm, virsh, [step._replace(flags=tuple(flags)) for step, flags in found.items()])

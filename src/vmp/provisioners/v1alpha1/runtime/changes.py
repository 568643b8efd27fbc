"""What differs between the directory and what libvirt has, in words: each thing with when `apply` brings it.

Three definitions are compared: that of the directory, the one that the domain was made from (its record), and the
domain as it is. Where the first two differ, the registry has changed; where the last two do, somebody has by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .definition import is_definition, seed_sum
from .drive_changes import lines_of_seed
from .facts import Vm
from .networks import NetworkState
from .record import Record, facts_to_record, recorded_vm
from .records import Volume
from .reservations import ReservationStep
from .seen import Seen, changed_parts
from .timing import ANEW, BY_HAND, NEVER, NOW, START, when_of
from .wording import option_changes


class Change(NamedTuple):
    """One difference."""

    text: str
    when: str
    kind: str = "option"
    """option, volume, pool, seed, autostart or network; `stays`, `by hand` or `libvirt` where nothing is made of it."""


def changes_of(vm: Vm, seen: Seen) -> list[Change]:
    """Return all that differs between the directory and what libvirt has."""
    before = recorded_vm(vm, seen.record)
    differs = not is_definition(vm, seen.record.definition)
    later = START if seen.on else NOW
    found = _registry_changes(before, vm, seen) if before and differs else []
    if differs and before is None:
        text = "definition: changed; in what, is not known: an earlier version of vmp made the domain"
        found.append(Change(text, later))
    elif has_other_passwords(seen.record, vm):
        found.append(Change("a password of the domain: changed", later))
    found += _volume_changes(before, vm, seen)
    found += _autostart_changes(before, vm, seen)
    if differs and not found:
        found.append(Change("definition: written differently, for the same machine", NOW))
    return [*found, *_seed_changes(vm, seen), *_changes_by_hand(seen)]


def has_other_passwords(record: Record, vm: Vm) -> bool:
    """Tell whether the passwords of the directory are others than those that a domain was made with."""
    return bool(record.facts) and record.facts.get("passwordsSum") != facts_to_record(vm).get("passwordsSum")


def changes_of_networks(states: Sequence[NetworkState], steps: Sequence[ReservationStep]) -> list[Change]:
    """Return what differs in networks and reservations. A network is never made anew: guests would lose their link."""
    found = []
    for state in states:
        different = {f"network {state.network.name}: {line}" for line in state.differences}
        found += [Change(line, NEVER if line in different else NOW, "network") for line in state.lines()]
    return found + [Change(step.words, NOW, "network") for step in steps if step.kind != "keep"]


def _registry_changes(before: Vm, vm: Vm, seen: Seen) -> list[Change]:
    """Return what has changed in the definition."""
    found = []
    if before.image.reference != vm.image.reference:
        found.append(Change(f"image {before.image.reference} → {vm.image.reference}", ANEW))
    if before.domain.name != vm.domain.name:
        found.append(Change(f"domain name {before.domain.name} → {vm.domain.name}", ANEW))
    found += _pool_changes(before, vm)
    found += [change for volume in vm.volumes for change in _source_changes(before, vm, volume, seen)]
    declared = {volume.key for volume in vm.volumes}
    found += [
        Change(f"volume {volume.key}: has left the definition, and stays", NOW, "stays")
        for volume in before.volumes
        if volume.key not in declared
    ]
    for change in option_changes(before.domain, vm.domain):
        found += [Change(words, when_of(change, before, vm, seen.current)) for words in change.words()]
    return found


def _pool_changes(before: Vm, vm: Vm) -> Iterator[Change]:
    old = {pool.name: pool for pool in before.pools}
    for pool in vm.pools:
        if pool.name not in old:
            yield Change(f"pool {pool.name}: added", NOW, "pool")
        elif old[pool.name].path != pool.path:
            yield Change(f"pool {pool.name}: directory {old[pool.name].path} → {pool.path}", NEVER)
    for name in old.keys() - {pool.name for pool in vm.pools}:
        yield Change(f"pool {name}: has left the definition, and stays", NOW, "stays")


def _source_changes(before: Vm, vm: Vm, volume: Volume, seen: Seen) -> Iterator[Change]:
    """Yield what a volume that is there cannot become."""
    old = next((old for old in before.volumes if old.key == volume.key), None)
    facts = seen.volumes[volume.key]
    if old is None or facts is None:
        return
    if old.format != volume.format:
        yield Change(f"volume {volume.key}: format {old.format} → {volume.format}", ANEW)
    if old.backing != volume.backing:
        yield Change(f"volume {volume.key}: backing volume {_backing(old)} → {_backing(volume)}", ANEW)
    if bool(old.file) != bool(volume.file) or _other_file(before, vm, old, volume):
        yield Change(f"volume {volume.key}: filled from {_source(old)} → {_source(volume)}", ANEW)
    if old.capacity > volume.capacity > 0 and facts.capacity > volume.capacity:
        yield Change(
            f"volume {volume.key}: {old.capacity_text} → {volume.capacity_text}, and a disk cannot shrink", ANEW
        )
    if old.capacity < volume.capacity and not may_grow(vm, volume) and facts.capacity < volume.capacity:
        words = f"{old.capacity_text or size_in_words(facts.capacity)} → {volume.capacity_text}"
        yield Change(f"volume {volume.key}: {words}, and it is no disk that this guest writes to", ANEW)


def _backing(volume: Volume) -> str:
    return f"{volume.backing.pool}/{volume.backing.name}" if volume.backing else "-"


def _source(volume: Volume) -> str:
    return f"{volume.member.name} of {volume.member.path}" if volume.member else volume.file or "-"


def _other_file(before: Vm, vm: Vm, old: Volume, volume: Volume) -> bool:
    """Tell whether a volume is filled from another file; where image, seed and drives are kept does not matter."""
    known = {before.image.path: vm.image.path, before.seed: vm.seed}
    if old.member and volume.member:
        same = volume.member.path in (old.member.path, known.get(old.member.path))
        return old.member.name != volume.member.name or not same
    if old.member or volume.member:
        return True
    if before.makes(old.file) and vm.makes(volume.file) and not before.makes(volume.file):
        return volume.file == vm.seed and old.file != before.seed  # a drive with a new path is a changed drive
    return old.file != volume.file and known.get(old.file, old.file) != volume.file


def _volume_changes(before: Vm | None, vm: Vm, seen: Seen) -> Iterator[Change]:
    known = {volume.key for volume in (before or vm).volumes}
    for volume in vm.volumes:
        facts = seen.volumes[volume.key]
        if facts is None:
            missing = "is not there, or its pool is not active" if volume.key in known else "added"
            yield Change(f"volume {volume.key}: {missing}", NOW, "volume")
        elif may_grow(vm, volume) and facts.capacity < volume.capacity:
            yield Change(
                f"volume {volume.key}: {size_in_words(facts.capacity)} → {volume.capacity_text}", NOW, "volume"
            )


def may_grow(vm: Vm, volume: Volume) -> bool:
    """Tell whether a volume is a disk that this guest writes to; what others are backed by is left as it is."""
    return not volume.read_only and volume.key in vm.domain.volumes


def size_in_words(size: int) -> str:
    """Return bytes in the largest unit in which they are a whole number."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size % 1024 or not size:
            return f"{size} {unit}"
        size //= 1024
    return f"{size} TiB"


def _seed_changes(vm: Vm, seen: Seen) -> Iterator[Change]:
    for line in lines_of_seed(seen.record.seed, seed_sum(vm)):
        yield Change(line, START if seen.on else NOW, "seed")


def _autostart_changes(before: Vm | None, vm: Vm, seen: Seen) -> Iterator[Change]:
    if vm.domain.autostart and not seen.autostarts:
        yield Change("autostart off → on", NOW, "autostart")
    elif loses_autostart(before, vm) and seen.autostarts:
        yield Change("autostart on → off", NOW, "autostart")


def loses_autostart(before: Vm | None, vm: Vm) -> bool:
    """Tell whether the registry asked for autostart, and does so no more. One that somebody has set by hand stays."""
    return before is not None and before.domain.autostart and not vm.domain.autostart


_DEVICES = ("disk ", "interface ", "hostdev", "filesystem")
"""Parts that libvirt never adds or changes by itself."""


def _changes_by_hand(seen: Seen) -> Iterator[Change]:
    made_by = seen.record.parts.get("libvirt", "")
    for name, what in changed_parts(seen).items() if seen.record.parts else ():
        if seen.libvirt == made_by or name.startswith(_DEVICES):
            yield Change(f"changed by hand: {name} {what}", BY_HAND, "by hand")
        else:
            who = f"changed by hand, or by libvirt, which was {made_by} and is {seen.libvirt}"
            yield Change(f"{who}: {name} {what}", NOW, "libvirt")

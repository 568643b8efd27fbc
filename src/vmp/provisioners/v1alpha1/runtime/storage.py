"""What libvirt has of storage: pools and their volumes, asked by name. Lists say whether one is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .conversation import Failed
from .libvirt import names, nonsense, parse
from .virsh import Virsh


class PoolFacts(NamedTuple):
    """A pool that is there."""

    path: str
    """Its directory; '' where it has none."""
    active: bool


class VolumeFacts(NamedTuple):
    """A volume that is there."""

    path: str
    capacity: int
    physical: int
    """Bytes of its file: of a file that is being filled, those that have come."""
    allocation: int
    """Bytes that it takes on the disk: without its holes."""
    format: str
    backing: str
    """The path of what it is backed by."""


def look_at_pool(virsh: Virsh, pool: str) -> PoolFacts | None:
    """Return a pool, if it is there.

    Only the pools that are not active are listed, as a list costs libvirt three calls for each pool in it. That comes
    first: a pool that goes meanwhile is not taken for an active one.
    """
    inactive = names(virsh, "pool-list", "--inactive")
    try:
        xml = virsh.ask("pool-dumpxml", f"--pool={pool}")
    except Failed:
        if pool not in names(virsh, "pool-list", "--all"):
            return None
        xml = virsh.ask("pool-dumpxml", f"--pool={pool}")  # it has just come, or this will tell why not
    path = parse(xml, f"libvirt's answer about pool {pool}").findtext("target/path") or ""
    return PoolFacts(path, pool not in inactive)


def is_active(virsh: Virsh, pool: str) -> bool:
    """Tell whether a pool is there and active."""
    facts = look_at_pool(virsh, pool)
    return facts is not None and facts.active


def list_volumes(virsh: Virsh, pool: str) -> dict[str, str]:
    """Return the paths of the volumes of an active pool, by name; none where it is not active.

    virsh prints a table: blank, name, blanks, path. No name holds a slash, with which each path begins.
    """
    try:
        table = virsh.ask("vol-list", f"--pool={pool}")
    except Failed:
        if is_active(virsh, pool):
            raise
        return {}
    found = {}
    for line in table.splitlines():
        name, slash, path = line[1:].partition("/")
        if slash and name.endswith("  "):
            found[name.rstrip()] = f"/{path}"
        elif line[:1] == " " and len(line.split()) > 1:  # of a pool whose paths are none, such as rbd
            found[line.split()[0]] = line.split()[-1]
        elif line.strip():
            raise nonsense(f"the volumes of pool {pool}", line)
    return found


def look_at_volumes(virsh: Virsh, volumes: Sequence[tuple[str, str]]) -> list[VolumeFacts | None]:
    """Return volumes, given by pool and name, as far as they are there."""
    return _ask_for_volumes(virsh, volumes, look_at_volume)


def glance_at_volumes(virsh: Virsh, volumes: Sequence[tuple[str, str]]) -> list[VolumeFacts | None]:
    """Return volumes as `look_at_volumes` does, and change nothing."""
    return _ask_for_volumes(virsh, volumes, glance_at_volume)


def _ask_for_volumes(
    virsh: Virsh, volumes: Sequence[tuple[str, str]], ask_again: Callable[[Virsh, str, str], VolumeFacts | None]
) -> list[VolumeFacts | None]:
    answers = virsh.ask_all(*[_words_of_look(pool, name) for pool, name in volumes])
    return [
        ask_again(virsh, *volume) if isinstance(answer, Failed) else volume_facts(answer)
        for volume, answer in zip(volumes, answers)
    ]


def look_at_volume(virsh: Virsh, pool: str, name: str) -> VolumeFacts | None:
    """Return a volume, if it is there. One whose file somebody has removed is not: libvirt forgets it by a refresh."""
    for attempt in range(3):
        try:
            return volume_facts(virsh.ask(*_words_of_look(pool, name)))
        except Failed:
            if name not in list_volumes(virsh, pool):
                return None
            if attempt == 2:
                raise
            virsh.try_("pool-refresh", f"--pool={pool}")
    return None


def glance_at_volume(virsh: Virsh, pool: str, name: str) -> VolumeFacts | None:
    """Return a volume as `look_at_volume` does, and change nothing: one whose file was removed is not there."""
    for _ in range(2):  # one failure can be the connection's: then the list, or the second time, tells
        try:
            return volume_facts(virsh.ask(*_words_of_look(pool, name)))
        except Failed:
            if name not in list_volumes(virsh, pool):
                return None
    list_volumes(virsh, pool)
    return None


def _words_of_look(pool: str, name: str) -> Sequence[str]:
    return ("vol-dumpxml", f"--pool={pool}", f"--vol={name}")


def volume_facts(xml: str) -> VolumeFacts:
    """Read what `vol-dumpxml` prints."""
    root = parse(xml, "libvirt's answer about a volume")
    target = root.find("target/format")
    return VolumeFacts(
        path=root.findtext("target/path") or root.findtext("key") or "",
        capacity=_bytes(root.findtext("capacity")),
        physical=_bytes(root.findtext("physical") or root.findtext("allocation")),
        allocation=_bytes(root.findtext("allocation")),
        format=target.get("type", "") if target is not None else "",
        backing=root.findtext("backingStore/path") or "",
    )


def _bytes(text: str | None) -> int:
    if text and not text.isdecimal():
        raise nonsense("a volume's size", text)
    return int(text or 0)

"""All there is after a run, as comparable lines: libvirt's objects, and files."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree

from world import virsh

IMAGES = Path("/var/lib/libvirt/images")
RUNTIME = [Path("/var/lib/libvirt/qemu") / name for name in ("nvram", "save", "snapshot")]

State = dict[str, str]


def observe(directory: Path, unpredictable: Iterable[str] = ()) -> State:
    """Return what there is, by name. The content of `unpredictable` files does not count."""
    names = frozenset(unpredictable)
    return {**libvirt(names), **files(directory, names)}


def libvirt(unpredictable: frozenset[str] = frozenset()) -> State:
    """Return domains, pools, volumes and networks, and the files behind them."""
    uuids = virsh("list", "--all", "--uuid").split()
    pools = [line.strip() for line in virsh("pool-list", "--all", "--name").splitlines() if line.strip()]
    active = virsh("pool-list", "--name").split()
    state = networks()
    for uuid in uuids:
        xml, facts, details = batch(["dumpxml", "--inactive", uuid], ["domstate", uuid], ["dominfo", uuid])
        name = ElementTree.fromstring(xml).findtext("name")
        kept = [
            line.split(":")[1].strip() for line in details.splitlines() if line.startswith(("Persist", "Autostart"))
        ]
        state[f"domain {name}"] = f"{facts.strip()} {' '.join(kept)} {_digest(xml.encode())}"
        for snapshot in virsh("snapshot-list", uuid, "--name").splitlines():
            found = ElementTree.fromstring(virsh("snapshot-dumpxml", uuid, f"--snapshotname={snapshot}"))
            state[f"snapshot {name}/{snapshot}"] = found.findtext("state") or ""
    for pool in pools:
        xml, *_ = batch(["pool-dumpxml", "--inactive", pool])
        what = _without(xml, "uuid capacity allocation available permissions")
        state[f"pool {pool}"] = f"{'active' if pool in active else 'inactive'} {what}"
        if pool in active:
            state |= volumes(pool)
    for path in [*IMAGES.rglob("*"), *(file for folder in RUNTIME for file in folder.rglob("*"))]:
        state[f"file {path}"] = _content(path, unpredictable) if path.is_file() else "directory"
        if path.name == "boot.qcow2":
            state[f"snapshots in {path}"] = " ".join(sorted(_snapshots_in(path)))
    return state


def _snapshots_in(path: Path) -> list[str]:
    """Return the snapshots that a qcow2 holds, also those that libvirt does not know of."""
    words = ["qemu-img", "info", "--force-share", "--output=json", str(path)]
    found = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
    return [f"{snapshot['name']} ({snapshot['vm-state-size'] > 0})" for snapshot in found.get("snapshots", [])]


def networks() -> State:
    """Return the networks as they work now and as they start next, with all that is reserved in them."""
    active, starting = [virsh("net-list", *words, "--name").split() for words in ((), ("--all", "--autostart"))]
    state = {}
    for name in virsh("net-list", "--all", "--name").split():
        live, lasting = batch(["net-dumpxml", name], ["net-dumpxml", "--inactive", name])
        how = f"{'active' if name in active else 'inactive'} {'autostart' if name in starting else ''}"
        state[f"network {name}"] = " ".join([how, *[_without(xml, "uuid mac") for xml in (live, lasting)]])
    return state


def volumes(pool: str) -> State:
    """Return what libvirt knows of the volumes of a pool, but for directories: those are of other pools.

    Cluster size, version and features are known or not, depending on when libvirt has read the file.
    """
    lines = [line.split() for line in virsh("vol-list", "--details", pool).splitlines()]
    found = batch(*(["vol-dumpxml", line[1]] for line in lines if "file" in line))
    state = {}
    for xml in found:
        name = ElementTree.fromstring(xml).findtext("name")
        state[f"volume {pool}/{name}"] = _without(
            xml, "physical allocation timestamps permissions clusterSize compat features"
        )
    return state


def batch(*commands: list[str]) -> list[str]:
    """Return what each command prints, in one connection."""
    mark = "/@@/"
    text = f"; echo {mark}; ".join(" ".join(f"'{word}'" for word in command) for command in commands)
    return virsh(text).split(mark) if commands else []


def files(directory: Path, unpredictable: frozenset[str]) -> State:
    """Return the files below a directory: mode and content. The socket of a shared SSH connection goes by itself."""
    state = {}
    for path in sorted(path for path in directory.rglob("*") if not path.is_socket()):
        mode = stat.filemode(path.lstat().st_mode)
        what = _content(path, unpredictable) if path.is_file() else ""
        state[f"{path.relative_to(directory)}"] = f"{mode} {what}"
    return state


def differences(wanted: State, actual: State) -> Iterator[str]:
    """Say what is missing, too much, or another."""
    for name in sorted({*wanted, *actual}):
        if name not in actual:
            yield f"missing: {name}"
        elif name not in wanted:
            yield f"left over: {name} ({actual[name]})"
        elif wanted[name] != actual[name]:
            yield f"differs: {name}: wanted {wanted[name]!r}, got {actual[name]!r}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _content(path: Path, unpredictable: frozenset[str]) -> str:
    if path.name in unpredictable:
        return "a file"
    content = path.read_bytes()
    return f"{len(content)} bytes {_digest(_documents(path) if path.suffix == '.iso' else content)}"


def _documents(iso: Path) -> bytes:
    """Return the files of a seed, in which each time has its dates; all of it, where it cannot be read."""
    listed = subprocess.run(["isoinfo", "-R", "-f", "-i", iso], capture_output=True, text=True)
    if listed.returncode or not listed.stdout:
        return iso.read_bytes()
    names = listed.stdout.split()
    found = [subprocess.run(["isoinfo", "-R", "-x", name, "-i", iso], capture_output=True).stdout for name in names]
    return b"\0".join([listed.stdout.encode(), *found])


def _without(xml: str, tags: str) -> str:
    root = ElementTree.fromstring(xml)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in tags.split():
                parent.remove(child)
    return " ".join(ElementTree.tostring(root, encoding="unicode").split())

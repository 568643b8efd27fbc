"""UEFI variables (NVRAM), and the copies of them that belong to snapshots of a guest that is off.

Such a snapshot leaves their file out, unless the file is a qcow2. So a copy is kept beside it: the node may be remote,
and we need not be root there, so libvirt does it, as with volumes, in a pool that is there for as long as it takes.
"""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable
from typing import TypeVar
from xml.etree.ElementTree import Element

from .conversation import Failed, Lost
from .facts import Vm
from .libvirt import names
from .say import Problem
from .storage import is_active, list_volumes, look_at_pool
from .virsh import Virsh

Result = TypeVar("Result")

_ROUNDS = 15
"""How often a directory is opened anew that other runs open and close at the same time."""


def has_uefi(xml: Element) -> bool:
    """Tell whether a domain boots by UEFI: libvirt was told so, or was given firmware with variables."""
    loader = xml.find("os/loader")
    return xml.find("os[@firmware='efi']") is not None or (loader is not None and loader.get("type") == "pflash")


def is_in_snapshots(xml: Element) -> bool:
    """Tell whether libvirt takes the variables into its snapshots (since 10.9, if their file is a qcow2)."""
    return xml.find("os/nvram[@format='qcow2']") is not None


def keep_nvram(vm: Vm, virsh: Virsh, xml: Element, snapshot: str) -> None:
    """Keep a copy for a snapshot. A guest that never ran has no variables yet."""
    path, copy = _nvram_path(vm, virsh, xml), _nvram_copy(vm, snapshot)

    def work(pool: str) -> None:
        there = list_volumes(virsh, pool)
        if copy in there:  # of a run that was cut off before it made the snapshot
            virsh.ask("vol-delete", f"--pool={pool}", f"--vol={copy}")
        if os.path.basename(path) in there:
            virsh.ask("vol-clone", f"--pool={pool}", f"--vol={os.path.basename(path)}", f"--newname={copy}")

    _in_directory(vm, virsh, os.path.dirname(path), work)


def put_back_nvram(vm: Vm, virsh: Virsh, xml: Element, snapshot: str) -> bool:
    """Put the copy of a snapshot in the place of the variables; return whether there is one.

    libvirt cannot rename a volume, or copy over one. If this run dies between the two commands, the guest has no
    variables (libvirt would begin new ones when it starts), and the copy is still there: `revert` again ends it.
    """
    path, copy = _nvram_path(vm, virsh, xml), _nvram_copy(vm, snapshot)

    def work(pool: str) -> bool:
        there = list_volumes(virsh, pool)
        if copy not in there:
            return False
        if os.path.basename(path) in there:
            virsh.ask("vol-delete", f"--pool={pool}", f"--vol={os.path.basename(path)}")
        virsh.ask("vol-clone", f"--pool={pool}", f"--vol={copy}", f"--newname={os.path.basename(path)}")
        return True

    return _in_directory(vm, virsh, os.path.dirname(path), work)


def drop_all_copies(vm: Vm, virsh: Virsh, xml: Element, snapshots: bool) -> None:
    """Delete all copies, before the domain goes. Without snapshots there is most likely none: no trouble stops us."""
    try:
        if has_uefi(xml):
            drop_copies(vm, virsh, xml)
    except Lost:
        raise
    except Problem:
        if snapshots:
            raise


def drop_copies(vm: Vm, virsh: Virsh, xml: Element, snapshot: str = "") -> None:
    """Delete the copy of a snapshot, or those of all."""

    def work(pool: str) -> None:
        for name in list_volumes(virsh, pool):
            if name == _nvram_copy(vm, snapshot) or (not snapshot and name.startswith(_nvram_copy(vm, ""))):
                virsh.ask("vol-delete", f"--pool={pool}", f"--vol={name}")

    _in_directory(vm, virsh, os.path.dirname(_nvram_path(vm, virsh, xml)), work)


def _nvram_copy(vm: Vm, snapshot: str) -> str:
    return f"{vm.domain.uuid}.{snapshot}"


def _nvram_path(vm: Vm, virsh: Virsh, xml: Element) -> str:
    """Return the path of the file of the variables.

    Before 9.2 libvirt chooses it at each start, and tells it of a guest that is off only in QEMU's command line.
    """
    store, source = xml.find("os/varstore"), xml.find("os/nvram/source")
    path = (store.get("path") if store is not None else "") or (xml.findtext("os/nvram") or "").strip()
    path = path or (source.get("file") or "" if source is not None else "")
    reason = ""
    if not path and xml.find("os/nvram") is None:
        try:
            words = virsh.ask("domxml-to-native", "--format=qemu-argv", f"--domain={vm.domain.uuid}")
            path = _flash_of(shlex.split(words.replace("\\\n", " ")))
        except (Failed, ValueError) as error:
            reason = str(error)
    if not path.startswith("/"):
        raise Problem(f"libvirt does not tell in which file the UEFI variables of {vm.domain.name} are", reason)
    return path


def _flash_of(words: list[str]) -> str:
    """Return the file of the second flash in a command line of QEMU. The first one is the firmware itself."""
    for word in words:
        if word.startswith("{") and "pflash1-storage" in word:
            return str(json.loads(word).get("filename", ""))
    return ""


def _in_directory(vm: Vm, virsh: Virsh, directory: str, work: Callable[[str], Result]) -> Result:
    """Do work in a pool over a directory of the node. It can be done again from its beginning.

    libvirt allows one pool for a directory. If somebody has one there, that is used; if it is another VM's run, it may
    be closed under our hands.
    """
    failure = ""
    for attempt in range(_ROUNDS):
        time.sleep(0.02 * attempt)
        failure = virsh.try_("pool-create-as", f"--name={_nvram_pool(vm)}", "--type=dir", f"--target={directory}")
        pool = _pool_over(vm, virsh, directory) if failure else _nvram_pool(vm)
        try:
            if pool:
                return work(pool)
        except Failed:
            if is_active(virsh, pool):
                raise
        finally:
            if pool == _nvram_pool(vm):
                _close_pool(virsh, pool)
    raise Problem(f"libvirt on {vm.uri} cannot open {directory}, where the UEFI variables are", failure)


def _nvram_pool(vm: Vm) -> str:
    return f"vmp-nvram-{vm.domain.uuid}"


def _pool_over(vm: Vm, virsh: Virsh, directory: str) -> str:
    """Return the pool that has a directory: one of a run of ours that was killed, or somebody's; '' without one."""
    for name in names(virsh, "pool-list", "--all"):
        found = look_at_pool(virsh, name)
        if found is None:
            continue
        if os.path.normpath(found.path) != os.path.normpath(directory):
            if name == _nvram_pool(vm):
                _close_pool(virsh, name)  # the file was elsewhere then
        elif found.active:
            virsh.try_("pool-refresh", f"--pool={name}")
            return name
        else:
            start = shlex.join(["virsh", "-c", vm.uri, "pool-start", name])
            raise Problem(f"pool '{name}' has the UEFI variables in it, and is not active", f"start it: {start}")
    return ""


def _close_pool(virsh: Virsh, pool: str) -> None:
    """End our pool; nothing in it changes. Another run may be at work in it for a moment."""
    for attempt in range(_ROUNDS):
        if not virsh.try_("pool-destroy", f"--pool={pool}") or not is_active(virsh, pool):
            return
        time.sleep(0.02 * attempt)

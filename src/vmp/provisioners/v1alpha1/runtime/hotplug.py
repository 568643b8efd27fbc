"""Bringing a change of the definition to a guest that runs, where libvirt can and the guest plays along.

Each function returns '' once the change is in effect, else why it waits for the next start. All of them look first,
so a run that was killed is gone on with.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from copy import deepcopy
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from .facts import Vm
from .files import scratch
from .graft import mac_of, source_of, target_of
from .libvirt import parse
from .seen import Seen
from .storage import glance_at_volume
from .timing import HOT_BUSES, NOW, is_drive, vcpus_of, when_of
from .virsh import Virsh
from .wording import MEDIUM, OptionChange, suboptions

_GUEST_PATIENCE = 10
"""Seconds for which a guest may take to let go of a device, or to give memory back."""

_LATER = "libvirt cannot change it while the guest runs"


def bring_to_guest(vm: Vm, virsh: Virsh, change: OptionChange, before: Vm, seen: Seen) -> str:
    """Bring one change of an option to the guest."""
    if when_of(change, before, vm, seen.current) != NOW:
        return _LATER
    guest = Guest(vm, virsh, before, seen)
    option = change.use.option
    if option in ("memory", "vcpus"):
        return guest.set_memory() if option == "memory" else guest.set_vcpus()
    if option == "disk":
        return guest.swap_disk(change)
    return guest.swap_interface(change) if option == "network" else guest.describe()


class Guest:
    """A running guest, and what its next start would take."""

    def __init__(self, vm: Vm, virsh: Virsh, before: Vm, seen: Seen) -> None:
        self.vm = vm
        self.virsh = virsh
        self.before = before
        self.configured = seen.configured
        self._domain = f"--domain={vm.domain.uuid}"

    def _current(self) -> Element:
        return parse(self.virsh.ask("dumpxml", self._domain), f"libvirt's answer about domain {self.vm.domain.name}")

    def _wait_for(self, done: Callable[[Element], bool]) -> bool:
        for _ in range(_GUEST_PATIENCE * 2):
            if done(self._current()):
                return True
            time.sleep(0.5)
        return False

    def set_memory(self) -> str:
        """Let the guest's balloon take or give memory. A guest without a driver for it keeps what it has."""
        wanted = self.configured.findtext("currentMemory") or ""
        if self._current().findtext("currentMemory") == wanted:
            return ""
        failure = self.virsh.try_("setmem", self._domain, f"--size={wanted}KiB", "--live")
        if failure:
            return failure
        followed = self._wait_for(lambda xml: xml.findtext("currentMemory") == wanted)
        return "" if followed else "the guest was asked, and has not done it"

    def set_vcpus(self) -> str:
        """Give the guest vCPUs, or take them."""
        wanted = vcpus_of(self.configured)
        if vcpus_of(self._current()) == wanted:
            return ""
        return self.virsh.try_("setvcpus", self._domain, f"--count={wanted}", "--live")

    def describe(self) -> str:
        """Set title and description."""
        failures = [
            self.virsh.try_(
                "desc", self._domain, "--live", *option, f"--new-desc={self.configured.findtext(tag) or ''}"
            )
            for tag, option in (("title", ("--title",)), ("description", ()))
        ]
        return next(filter(None, failures), "")

    def swap_disk(self, change: OptionChange) -> str:
        """Attach, detach or exchange a disk. One that another item of the registry has now stays where it is."""
        old, new = [
            self._source(vm, suboptions(change.use, text)) if text is not None else ""
            for vm, text in ((self.before, change.before), (self.vm, change.now))
        ]
        if old is None or new is None:
            return _LATER
        if is_drive(change):
            return self._change_medium(old, new)
        if old and old != new and _disk_of(self.configured, old) is None:
            there = _disk_of(self._current(), old)
            failure = self._detach(there, lambda xml: _disk_of(xml, old) is None) if there is not None else ""
            if failure:
                return failure
        if not new or _disk_of(self._current(), new) is not None:
            return ""
        wanted = _disk_of(self.configured, new)
        target = wanted.find("target") if wanted is not None else None
        if wanted is None or target is None or target.get("bus") not in HOT_BUSES:
            return "its bus takes no disks while the guest runs"
        failure = self._attach(wanted)
        return failure and ("" if _disk_of(self._current(), new) is not None else failure)

    def _source(self, vm: Vm, values: dict[str, str]) -> str | None:
        """Return the path of a disk, from its option; '' for an empty drive, None where only virt-install knows it."""
        key = values.get("vol", "")
        if key:
            volume = next((volume for volume in vm.volumes if volume.key == key), None)
            pool, _, name = key.partition("/")
            facts = glance_at_volume(self.virsh, *((volume.pool, volume.name) if volume else (pool, name)))
            return facts.path if facts else None
        path = values.get("path") or values.get("source.file") or ""
        if not path and values.get("device") == "cdrom" and not MEDIUM & values.keys():
            return ""
        return path if path.startswith("/") else None

    def _change_medium(self, old: str, new: str) -> str:
        """Put another medium into a drive, or take it out."""
        wanted = next((disk for disk in _drives(self.configured) if source_of(disk) == new), None)
        there = next((disk for disk in _drives(self._current()) if source_of(disk) == old), None)
        if wanted is not None and there is None:  # it may have been done
            there = next((disk for disk in _drives(self._current()) if target_of(disk) == target_of(wanted)), None)
        if wanted is None or there is None or target_of(there) != target_of(wanted):
            return _LATER
        return "" if source_of(there) == new else self._update(there, wanted)

    def swap_interface(self, change: OptionChange) -> str:
        """Attach, detach or reconnect an interface. One that another item of the registry has now stays as it is."""
        old, new = [
            _mac(suboptions(change.use, text)) if text is not None else "" for text in (change.before, change.now)
        ]
        if old is None or new is None:
            return _LATER
        there = _interface_of(self._current(), old or new)
        if not new:
            if there is None or _interface_of(self.configured, old) is not None:
                return ""
            return self._detach(there, lambda xml: _interface_of(xml, old) is None)
        wanted = _interface_of(self.configured, new)
        if wanted is None:
            return _LATER
        if there is None:
            failure = self._attach(wanted)
            return failure and ("" if _interface_of(self._current(), new) is not None else failure)
        return self._update(there, wanted) if change.before is not None else ""

    def _attach(self, device: Element) -> str:
        """Attach a device at its address in the definition, or where there is room."""
        failure = self._with_file("attach-device", device)
        address = device.find("address")
        if failure and address is not None:
            anywhere = deepcopy(device)
            anywhere.remove(anywhere.find("address"))  # type: ignore[arg-type]
            return self._with_file("attach-device", anywhere)
        return failure

    def _detach(self, device: Element, gone: Callable[[Element], bool]) -> str:
        """Ask the guest for a device; libvirt is done when the guest has let go of it."""
        failure = self._with_file("detach-device", device)
        if gone(self._current()) or (not failure and self._wait_for(gone)):
            return ""
        return failure or "the guest was asked for it, and has not let go of it"

    def _update(self, there: Element, wanted: Element) -> str:
        """Connect a device to another source; all else of it stays."""
        device = deepcopy(there)
        for tag in ("source", "backingStore"):
            for old in device.findall(tag):
                device.remove(old)
        source = wanted.find("source")
        if source is not None:
            device.insert(0, deepcopy(source))
        device.set("type", wanted.get("type", ""))
        return self._with_file("update-device", device)

    def _with_file(self, command: str, device: Element) -> str:
        with scratch(self.vm.file("apply.tmp"), ElementTree.tostring(device, encoding="unicode")) as path:
            return self.virsh.try_(command, self._domain, f"--file={path}", "--live")


def _mac(values: dict[str, str]) -> str | None:
    """Return the MAC address of an option; None where only virt-install knows it."""
    found = (values.get("mac") or values.get("mac.address") or "").lower()
    return found if re.fullmatch("[0-9a-f]{2}(:[0-9a-f]{2}){5}", found) else None


def _drives(xml: Element) -> list[Element]:
    return [disk for disk in xml.iterfind("devices/disk") if disk.get("device") == "cdrom"]


def _disk_of(xml: Element, source: str) -> Element | None:
    return next((disk for disk in xml.iterfind("devices/disk") if source and source_of(disk) == source), None)


def _interface_of(xml: Element, mac: str) -> Element | None:
    return next((each for each in xml.iterfind("devices/interface") if mac and mac_of(each) == mac), None)

"""Bringing a change of the definition to a guest that runs, where libvirt can and the guest plays along.

Each function returns '' once the change is in effect, else why it waits for the next start. All of them look first,
so a run that was killed is gone on with.
"""

from __future__ import annotations

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
from .timing import NOW, vcpus_of, when_of
from .virsh import Virsh
from .wording import OptionChange, suboptions

_HOT_BUSES = ("virtio", "scsi", "usb")
"""Buses on which disks come and go."""

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
        """Attach, detach or exchange a disk, or the medium in a drive."""
        old, new = [
            self._source(vm, suboptions(change.use, text)) if text is not None else ""
            for vm, text in ((self.before, change.before), (self.vm, change.now))
        ]
        wanted = _disk_of(self.configured, new)
        if new and wanted is None:
            return _LATER
        if wanted is not None and wanted.get("device", "disk") != "disk":
            return self._change_medium(wanted)
        there = _disk_of(self._current(), old) if old and old != new else None
        if there is not None:
            failure = self._detach(there, lambda xml: _disk_of(xml, old) is None)
            if failure:
                return failure
        if wanted is None or _disk_of(self._current(), new) is not None:
            return ""
        target = wanted.find("target")
        if target is None or target.get("bus") not in _HOT_BUSES:
            return "its bus takes no disks while the guest runs"
        return self._attach(wanted)

    def _source(self, vm: Vm, values: dict[str, str]) -> str:
        """Return the path of a disk, from its option."""
        key = values.get("vol", "")
        volume = next((volume for volume in vm.volumes if volume.key == key), None)
        pool, _, name = key.partition("/")
        facts = (
            glance_at_volume(self.virsh, volume.pool if volume else pool, volume.name if volume else name)
            if key
            else None
        )
        return facts.path if facts else values.get("path", key)

    def _change_medium(self, wanted: Element) -> str:
        drives = [disk for disk in self._current().iterfind("devices/disk") if target_of(disk) == target_of(wanted)]
        if not drives:
            return "a drive comes with the next start"
        if source_of(drives[0]) == source_of(wanted):
            return ""
        return self._update(drives[0], wanted)

    def swap_interface(self, change: OptionChange) -> str:
        """Attach, detach or reconnect an interface."""
        old, new = [
            _mac(suboptions(change.use, text)) if text is not None else "" for text in (change.before, change.now)
        ]
        wanted, there = _interface_of(self.configured, new), _interface_of(self._current(), old or new)
        if not new:
            return "" if there is None else self._detach(there, lambda xml: _interface_of(xml, old) is None)
        if wanted is None:
            return _LATER
        if there is None:
            return self._attach(wanted)
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


def _mac(values: dict[str, str]) -> str:
    return (values.get("mac") or values.get("mac.address") or "").lower()


def _disk_of(xml: Element, source: str) -> Element | None:
    return next((disk for disk in xml.iterfind("devices/disk") if source and source_of(disk) == source), None)


def _interface_of(xml: Element, mac: str) -> Element | None:
    return next((each for each in xml.iterfind("devices/interface") if mac and mac_of(each) == mac), None)

"""When a change of an option takes effect: libvirt's rules of what a guest can be given while it runs."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from .facts import Vm
from .record import is_on
from .wording import MEDIUM, OptionChange, firmware_of, suboptions, uses_of

# When `apply` brings a change. It refuses the last three.
NOW = "now"
START = "at the next start"
ANEW = "needs down up"
BY_HAND = "with FORCE=yes"
NEVER = "never by itself"


def when_of(change: OptionChange, before: Vm, vm: Vm, current: Element) -> str:
    """Return when a change of an option takes effect. Whether the guest plays along shows when it is asked."""
    option = change.use.option
    if option == "boot" and firmware_of(before.domain) != firmware_of(vm.domain):
        return ANEW
    if not is_on(current):
        return NOW
    if option in ("memory", "vcpus"):
        return NOW if _within_maximum(change, current) else START
    if option == "disk":
        return NOW if _can_be_swapped(change, before, vm) else START
    if option == "network":
        return NOW if change.before is None or change.now is None or change.differing <= _LINKS else START
    if option == "metadata":
        return NOW if change.differing <= {"title", "description"} else START
    return NOW if option == "description" else START


_LINKS = frozenset(["", "network", "source", "bridge", "source.network", "source.bridge"])
"""The suboptions of `--network` that say where an interface is connected."""


def _within_maximum(change: OptionChange, current: Element) -> bool:
    """Tell whether memory or vCPUs stay within what the guest was started with."""
    if change.now is None:
        return False
    known = {"memory": ("", "memory", "currentMemory", "maxmemory"), "vcpus": ("", "vcpus", "vcpu.current", "maxvcpus")}
    values = suboptions(change.use, change.now)
    if not change.differing <= set(known[change.use.option]):
        return False
    value = values.get("") or values.get(change.use.option, "")
    maximum = values.get(f"max{change.use.option}", value)
    if change.use.option == "vcpus":
        wanted = values.get("vcpu.current", value)
        return maximum == (current.findtext("vcpu") or "") and _may_lose_vcpus(wanted, current)
    return maximum.isdecimal() and str(int(maximum) * 1024) == (current.findtext("memory") or "")


def _may_lose_vcpus(wanted: str, current: Element) -> bool:
    """Tell whether vCPUs are added, or can be taken away: QEMU without KVM crashes there (seen with 7.2)."""
    return current.get("type") == "kvm" or (wanted.isdecimal() and int(vcpus_of(current)) <= int(wanted))


def vcpus_of(xml: Element) -> str:
    """Return the number of vCPUs that are there."""
    vcpu = xml.find("vcpu")
    return "0" if vcpu is None else vcpu.get("current") or vcpu.text or "0"


HOT_BUSES = ("virtio", "scsi", "usb")
"""Buses on which disks come and go."""


def _can_be_swapped(change: OptionChange, before: Vm, vm: Vm) -> bool:
    """Tell whether a disk can come and go while the guest runs. The first one, which it boots from, never goes."""
    if is_drive(change):
        return change.before is not None and change.now is not None and change.differing <= MEDIUM
    firsts = [next((use for use in uses_of(each.domain) if use.option == "disk"), None) for each in (before, vm)]
    whole = change.before is None or change.now is None or change.differing <= MEDIUM
    buses = [values.get("bus") or values.get("target.bus") or "virtio" for values in _values(change)]
    return whole and change.use not in firsts and all(bus in HOT_BUSES for bus in buses)


def is_drive(change: OptionChange) -> bool:
    """Tell whether a disk is a drive for media, such as a CD-ROM."""
    return any(values.get("device", "disk") != "disk" for values in _values(change))


def _values(change: OptionChange) -> list[dict[str, str]]:
    return [suboptions(change.use, text) for text in (change.before, change.now) if text is not None]

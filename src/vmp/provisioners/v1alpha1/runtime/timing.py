"""When a change of an option takes effect: libvirt's rules of what a guest can be given while it runs."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from .facts import Vm
from .record import is_on
from .wording import FIRMWARE, MEDIUM, OptionChange, suboptions, uses_of

NOW = "now"
START = "at the next start"
ANEW = "needs down up"
BY_HAND = "with FORCE=yes"
NEVER = "never by itself"
"""When `apply` brings a change. It refuses what needs `down up`, what somebody has changed by hand, other networks."""


def when_of(change: OptionChange, before: Vm, vm: Vm, current: Element) -> str:
    """Return when a change of an option takes effect. Whether the guest plays along shows when it is asked."""
    option = change.use.option
    if option == "boot" and any(
        key.partition(".")[0] in FIRMWARE for key in change.differing | _firmware_words(change)
    ):
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


def _firmware_words(change: OptionChange) -> frozenset[str]:
    """Return firmware that is chosen by a word alone, such as `--boot uefi`."""
    old, new = [suboptions(change.use, text).get("", "") if text else "" for text in (change.before, change.now)]
    return frozenset([old, new]) if old != new else frozenset()


_LINKS = frozenset(["network", "source", "bridge", "source.network", "source.bridge"])
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
        return maximum == (current.findtext("vcpu") or "") and _may_lose_vcpus(value, current)
    return maximum.isdecimal() and str(int(maximum) * 1024) == (current.findtext("memory") or "")


def _may_lose_vcpus(wanted: str, current: Element) -> bool:
    """Tell whether vCPUs are added, or can be taken away: QEMU without KVM crashes there (seen with 7.2)."""
    return current.get("type") == "kvm" or int(vcpus_of(current)) <= int(wanted)


def vcpus_of(xml: Element) -> str:
    """Return the number of vCPUs that are there."""
    vcpu = xml.find("vcpu")
    return "0" if vcpu is None else vcpu.get("current") or vcpu.text or "0"


def _can_be_swapped(change: OptionChange, before: Vm, vm: Vm) -> bool:
    """Tell whether a disk can come and go while the guest runs. The first one, which it boots from, never goes."""
    firsts = [next((use for use in uses_of(each.domain) if use.option == "disk"), None) for each in (before, vm)]
    texts = [text for text in (change.before, change.now) if text is not None]
    drive = any(suboptions(change.use, text).get("device", "disk") != "disk" for text in texts)
    if len(texts) == 2:
        return change.differing <= MEDIUM and (drive or change.use not in firsts)
    return not drive and change.use not in firsts

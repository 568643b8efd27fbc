"""What differs in options and definitions, without a libvirt: words, moments, and what a new definition keeps."""

from __future__ import annotations

from typing import NamedTuple
from xml.etree import ElementTree

import pytest

from vmp.provisioners.v1alpha1.runtime.graft import graft
from vmp.provisioners.v1alpha1.runtime.records import DomainFacts
from vmp.provisioners.v1alpha1.runtime.timing import when_of
from vmp.provisioners.v1alpha1.runtime.wording import OptionChange, option_changes


class OfDomain(NamedTuple):
    """As much of a VM as is looked at here."""

    domain: DomainFacts


def domain(*words: str) -> DomainFacts:
    """Return a domain with these options; `disk:data=…` is an item called data."""
    names = [word.partition("=")[0].partition(":")[2] for word in words]
    options = [f"--{word.partition('=')[0].partition(':')[0]}={word.partition('=')[2]}" for word in words]
    return DomainFacts("web", "uuid", False, tuple(options), tuple(names), (), (), (), (), False)


def changes(before: tuple[str, ...], now: tuple[str, ...]) -> list[OptionChange]:
    return option_changes(domain(*before), domain(*now))


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        ("memory=1024", "memory=2048", ["memory 1024 → 2048"]),
        ("memory=memory=1024", "memory=memory=1024,maxmemory=2048", ["memory maxmemory - → 2048"]),
        ("disk:data=vol=p/a,cache=none", "disk:data=cache=none,vol=p/b", ["disk data vol p/a → p/b"]),
        ('metadata:t="title=a, b"', 'metadata:t="title=a, c"', ["metadata t title a, b → a, c"]),
        ("description=one, two", "description=one", ["description one, two → one"]),
        ("boot=hd,uefi", "boot=uefi,hd", ["boot hd → uefi", "boot hd - → yes", "boot uefi yes → -"]),
    ],
)
def test_what_differs_is_said_by_suboption(before: str, now: str, words: list[str]) -> None:
    (change,) = changes((before,), (now,))
    assert sorted(change.words()) == sorted(words)


def test_options_that_come_and_go_are_named_also_without_a_value() -> None:
    found = changes(("import=", "disk:old=vol=p/a"), ("nographics=", "disk:new=vol=p/b"))
    words = [line for change in found for line in change.words()]
    assert words == ["nographics - → yes", "disk new: added", "import yes → -", "disk old: removed"]


RUNNING = "<domain type='qemu' id='1'><memory>131072</memory><vcpu current='1'>4</vcpu></domain>"


@pytest.mark.parametrize(
    ("before", "now", "when"),
    [
        ("memory=64,maxmemory=128", "memory=96,maxmemory=128", "now"),
        ("memory=64,maxmemory=128", "memory=96,maxmemory=256", "at the next start"),
        ("vcpus=1,maxvcpus=4", "vcpus=4,maxvcpus=4", "now"),
        ("vcpus=4,vcpu.current=1", "vcpus=4,vcpu.current=2", "now"),
        ("vcpus=4,vcpu.current=1", "vcpus=4,vcpu.current=0", "at the next start"),
        ("boot=uefi,hd", "boot=hd,uefi", "at the next start"),
        ("boot=hd", "boot=hd,uefi", "needs down up"),
        ("boot=uefi", "boot=", "needs down up"),
        ("disk:cd=device=cdrom,path=/a.iso", "disk:cd=device=cdrom,path=/b.iso", "now"),
        ("disk:cd=device=cdrom,path=/a.iso", "disk:cd=device=cdrom", "now"),
        ("disk:b=vol=p/a,bus=sata", "disk:b=vol=p/b,bus=sata", "at the next start"),
        ("disk:b=vol=p/a,bus=scsi", "disk:b=vol=p/b,bus=scsi", "now"),
        ("disk:b=vol=p/a,cache=none", "disk:b=vol=p/a", "at the next start"),
        ("network:n=network=a,mac=52:00:00:00:00:01", "network:n=network=b,mac=52:00:00:00:00:01", "now"),
        ("network:n=network=a,model=e1000e", "network:n=network=a", "at the next start"),
        ("graphics=vnc", "graphics=spice", "at the next start"),
    ],
)
def test_each_change_has_its_moment_in_a_running_guest(before: str, now: str, when: str) -> None:
    old, new = [OfDomain(domain("disk:first=vol=p/first", text)) for text in (before, now)]
    (change,) = option_changes(old.domain, new.domain)
    assert when_of(change, old, new, ElementTree.fromstring(RUNNING)) == when  # type: ignore[arg-type]


def test_the_first_disk_never_leaves_a_running_guest() -> None:
    old, new = OfDomain(domain("disk:a=vol=p/a", "disk:b=vol=p/b")), OfDomain(domain("disk:b=vol=p/b"))
    (change,) = option_changes(old.domain, new.domain)
    assert when_of(change, old, new, ElementTree.fromstring(RUNNING)) == "at the next start"  # type: ignore[arg-type]


def definition(devices: str, os: str = "<os><type arch='x86_64' machine='q35'>hvm</type></os>") -> ElementTree.Element:
    return ElementTree.fromstring(f"<domain><metadata/>{os}<devices>{devices}</devices></domain>")


def disk(source: str, target: str, bus: str = "virtio", more: str = "", device: str = "disk") -> str:
    return f"<disk device='{device}'><source file='{source}'/><target dev='{target}' bus='{bus}'/>{more}</disk>"


def disks_of(xml: ElementTree.Element) -> list[tuple[str, str]]:
    pairs = [(each.find("source"), each.find("target")) for each in xml.iterfind("devices/disk")]
    return [(a.get("file", ""), b.get("dev", "")) for a, b in pairs if a is not None and b is not None]


def test_a_disk_on_another_bus_takes_nobodys_name() -> None:
    old = definition(disk("/root", "vda") + disk("/seed", "sda", "sata", device="cdrom"))
    new = definition(disk("/root", "sda", "sata") + disk("/seed", "sdb", "sata", device="cdrom"))
    assert disks_of(graft(new, old, frozenset())) == [("/root", "sdb"), ("/seed", "sda")]


def test_a_disk_keeps_name_and_address_and_a_new_one_takes_a_free_name() -> None:
    old = definition(
        disk("/root", "vda", more="<address slot='4'/>") + disk("/data", "vdb", more="<address slot='7'/>")
    )
    new = definition(disk("/new", "vda") + disk("/data", "vdb") + disk("/root", "vdc"))
    found = graft(new, old, frozenset())
    assert disks_of(found) == [("/new", "vdc"), ("/data", "vdb"), ("/root", "vda")]
    assert [each.get("slot") for each in found.iterfind("devices/disk/address")] == ["7", "4"]


def interface(mac: str) -> str:
    return f"<interface><mac address='{mac}'/></interface>"


def test_a_mac_address_that_somebody_has_chosen_is_never_another_ones() -> None:
    chosen, other, drawn = "52:54:00:00:00:01", "52:54:00:aa:bb:cc", "52:54:00:dd:dd:dd"
    old = definition(interface("52:54:00:99:99:99") + interface(chosen))
    new = definition(interface(drawn) + interface(other))
    found = graft(new, old, frozenset([chosen, other]))
    macs = [mac.get("address") for mac in found.iterfind("devices/interface/mac")]
    assert macs == ["52:54:00:99:99:99", other]


def test_the_version_of_the_machine_type_and_the_firmware_stay() -> None:
    firmware = "<loader type='pflash'>/code.fd</loader><nvram>/vars.fd</nvram>"
    old = definition("", f"<os firmware='efi'><type arch='x86_64' machine='pc-q35-7.2'>hvm</type>{firmware}</os>")
    new = definition("", "<os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type></os>")
    found = graft(new, old, frozenset())
    assert found.findtext("os/nvram") == "/vars.fd"
    machine = found.find("os/type")
    assert machine is not None and machine.get("machine") == "pc-q35-7.2"


def test_another_machine_keeps_no_addresses() -> None:
    old = definition(disk("/root", "vdx", more="<address slot='4'/>"))
    new = definition(disk("/root", "vda"), "<os><type arch='x86_64' machine='pc'>hvm</type></os>")
    assert disks_of(graft(new, old, frozenset())) == [("/root", "vda")]

"""A new definition for a domain that exists: virt-install's answer, with what libvirt has once given the domain.

Without that, devices would move: a disk added in front would rename the guest's others, and a network card at another
PCI address has another name in the guest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from xml.etree.ElementTree import Element

from .libvirt import MARK

_ADDED_CONTROLLERS = frozenset("pci virtio-serial sata ide fdc".split())
"""Controllers that libvirt adds by itself where a device needs one."""


def graft(wanted: Element, there: Element, chosen_macs: frozenset[str]) -> Element:
    """Return ``wanted`` with machine type, firmware, names of disks and addresses of ``there``, where they fit.

    ``chosen_macs`` are the MAC addresses in the options, old and new; another one was drawn by virt-install.
    """
    found = deepcopy(wanted)
    if _keep_machine(found, there):
        _keep_firmware(found, there)
        old, new = there.find("devices"), found.find("devices")
        if old is not None and new is not None:
            _keep_disks(new, old)
            _keep_interfaces(new, old, chosen_macs)
            _keep_controllers(new, old)
            _keep_others(new, old)
    _keep_metadata(found, there)
    return found


def _keep_machine(found: Element, there: Element) -> bool:
    """Keep the version of the machine type (`q35` has become `pc-q35-7.2`); tell whether it is the same machine."""
    new, old = found.find("os/type"), there.find("os/type")
    if new is None or old is None or new.get("arch") != old.get("arch"):
        return False
    short, full = new.get("machine", ""), old.get("machine", "")
    family = {"pc": "pc-i440fx", "q35": "pc-q35"}.get(short, short)
    if short != full and not full.startswith(f"{family}-"):
        return False
    new.set("machine", full)
    return True


def _keep_firmware(found: Element, there: Element) -> None:
    """Keep which firmware libvirt has chosen, and where its variables are."""
    new, old = found.find("os"), there.find("os")
    if new is None or old is None or new.get("firmware") != old.get("firmware"):
        return
    for tag in ("firmware", "loader", "nvram"):
        kept = old.find(tag)
        if kept is not None and new.find(tag) is None and new.get("firmware"):
            new.insert(1, deepcopy(kept))


def _keep_disks(new: Element, old: Element) -> None:
    """Keep the names and addresses of disks that have the same source, or are the same drive with another medium."""
    pairs = _pairs_of(new.findall("disk"), old.findall("disk"), source_of)
    rest = _unpaired(new, old, "disk", pairs)
    drives, old_drives = [[disk for disk in disks if disk.get("device") == "cdrom"] for disks in rest]
    pairs += _pairs_of(drives, old_drives, target_of)
    pairs = [(disk, kept) for disk, kept in pairs if _bus_of(disk) == _bus_of(kept)]
    for disk, kept in pairs:
        target = disk.find("target")
        if target is not None:
            target.set("dev", target_of(kept))
            _keep_address(disk, kept)
    taken = {target_of(disk) for disk, _ in pairs}
    for disk in _unpaired(new, old, "disk", pairs)[0]:
        target = disk.find("target")
        if target is not None:
            free = [name for name in _disk_names(target_of(disk)) if name not in taken]
            target.set("dev", target_of(disk) if target_of(disk) in free else free[0])
            taken.add(target_of(disk))


def source_of(disk: Element) -> str:
    """Return what is in a disk: a path, a volume as pool/name, or '' for an empty drive."""
    source = disk.find("source")
    if source is None:
        return ""
    if source.get("pool"):
        return f"{source.get('pool')}/{source.get('volume')}"
    return next((str(source.get(key)) for key in ("file", "dev", "dir", "name") if source.get(key)), "")


def _bus_of(disk: Element) -> str:
    target = disk.find("target")
    return "" if target is None else target.get("bus", "")


def target_of(disk: Element) -> str:
    """Return the name of a disk in the domain, such as vda."""
    target = disk.find("target")
    return "" if target is None else target.get("dev", "")


def _disk_names(name: str) -> Iterator[str]:
    """Yield vda, vdb, … of the kind of a name."""
    prefix = re.sub("[a-z]$", "", name) if re.fullmatch("[a-z]d[a-z]", name) else "vd"
    for number in range(26 * 27):
        first, second = divmod(number, 26)
        yield prefix + (chr(96 + first) if first else "") + chr(97 + second)


def _keep_interfaces(new: Element, old: Element, chosen_macs: frozenset[str]) -> None:
    """Keep the addresses of interfaces of the same MAC address, and MAC addresses that no option has chosen."""
    pairs = _pairs_of(new.findall("interface"), old.findall("interface"), mac_of)
    rest = _unpaired(new, old, "interface", pairs)
    for interface, kept in zip(*[[each for each in side if mac_of(each) not in chosen_macs] for side in rest]):
        mac = interface.find("mac")
        if mac is not None:
            mac.set("address", mac_of(kept))
            pairs.append((interface, kept))
    for interface, kept in pairs:
        if _model_of(interface) == _model_of(kept):
            _keep_address(interface, kept)


def mac_of(interface: Element) -> str:
    """Return the MAC address of an interface."""
    mac = interface.find("mac")
    return "" if mac is None else mac.get("address", "").lower()


def _model_of(device: Element) -> str:
    model = device.find("model")
    return device.get("model", "") if model is None else model.get("type", "")


def _keep_controllers(new: Element, old: Element) -> None:
    """Keep the numbers and addresses of controllers, also of those that libvirt has added for others."""
    last = len(new)
    pairs = _pairs_of(new.findall("controller"), old.findall("controller"), _kind_of_controller)
    for controller, kept in pairs:
        for key, value in kept.attrib.items():
            controller.attrib.setdefault(key, value)
        for child in kept:
            if controller.find(child.tag) is None:
                controller.append(deepcopy(child))
    for controller in _unpaired(new, old, "controller", pairs)[1]:
        if controller.get("type") in _ADDED_CONTROLLERS:
            new.insert(last, deepcopy(controller))


def _kind_of_controller(controller: Element) -> str:
    kind = controller.get("type", "")
    return f"{kind} {controller.get('model')}" if kind == "pci" else kind


def _keep_others(new: Element, old: Element) -> None:
    """Keep the addresses of all other devices, and the memory balloon that libvirt adds."""
    for tag in dict.fromkeys(device.tag for device in old):
        if tag in ("disk", "interface", "controller", "emulator"):
            continue
        for device, kept in _pairs_of(new.findall(tag), old.findall(tag), _kind_of_device):
            _keep_address(device, kept)
        balloon = old.find("memballoon")
        if tag == "memballoon" and new.find(tag) is None and balloon is not None:
            new.append(deepcopy(balloon))


def _kind_of_device(device: Element) -> str:
    target = device.find("target")
    name = "" if target is None else target.get("name", "")
    return " ".join([device.get(key, "") for key in ("type", "model", "bus", "name")] + [name])


def _keep_address(device: Element, kept: Element) -> None:
    address = kept.find("address")
    if address is not None and device.find("address") is None:
        device.append(deepcopy(address))


def _keep_metadata(found: Element, there: Element) -> None:
    """Keep what other programs have noted."""
    new, old = found.find("metadata"), there.find("metadata")
    if new is not None and old is not None:
        for noted in old:
            if noted.tag != MARK and new.find(noted.tag) is None:
                new.append(deepcopy(noted))


def _pairs_of(new: list[Element], old: list[Element], key: Callable[[Element], str]) -> list[tuple[Element, Element]]:
    """Return devices that have the same key, each with the first of the old ones that is left."""
    left: dict[str, list[Element]] = {}
    for device in old:
        left.setdefault(key(device), []).append(device)
    return [(device, left[key(device)].pop(0)) for device in new if left.get(key(device))]


def _unpaired(
    new: Element, old: Element, tag: str, pairs: list[tuple[Element, Element]]
) -> tuple[list[Element], list[Element]]:
    paired = [device for pair in pairs for device in pair]
    first, second = [[device for device in devices.findall(tag) if device not in paired] for devices in (new, old)]
    return first, second

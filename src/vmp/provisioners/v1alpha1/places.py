"""Where the values of a VM are written."""

from __future__ import annotations

from vmp.diagnostics import Span
from vmp.nodes import Entry, Mapping, Node, Sequence

DOMAIN = ("libvirt", "domain", "virtInstall")
"""Where the options of virt-install are."""


def at(node: Node | None, *path: str | int) -> Node | None:
    """Return the node at a path, if there is one."""
    for part in path:
        if isinstance(part, int):
            node = node.items[part] if isinstance(node, Sequence) and part < len(node.items) else None
        else:
            node = node.get(part) if isinstance(node, Mapping) else None
    return node


def while_installing(vm: Mapping) -> Mapping:
    """Return a VM with the options of its first phase at the place of its options."""
    libvirt, domain, install = at(vm, "libvirt"), at(vm, *DOMAIN[:2]), at(vm, *DOMAIN[:2], "install")
    assert isinstance(libvirt, Mapping) and isinstance(domain, Mapping) and isinstance(install, Mapping)
    domain = Mapping({**domain.entries, "virtInstall": install.entries["virtInstall"]}, domain.span)
    libvirt = Mapping({**libvirt.entries, "domain": Entry(libvirt.entries["domain"].key, domain)}, libvirt.span)
    return Mapping({**vm.entries, "libvirt": Entry(vm.entries["libvirt"].key, libvirt)}, vm.span)


def place_of(vm: Node, *path: str | int) -> Span:
    """Return the place of a value, or of the nearest thing around it that was written."""
    found = vm
    for part in path:
        deeper = at(found, part)
        if deeper is None:
            break
        found = deeper
    return found.span

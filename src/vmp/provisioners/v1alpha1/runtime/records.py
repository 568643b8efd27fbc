"""The records of vm.json: what a machine consists of, in the registry's own words."""

from __future__ import annotations

from typing import NamedTuple


class Gateway(NamedTuple):
    """How ssh reaches a remote node; all empty for a node that is this host."""

    host: str = ""
    user: str = ""
    port: str = ""
    command: str = ""
    """A program that libvirt's URI names in place of ssh."""
    keyfile: str = ""
    verify: str = ""
    """ssh's StrictHostKeyChecking for the node, where libvirt's URI says so."""
    known_hosts: str = ""
    shared: bool = False
    """libvirt runs OpenSSH's own ssh, so all connections of a run can share one."""


class Pool(NamedTuple):
    """A pool of directories that belongs to this machine."""

    name: str
    path: str
    retained: bool


class Backing(NamedTuple):
    """The volume that an overlay lies over."""

    pool: str
    name: str
    format: str


class Drive(NamedTuple):
    """An ISO image that is made here, of the files below `<path>.d`."""

    path: str
    label: str


class Member(NamedTuple):
    """A file inside an ISO image."""

    path: str
    """The ISO image."""
    name: str


class Volume(NamedTuple):
    """A volume to be made: filled from a file, an overlay, or blank."""

    pool: str
    name: str
    format: str
    retained: bool
    capacity: int
    """Bytes; 0 where the registry leaves it open."""
    capacity_text: str
    file: str
    by_node: bool
    """The node itself downloads the file."""
    backing: Backing | None
    member: Member | None
    """What ``file`` is taken from, where it is a member of an ISO image."""
    read_only: bool
    """No guest writes to it: it is a backing volume, a CD-ROM, a read-only disk, or a kernel and so no disk at all."""

    @property
    def key(self) -> str:
        """Return how messages call it."""
        return f"{self.pool}/{self.name}"


class Image(NamedTuple):
    """Where the image comes from, and how it is checked and unpacked."""

    reference: str
    url: str
    path: str
    """The file that it is downloaded to; empty where no volume is filled from it."""
    archive: str
    member: str
    algorithm: str
    sum: str
    sums_url: str
    signature_url: str = ""
    signature_of: str = ""
    """sums or image."""
    keys: str = ""
    """The armored public keys where no file beside vm.json has them, as on a node that downloads; Latin-1."""


class DomainFacts(NamedTuple):
    """The libvirt domain, as virt-install is told to make it."""

    name: str
    uuid: str
    autostart: bool
    virt_install: tuple[str, ...]
    item_names: tuple[str, ...]
    """What the registry calls each of these words, '' for those without a name of their own."""
    macs: tuple[str, ...]
    """The MAC addresses that vmp derived from the names of node, VM and interface."""
    volumes: tuple[str, ...]
    """The volumes that are disks of the domain, as pool/name."""
    networks: tuple[str, ...]
    used_pools: tuple[str, ...]
    variable: bool
    """virt-install finds something out on the node beyond these facts: it is asked each time."""


class Ssh(NamedTuple):
    """How the guest is reached."""

    options: tuple[str, ...]
    password: bool

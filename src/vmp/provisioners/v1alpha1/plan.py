"""What v1alpha1 is told of a VM: records of its own, whatever the schema of the registry looks like.

:mod:`vmp.provisioners.plan_v1alpha1` makes them from a configuration. When a field of the schema moves, that module
changes, and a released version does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from vmp.diagnostics import Span
from vmp.nodes import Plain

KNOB_PREFIX = "V1ALPHA1_"
"""Variables that begin with this set knobs."""


class Connection(NamedTuple):
    """The parts of the URI by which libvirt is reached (https://libvirt.org/uri.html); '' for what it does not have."""

    uri: str
    """All of it, as the registry has it."""
    driver: str
    transport: str
    user: str
    host: str
    """A name or an address, without the brackets of IPv6."""
    port: str
    path: str
    parameters: tuple[str, ...]
    """Each as it is written, such as `keyfile=/my%20key`."""


class Node(NamedTuple):
    """The host that the VM runs on."""

    name: str
    connection: Connection
    downloads: bool
    """The node downloads the image itself."""


class Item(NamedTuple):
    """One use of an option that may be given several times."""

    name: str
    suboptions: Mapping[str, str | bool]


Options = Mapping[str, "str | bool | tuple[Item, ...]"]
"""Options of virt-install, in order: a text, true for a bare option, or its uses."""


class Disk(NamedTuple):
    """A disk of the domain."""

    volume: str
    """POOL/NAME; '' where it is something else, such as a file."""
    read_only: bool


class Interface(NamedTuple):
    """A network interface of the domain."""

    name: str
    """The name of its item; `default` where the option is given as text."""
    network: str
    """The network of libvirt that it is on; '' where it is on something else, such as a bridge."""
    mac: str
    """Its MAC address, as the registry gives it, which may be `RANDOM`; '' where vmp derives one."""


class Domain(NamedTuple):
    """The domain, as virt-install is to describe it."""

    name: str
    options: Options
    disks: tuple[Disk, ...]
    networks: tuple[str, ...]
    """The networks of libvirt that its interfaces are on."""
    interfaces: tuple[Interface, ...] = ()


class Archive(NamedTuple):
    """How the image is unpacked."""

    type: str
    member: str
    """The file to take from a 7z archive, or ''."""


class Signature(NamedTuple):
    """Who vouches for the sums file, or for the image."""

    url: str
    of: str
    """sums or image."""
    keys: bytes
    """A file of armored public keys, as it is."""


class Checksum(NamedTuple):
    """What the download must hash to: ``value``, or what a sums file at ``url`` says."""

    algorithm: str
    value: str
    url: str
    signature: Signature | None = None


class Image(NamedTuple):
    """The image, at one tag."""

    reference: str
    """NAME:TAG."""
    url: str
    volume_name: str
    archive: Archive | None
    checksum: Checksum | None


class Seed(NamedTuple):
    """The seed image of cloud-init."""

    path: str
    documents: Mapping[str, Plain]
    """By file name, such as `user-data`: a text as it is, anything else to be written as YAML."""


class Drive(NamedTuple):
    """A config drive: an ISO image of these files."""

    path: str
    label: str
    files: Mapping[str, Plain]
    """By their paths from its root: a mapping, or a string taken literally."""


class Pool(NamedTuple):
    """A pool of directories that belongs to the VM."""

    name: str
    path: str
    retained: bool


class Backing(NamedTuple):
    """The volume that an overlay lies over."""

    pool: str
    name: str
    format: str


class Volume(NamedTuple):
    """A volume to be made: filled from a file, an overlay, or blank."""

    pool: str
    name: str
    format: str
    retained: bool
    capacity: str
    """In virsh's units, or ''."""
    file: str
    backing: Backing | None
    member: str = ""
    """The member of ``file``, an ISO image, that it is filled with; '' where it is the file itself."""

    @property
    def key(self) -> str:
        """Return how disks refer to it."""
        return f"{self.pool}/{self.name}"


class Ip(NamedTuple):
    """The node's address on a network, its subnet, and what DHCP gives away of it: from `start` to `end`, or ''."""

    address: str
    prefix: str
    start: str
    end: str


class DnsHost(NamedTuple):
    """An address and the names that DNS answers with it."""

    ip: str
    hostnames: tuple[str, ...]


class Network(NamedTuple):
    """A network that is to be there; '' for what the registry leaves to libvirt."""

    name: str
    mode: str
    """nat, route, open, bridge or none; '' with `xml`."""
    dev: str
    bridge: str
    domain: str
    local_only: bool | None
    mtu: str
    ips: tuple[Ip, ...]
    forwarders: tuple[str, ...]
    hosts: tuple[DnsHost, ...]
    autostart: bool
    retained: bool
    xml: str
    """A whole `<network>` in place of all but name and policy."""


class Reservation(NamedTuple):
    """An address that DHCP gives to one interface."""

    network: str
    interface: str
    address: str
    hostname: str


class Ssh(NamedTuple):
    """How the guest is reached; '' for what the registry leaves open."""

    options: Mapping[str, tuple[str, ...]]
    user: str = ""
    host: str = ""
    password: str = ""


class Setting(NamedTuple):
    """A variable that sets a knob."""

    value: str
    own: bool
    """The VM sets it, not its image or node."""
    place: Span | None


class Plan(NamedTuple):
    """All that v1alpha1 needs to know of one VM."""

    name: str
    node: Node
    domain: Domain
    image: Image
    seed: Seed | None
    pools: tuple[Pool, ...]
    volumes: tuple[Volume, ...]
    ssh: Ssh | None
    settings: Mapping[str, Setting]
    """By the name of the variable: all that begin with KNOB_PREFIX."""
    networks: tuple[Network, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    install: Domain | None = None
    """The domain as it is while its system is installed: all of its options then."""
    drives: tuple[Drive, ...] = ()

"""The registry's types, declared once.

Decoding, the JSON Schema (``vmp schema``) and the reference of registry fields come from these classes;
their docstrings and the fields' texts are what users read there and in their editor.
"""

from __future__ import annotations

from typing import Any

from vmp.iso_names import check_drive_file, check_label
from vmp.networks import NETWORK, RESERVATION, Network, Reservation
from vmp.nodes import Mapping, Node, Plain, Scalar, Sequence
from vmp.shapes import (
    Choice,
    Decoding,
    Free,
    JsonSchema,
    ListOf,
    MapOf,
    Path,
    Record,
    Shape,
    Text,
    optional,
    record,
    required,
    show,
)
from vmp.texts import (
    check_capacity,
    check_directory,
    check_host,
    check_image_name,
    check_member,
    check_name,
    check_not_empty,
    check_object_name,
    check_password,
    check_pattern,
    check_ssh_option,
    check_url,
    check_variable_name,
)
from vmp.uris import check_uri, take_apart
from vmp.virt_install import Item, VirtInstall

BUILT_IN_VARIABLES = {
    "DEFAULT_IMAGE_DIR": ".images",
    "DEFAULT_NETWORK_NAME": "default",
    "DEFAULT_POOL_NAME": "default",
    "DEFAULT_POOL_PATH": "/var/lib/libvirt/images",
}
"""Variables that every VM has unless ``vars`` says otherwise."""

VARIABLES = MapOf(Text(), check_variable_name, "bad-variable")
NAME = Text("a name", check_not_empty)
VM_NAME = Text("a name", check_name, "bad-name")
OBJECT_NAME = Text("a name", check_object_name)
FORMAT = Choice("qcow2", "raw", "qcow", "qed", "vmdk", "vdi", "vpc", "bochs", "iso")
DELETION_POLICY = Choice("Delete", "Retain")


@record
class Connection:
    """How libvirt on the node is reached."""

    uri: str = required(
        Text("a URI", check_uri),
        "libvirt's connection URI, such as `qemu:///system` or `qemu+ssh://root@host/system` "
        "(https://libvirt.org/uri.html).",
    )


@record
class NodeLibvirt:
    """The libvirt of a node."""

    connection: Connection = required(Record(Connection), "How it is reached.")
    image_download: str | None = optional(
        Choice("client", "node"),
        "Who downloads images. `client`, as when it is left out: the host that runs `make`, which uploads them to the "
        "node. `node`: the node itself, told over `qemu+ssh://`, so that images do not cross a slow link; it needs "
        "`curl`, `virsh` and `tar` there.",
    )


class NodeLibvirtRecord(Record[NodeLibvirt]):
    """The libvirt of a node, whose keys must go together."""

    def decode_fields(self, node: Mapping, path: Path, decoding: Decoding) -> NodeLibvirt:
        value = super().decode_fields(node, path, decoding)
        download = node.get("imageDownload")
        if decoding.partial or download is None or value.image_download != "node":
            return value
        uri = value.connection.uri if value.connection else ""
        parts = take_apart(uri)
        if uri and not check_uri(uri) and not (parts and parts.transport == "ssh" and parts.host):
            message = f"the node cannot be told to download images: {uri!r} does not go over ssh"
            help_ = "a URI like qemu+ssh://host/system; or leave imageDownload out, and 'make' downloads images itself"
            decoding.error("bad-value", message, download, help_)
        return value


@record
class NodeEntry:
    """A host that runs libvirt."""

    name: str = required(NAME, "What `nodeName` refers to.", always=True)
    vars: dict[str, str] = optional(VARIABLES, "Variables of all VMs on this node.", {})
    libvirt: NodeLibvirt = required(NodeLibvirtRecord(NodeLibvirt), "Its libvirt.")


@record
class Archive:
    """How the downloaded file is unpacked."""

    type: str = required(Choice("7z", "xz", "gz", "bz2", "zst"), "The kind of archive or compression.")
    path: str | None = optional(Text("a path", check_member), "The member to take from a 7z archive.")


@record
class Signature:
    """An OpenPGP signature, checked by `gpgv` or `sqv` before anything that it is of is believed."""

    url: str = required(
        Text("a URL", check_url),
        "Where the signature is: detached, armored or binary; or a clearsigned text, which holds the sums itself, such "
        "as the sums file at the `url` beside this.",
    )
    keys: str = required(
        Text("a path", check_not_empty),
        "A file of ASCII-armored public keys, relative to the registry file that names it, or absolute. One good "
        "signature by one of them is enough. The VM's directory gets a copy.",
    )
    of: str = optional(
        Choice("sums", "image"), "What is signed: the sums file, or the downloaded image file itself.", "sums"
    )


@record
class Checksum:
    """What the downloaded file must hash to; of the archive, where there is one."""

    algorithm: str = optional(Choice("sha256", "sha512", "sha1", "md5"), "The hash function.", "sha256")
    value: str | None = optional(Text("a hash in hexadecimal"), "The expected hash. Exclusive with `url`.")
    url: str | None = optional(
        Text("a URL", check_url),
        "A sums file next to the image: GNU, BSD, bare or clearsigned; the line is found by the exact file name.",
    )
    signature: Signature | None = optional(
        Record(Signature), "Who vouches for the sums file, or with `of: image` for the image, with or without a sum."
    )


class ChecksumRecord(Record[Checksum]):
    """A checksum, whose signature must be of something that there is."""

    def decode_fields(self, node: Mapping, path: Path, decoding: Decoding) -> Checksum:
        value = super().decode_fields(node, path, decoding)
        signature = node.get("signature")
        if decoding.partial or not isinstance(signature, Mapping) or node.get("url") is not None:
            return value
        of = signature.get("of")
        if of is None or (isinstance(of, Scalar) and of.text == "sums"):
            message = f"{show((*path, 'signature'))} is of a sums file, and no 'url' names one"
            help_ = "give the 'url' of the sums file; or say 'of: image', if the image itself is signed"
            decoding.report.error("missing-key", message, of.span if of else node.span_of("signature"), help=help_)
        return value


CHECKSUM = ChecksumRecord(Checksum, exclusive=("value", "url"), any_of=("value", "url", "signature"))


@record
class Tag:
    """One family of versions of an image."""

    pattern: str = required(
        Text("a regular expression", check_pattern, "bad-pattern"),
        "A Python regular expression. The first tag whose pattern matches the whole requested tag is taken; "
        "its named groups are variables of the other fields here.",
    )
    url: str = required(Text("a URL", check_url), "Where the image is downloaded from.")
    volume_name: str = required(OBJECT_NAME, "What the image is called as a libvirt volume.")
    format: str = optional(FORMAT, "The image's format, once unpacked.", "qcow2")
    vars: dict[str, str] = optional(VARIABLES, "Variables of all VMs that use this tag.", {})
    archive: Archive | None = optional(Record(Archive), "Set where the download has to be unpacked.")
    checksum: Checksum | None = optional(CHECKSUM, "What the download is verified against.")


@record
class ImageEntry:
    """A boot disk family."""

    name: str = required(Text("a name", check_image_name), "What `image` refers to, before the colon.", always=True)
    vars: dict[str, str] = optional(VARIABLES, "Variables of all VMs that use this image.", {})
    tags: tuple[Tag, ...] = required(ListOf(Record(Tag)), "The versions, tried in order.")


@record
class PoolDirectory:
    """The directory of a pool."""

    path: str = required(Text("an absolute path", check_directory), "An absolute path on the node.")


@record
class Pool:
    """A directory pool that this VM owns: made when it is missing, started, and deleted with the VM."""

    name: str = required(OBJECT_NAME, "The pool's name in libvirt.", always=True)
    directory: PoolDirectory = required(Record(PoolDirectory), "Where it keeps its volumes.")
    deletion_policy: str = optional(
        DELETION_POLICY, "`Delete`: goes with `delete`. `Retain`: only with `delete-all`.", "Delete"
    )


@record
class BackingVolume:
    """The volume on which a copy-on-write volume is based."""

    name: str = required(OBJECT_NAME, "Its name.")
    pool_name: str = required(OBJECT_NAME, "Its pool.")
    format: str = optional(FORMAT, "Its format.", "qcow2")


@record
class UploadFile:
    """The file that becomes the volume."""

    path: str = required(
        Text("a path", check_not_empty),
        "A file relative to the VM's directory, or absolute. The VM's image is downloaded here; its seed and config "
        "drives are made here.",
    )
    member: str | None = optional(
        Text("a path", check_member),
        "Takes this file out of the ISO image at `path`, such as `casper/vmlinuz`, and fills the volume with it.",
    )


@record
class Volume:
    """A volume that is made when it is missing."""

    name: str = required(OBJECT_NAME, "The volume's name in its pool.", always=True)
    pool_name: str = required(
        OBJECT_NAME, "Its pool: one of this VM's, or one that exists on the node and is then only used."
    )
    format: str = optional(FORMAT, "Its format.", "qcow2")
    deletion_policy: str = optional(
        DELETION_POLICY, "`Delete`: goes with `delete`. `Retain`: only with `delete-all`.", "Delete"
    )
    capacity: str | None = optional(
        Text("a capacity", check_capacity),
        "The virtual size in virsh's units, such as `20G` or `20GiB`. Required for a blank volume; "
        "with `backingVolume` the default is that volume's.",
    )
    backing_volume: BackingVolume | None = optional(
        Record(BackingVolume), "Makes it a copy-on-write layer over another volume. Exclusive with `uploadFile`."
    )
    upload_file: UploadFile | None = optional(
        Record(UploadFile), "Fills it with a file. Exclusive with `backingVolume`."
    )


VOLUME = Record(Volume, exclusive=("backingVolume", "uploadFile"), any_of=("capacity", "backingVolume", "uploadFile"))


class Document(Shape[Plain]):
    """A document of the seed or of a drive: a mapping, or a string taken literally."""

    wanted = "a mapping or a string"

    def decode(self, node: Node, path: Path, decoding: Decoding) -> Plain:
        if isinstance(node, Mapping) or (isinstance(node, Scalar) and node.kind == "str"):
            return Free().decode(node, path, decoding)
        decoding.wrong_type(node, self.wanted, path)
        return None

    def json_schema(self, definitions: dict[str, JsonSchema]) -> JsonSchema:
        return {"type": ["object", "string"]}


class SshOption(Shape["tuple[str, ...]"]):
    """One value, or several: each gives one ``-o``."""

    wanted = "a string or a list of strings"
    text = Text()

    def decode(self, node: Node, path: Path, decoding: Decoding) -> tuple[str, ...]:
        if isinstance(node, Sequence):
            return ListOf(self.text).decode(node, path, decoding)
        return (self.text.decode(node, path, decoding),)

    def json_schema(self, definitions: dict[str, JsonSchema]) -> JsonSchema:
        text = self.text.json_schema(definitions)
        return {"anyOf": [text, {"type": "array", "items": text}]}


@record
class Install:
    """How the system gets onto the disk, once.

    While a VM is installed, its domain has these options, and a reboot turns it off. When the guest has turned itself
    off, the definition without them takes the place of this one, with the same UUID, MAC addresses and UEFI variables.
    """

    virt_install: dict[str, str | bool | tuple[Item, ...]] = required(
        VirtInstall(),
        "Options of virt-install that count while the system is installed. They are laid over those of the domain by "
        "the rules of merging: lists merge by name, null takes an option away.",
    )


@record
class Domain:
    """The libvirt domain."""

    name: str = required(VM_NAME, 'Its name in libvirt, usually `"{VM_NAME}"`.')
    virt_install: dict[str, str | bool | tuple[Item, ...]] = optional(
        VirtInstall(),
        "Options of virt-install, in this order: a string or number gives `--option=value`, true gives `--option`, "
        "false or null leaves it out, a list gives the option once per item.",
        {},
    )
    install: Install | None = optional(
        Record(Install), "The first phase of a VM whose system is installed, such as from an ISO image."
    )


@record
class Libvirt:
    """What libvirt is to have for this VM."""

    domain: Domain = required(Record(Domain), "The virtual machine itself.")
    pools: tuple[Pool, ...] = optional(ListOf(Record(Pool)), "Pools that this VM owns.", ())
    volumes: tuple[Volume, ...] = optional(ListOf(VOLUME), "Its volumes, made in this order.", ())
    networks: tuple[Network, ...] = optional(
        ListOf(NETWORK), "Networks that are to be there; other VMs may declare them, too.", ()
    )
    reservations: tuple[Reservation, ...] = optional(
        ListOf(RESERVATION),
        "Addresses that its interfaces always have. That of the first is `ssh.host`, if nothing else says it.",
        (),
    )


@record
class Seed:
    """The seed image."""

    path: str = required(
        Text("a path", check_not_empty),
        "The ISO image, inside the VM's directory; its documents are written to `<path>.d/`.",
    )


@record
class SeedData:
    """The documents of the seed (https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html)."""

    meta_data: Plain = optional(
        Document(),
        "`meta-data`: instance id, host name. `instance-id: auto` stands for an id of all documents, so that cloud-init"
        " takes a VM whose documents have changed for a new one, and does everything once more.",
        {},
        name="meta-data",
    )
    user_data: Plain = optional(
        Document(), "`user-data`: a mapping is written as `#cloud-config`.", {}, name="user-data"
    )
    vendor_data: Plain = optional(Document(), "`vendor-data`, merged below user-data.", name="vendor-data")
    network_config: Plain = optional(Document(), "`network-config`, version 1 or 2.", name="network-config")


@record
class NoCloud:
    """cloud-init's NoCloud data source."""

    seed: Seed = required(Record(Seed), "The seed image.")
    data: SeedData = required(Record(SeedData), "Its documents.")


@record
class CloudInit:
    """How the guest is set up at its first boot."""

    no_cloud: NoCloud = required(Record(NoCloud), "cloud-init's NoCloud data source.")


@record
class ConfigDrive:
    """A small ISO image with any label and files, for whatever in the guest looks for such a drive."""

    name: str | None = optional(NAME, "What templates and VMs call it, to merge it by that name.")
    path: str = required(
        Text("a path", check_not_empty),
        "The ISO image, inside the VM's directory; its files are written to `<path>.d/`. A volume is filled from it by "
        "`uploadFile.path`.",
    )
    label: str = required(
        Text("a label", check_label),
        "By which the guest finds it, such as `OEMDRV`: 32 characters at most, of which Windows sees 16.",
    )
    files: dict[str, Plain] = required(
        MapOf(Document(), check_drive_file, "bad-path"),
        "Its files, by their paths from its root. A string is written byte for byte; a mapping as YAML or, for names "
        "that end in `.json` or `.ign`, as JSON; null leaves a file out. 16 MiB at most.",
    )


@record
class Ssh:
    """How the guest is reached. An empty mapping is enough to get the targets `ssh` and `wait-for-ready`."""

    user: str | None = optional(Text("a user name", check_host), "Who logs in; ssh's own default where unset.")
    host: str | None = optional(Text("a host name", check_host), "The address; looked up where unset.")
    password: str | None = optional(
        Text("a password", check_password), "Given to ssh through askpass, from a file that only its owner reads."
    )
    options: dict[str, tuple[str, ...]] = optional(
        MapOf(SshOption(), check_ssh_option),
        "Options of ssh_config by name; a list gives one `-o` per entry, null leaves it out.",
        {},
    )


@record
class VmEntry:
    """A VM or a template: everything but the name can be inherited."""

    name: str = required(NAME, "What it is called; for a VM also the name of its directory.", always=True)
    template: str | None = optional(NAME, "The template to inherit from. Exclusive with `templates`.")
    templates: tuple[str, ...] | None = optional(
        ListOf(NAME), "The templates to inherit from; a later one wins over an earlier one."
    )
    vars: dict[str, str] = optional(VARIABLES, "Variables; those that begin with `V1ALPHA1_` set knobs.", {})
    node_name: str = required(NAME, "The node that the VM runs on.")
    image: str = required(NAME, "`NAME[:TAG]` of the image; the tag is `latest` when left out.")
    provisioner: str = required(NAME, "The provisioner's format: `v1alpha1`.")
    libvirt: Libvirt = required(Record(Libvirt), "The domain, its pools, volumes and networks.")
    cloud_init: CloudInit | None = optional(Record(CloudInit), "First-boot setup.")
    config_drives: tuple[ConfigDrive, ...] | None = optional(
        ListOf(Record(ConfigDrive)), "Drives for other ways to set a guest up than cloud-init."
    )
    ssh: Ssh | None = optional(Record(Ssh), "How the guest is reached.")


@record
class Registry:
    """A registry of virtual machines."""

    nodes: tuple[NodeEntry, ...] = optional(ListOf(Record(NodeEntry), section=True), "The hosts that run libvirt.", ())
    images: tuple[ImageEntry, ...] = optional(ListOf(Record(ImageEntry), section=True), "The boot disks.", ())
    templates: tuple[VmEntry, ...] = optional(
        ListOf(Record(VmEntry), section=True), "Parts of VMs, to inherit from.", ()
    )
    vms: tuple[VmEntry, ...] = optional(ListOf(Record(VmEntry), section=True), "The virtual machines.", ())


REGISTRY = Record(Registry)
VM = Record(VmEntry)
IMAGE = Record(ImageEntry)
NODE = Record(NodeEntry)
TAG = Record(Tag)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a registry file, for editors."""
    definitions: dict[str, JsonSchema] = {}
    root = REGISTRY.json_schema(definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "vmp registry",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }

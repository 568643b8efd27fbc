"""The registry's types, declared once.

Decoding, the JSON Schema (``vmp schema``) and the reference of registry fields come from these classes;
their docstrings and the fields' texts are what users read there and in their editor.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from vmp.nodes import Mapping, Node, Plain, Scalar, Sequence, describe, is_null
from vmp.shapes import (
    PATCH,
    Choice,
    Decoding,
    Free,
    JsonSchema,
    ListOf,
    MapOf,
    Options,
    Path,
    Record,
    Shape,
    Text,
    option_scalar,
    optional,
    record,
    required,
    show,
)

FIXED_VARIABLES = ("IMAGE_FORMAT", "IMAGE_NAME", "IMAGE_TAG", "IMAGE_URL", "IMAGE_VOLUME_NAME", "NODE_NAME", "VM_NAME")
"""Variables that vmp computes for each VM; ``vars`` cannot set them."""

BUILT_IN_VARIABLES = {
    "DEFAULT_IMAGE_DIR": ".images",
    "DEFAULT_NETWORK_NAME": "default",
    "DEFAULT_POOL_NAME": "default",
    "DEFAULT_POOL_PATH": "/var/lib/libvirt/images",
}
"""Variables that every VM has unless ``vars`` says otherwise."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CAPACITY = re.compile(r"(?=.*[1-9])[0-9]+(b|bytes?|[kmgtpe](i?b)?)?", re.IGNORECASE)
_HOST = re.compile(r"[\w.:%@+][\w.:%@+-]*")
"""A host or user: ssh hands them on to a shell where a node is in between (see CVE-2023-51385)."""

_URI = re.compile(
    r"""(?P<driver>[a-z][a-z0-9]*)(\+(?P<transport>[a-z0-9]+))?://
    (?P<authority>((?P<user>[^\s,@/?#]+)@)?(?P<host>[\w.][\w.-]*|\[[0-9A-Fa-f:.%]+\])(:(?P<port>[0-9]+))?)?
    (?P<path>/[^?#]*)?(\?(?P<query>[^#]*))?""",
    re.VERBOSE,
)


def check_variable_name(name: str) -> tuple[str, str | None] | None:
    """Judge a key of ``vars``."""
    if not _VARIABLE.fullmatch(name):
        return f"{name!r} is not a variable's name", "letters, digits and _ only, not beginning with a digit"
    if name in FIXED_VARIABLES:
        return f"{name!r} is computed by vmp and cannot be set", "choose another name"
    return None


def check_name(name: str) -> tuple[str, str | None] | None:
    """Judge what becomes a directory's and a domain's name (libvirt takes any but ``/`` and newline)."""
    wrong = None
    if not name:
        wrong = "is empty"
    elif "/" in name:
        wrong = "has a '/'"
    elif not name.isprintable():
        wrong = "has a character that cannot be printed"
    elif name[0] in ".-":
        wrong = f"begins with {name[0]!r}"
    elif name != name.strip():
        wrong = "begins or ends with a space"
    elif len(name.encode(errors="replace")) > 200:
        wrong = "is longer than 200 bytes"
    return None if wrong is None else (f"the name {name[:80]!r} {wrong}", "it becomes a directory and a libvirt domain")


def check_object_name(name: str) -> tuple[str, str | None] | None:
    """Judge the name of a pool or volume."""
    if not name or "/" in name or name in (".", "..") or not name.isprintable() or name != name.strip():
        return f"{name!r} cannot name a pool or volume", "it becomes a file name: printable, not empty, without '/'"
    if len(name.encode(errors="replace")) > 200:
        return f"{name[:80]!r}… cannot name a pool or volume", "it becomes a file name: 200 bytes at most"
    return None


def check_url(url: str) -> tuple[str, str | None] | None:
    """Judge what curl is to download: curl refuses white space, and reads `@FILE` as a list of URLs from 8.13 on."""
    if not url:
        return "it is empty", None
    if re.search(r"[\x00-\x20\x7f-\xa0\u2028\u2029]", url):
        return f"{url!r} is not a URL: it has white space or a control character", "write a space as %20"
    if url[0] in "@-":
        return f"{url!r} is not a URL: it begins with {url[0]!r}", "like https://example.org/disk.qcow2"
    return None


def check_member(path: str) -> tuple[str, str | None] | None:
    """Judge the path of an archive's member: 7z takes `@` for a list of files and `-` for an option."""
    if not path or path[0] in "@-" or not path.isprintable():
        return f"{path!r} cannot name a member of an archive", "not empty, printable, not beginning with '@' or '-'"
    return None


def check_not_empty(text: str) -> tuple[str, str | None] | None:
    """Judge a text of which only emptiness is wrong."""
    return None if text else ("it is empty", None)


def check_password(text: str) -> tuple[str, str | None] | None:
    """Judge a password: ssh reads the first line of what askpass prints, of at most 1023 bytes."""
    if text and "\n" not in text and "\r" not in text and len(text.encode(errors="replace")) < 1000:
        return None
    return "not a password that ssh can be given", "one line, not empty, shorter than 1000 bytes"


def check_image_name(name: str) -> tuple[str, str | None] | None:
    """Judge the name of an image, which references split at the first colon."""
    if not name or ":" in name:
        return f"{name!r} cannot name an image", "not empty, and without ':', which separates the tag"
    return None


def check_pattern(pattern: str) -> tuple[str, str | None] | None:
    """Judge a tag pattern."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"not a regular expression: {error}", "the syntax is that of Python's re module"
    return None


def check_capacity(text: str) -> tuple[str, str | None] | None:
    """Judge a size in virsh's units (https://libvirt.org/manpages/virsh.html, "NOTES")."""
    if _CAPACITY.fullmatch(text) and text.isascii():
        return None
    return f"{text!r} is not a capacity", "write it like 12GiB, 12G or a number of bytes"


def check_directory(path: str) -> tuple[str, str | None] | None:
    """Judge the directory of a pool, a path on the node."""
    if not path.startswith("/") or path.startswith("//") or not path.isprintable():
        return f"{path!r} is not an absolute path", "a pool's directory is a path on the node that begins with '/'"
    if is_too_long(path):
        return f"the path {path[:80]!r}… is too long", "255 bytes at most between two slashes, 1000 in all"
    return None


def is_too_long(path: str, part: int = 255) -> bool:
    """Tell whether a path is longer than file systems take (with room for the directory that it is relative to)."""
    parts = path.encode(errors="replace").split(b"/")
    return max(map(len, parts)) > part or sum(map(len, parts)) > 1000


def check_host(text: str) -> tuple[str, str | None] | None:
    """Judge what ssh gets as user or host: it must not pass for an option."""
    if _HOST.fullmatch(text):
        return None
    return f"{text!r} cannot be passed to ssh", "letters, digits and . _ : % @ + only, not beginning with '-'"


def check_uri(uri: str) -> tuple[str, str | None] | None:
    """Judge a libvirt connection URI (https://libvirt.org/uri.html)."""
    match = _URI.fullmatch(uri)
    if match and ":" in (match["user"] or ""):
        return "a connection URI cannot hold a password", "leave it out: ssh asks for it, or takes a key"
    if match and uri.isprintable() and _is_ssh_user(match["user"] or ""):
        return None
    return f"{uri!r} is not a libvirt connection URI", "like qemu:///system or qemu+ssh://user@host/system"


def _is_ssh_user(user: str) -> bool:
    if "%" in user:
        from urllib.parse import unquote

        user = unquote(user)
    return not user or bool(_HOST.fullmatch(user))


class Gateway(NamedTuple):
    """How ssh reaches a node, as the URI says it to libvirt; all empty for a local node."""

    host: str = ""
    """A name or an address, without the brackets of IPv6."""
    user: str = ""
    port: str = ""
    command: str = ""
    """A program to run in place of ssh."""
    keyfile: str = ""
    verify: str = ""
    """ssh's StrictHostKeyChecking for the node; empty: as the user's own configuration says."""
    known_hosts: str = ""
    """The file with the host keys of nodes."""
    shared: bool = False
    """Libvirt runs OpenSSH's own program, so that its connections can share one."""


def ssh_gateway(uri: str) -> Gateway:
    """Return how ssh reaches the node of a ``+ssh`` URI (https://libvirt.org/uri.html#ssh-transport)."""
    match = _URI.fullmatch(uri)
    if not match or not match["host"] or match["transport"] not in ("ssh", "libssh", "libssh2"):
        return Gateway()
    from urllib.parse import unquote  # only remote nodes pay for it

    pairs = [pair.partition("=") for pair in re.split("[&;]", match["query"] or "")]
    parameters = {unquote(name): unquote(value) for name, _, value in pairs}
    openssh = match["transport"] == "ssh"
    wanted = "" if openssh else parameters.get("known_hosts_verify", "").lower()
    verify = {"normal": "ask", "auto": "accept-new", "ignore": "no"}.get(wanted, "")
    if parameters.get("no_verify", "0") not in ("", "0"):
        verify = "no"
    command = parameters.get("command", "") if openssh else ""
    return Gateway(
        host=unquote(match["host"].strip("[]")),
        user=unquote(match["user"] or ""),
        port=match["port"] or "",
        command=command,
        keyfile=parameters.get("keyfile", ""),
        verify=verify,
        known_hosts="" if openssh else parameters.get("known_hosts", ""),
        shared=openssh and not command,
    )


def uri_on_node(uri: str) -> str:
    """Return how a process on the node reaches the libvirt of a ``+ssh`` URI; empty for any other URI."""
    match = _URI.fullmatch(uri)
    if not match or not match["host"] or match["transport"] != "ssh":
        return ""
    pairs = re.split("[&;]", match["query"] or "")
    kept = [pair for pair in pairs if pair.partition("=")[0] in ("mode", "socket")]  # the others are for the way there
    path = match["path"] or "/"
    return f"{match['driver']}+unix://{path}?{'&'.join(kept)}" if kept else f"{match['driver']}://{path}"


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
        if uri and not check_uri(uri) and not uri_on_node(uri):
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
class Checksum:
    """What the downloaded file must hash to; of the archive, where there is one."""

    algorithm: str = optional(Choice("sha256", "sha512", "sha1", "md5"), "The hash function.", "sha256")
    value: str | None = optional(Text("a hash in hexadecimal"), "The expected hash. Exclusive with `url`.")
    url: str | None = optional(
        Text("a URL", check_url),
        "A sums file next to the image: GNU, BSD, bare or clearsigned; the line is found by the exact file name.",
    )


CHECKSUM = Record(Checksum, exclusive=("value", "url"), any_of=("value", "url"))


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
        "A file relative to the VM's directory, or absolute. The VM's image is downloaded here; its seed is made here.",
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


@record
class Item:
    """One use of an option that may be given several times, such as a disk."""

    name: str = required(NAME, "What merging knows it by; virt-install never sees it.", always=True)
    options: dict[str, str | bool] | None = optional(
        Options(),
        "Suboptions: a string or number gives `key=value`, true gives `key`, false or null leaves it out. Where "
        "virt-install wants `on` or `off`, true and false give these. `options: null` drops the whole item.",
    )


VIRT_INSTALL_OPTIONS = frozenset(
    """arch audio autoconsole autostart blkiotune boot cdrom channel check clock cloud-init console container controller
    cpu cputune description destroy-on-exit disk events extra-args features filesystem graphics host-device hostdev hvm
    idmap import initrd-inject input install iommu iothreads keywrap launchSecurity launchsecurity location machine
    memballoon memdev memory memorybacking memtune metadata network noautoconsole nodisks nographics nonetworks noreboot
    numatune os-variant osinfo panic parallel paravirt pm pstore pxe qemu-commandline redirdev reinstall resource rng
    seclabel security serial shmem smartcard sound sysinfo throttle-groups tpm unattended uuid vcpus video
    virt-type vsock wait watchdog xml""".split()
)
"""The options of virt-install 2 to 5 that describe a domain."""

FORMER_OPTIONS = {
    "accelerate": "leave it out: KVM is used where it is there",
    "file": "write 'disk'",
    "file-size": "write 'disk', and the capacity in libvirt.volumes",
    "mac": "write it in 'network': {mac: 52:54:00:12:34:56}",
    "maxvcpus": "write 'vcpus': \"2,maxvcpus=4\"",
    "os-type": "leave it out: 'osinfo' says it",
    "os_type": "leave it out: 'osinfo' says it",
    "ram": "write 'memory'",
    "vnc": "write 'graphics': vnc",
}
"""Options that virt-install had once, or that are another option's, and what to write today."""

RESERVED_OPTIONS = {
    "connect": "the connection comes from the VM's node",
    "debug": "'make up V=1' shows the command of virt-install",
    "dry-run": "the provisioner decides how virt-install runs",
    "name": "the name comes from libvirt.domain.name",
    "print-step": "the provisioner decides how virt-install runs",
    "print-xml": "the provisioner decides how virt-install runs",
    "quiet": "the provisioner decides how virt-install runs",
    "transient": "the provisioner defines the domain",
}
"""Options of virt-install that a provisioner gives itself, and why."""


class VirtInstall(Shape["dict[str, str | bool | tuple[Item, ...]]"]):
    """virt-install's options in the order of the registry."""

    wanted = "a mapping"
    items = ListOf(Record(Item))

    def decode(self, node: Node, path: Path, decoding: Decoding) -> dict[str, str | bool | tuple[Item, ...]]:
        if not isinstance(node, Mapping):
            decoding.wrong_type(node, self.wanted, path)
            return {}
        found: dict[str, str | bool | tuple[Item, ...]] = {}
        for option, (key, value) in node.entries.items():
            if option in RESERVED_OPTIONS:
                decoding.error("reserved-option", f"{option!r} cannot be set", key, RESERVED_OPTIONS[option])
            elif option not in VIRT_INSTALL_OPTIONS:
                message = f"unknown key {option!r} in {'.'.join(path)}"
                help_ = FORMER_OPTIONS.get(option) or decoding.report.nearest(option, VIRT_INSTALL_OPTIONS)
                decoding.error("unknown-key", message, key, help_)
            if isinstance(value, Sequence):
                for item in value.items:
                    if not isinstance(item, Mapping):
                        shown = f"{show((*path, option))}[] is {describe(item)}, not a mapping"
                        decoding.error("wrong-type", shown, item, "write it as {name: NAME, options: {KEY: VALUE}}")
                value = Sequence(tuple([item for item in value.items if isinstance(item, Mapping)]), value.span)
                items = self.items.decode(value, (*path, option), decoding)
                found[option] = tuple([item for item in items if item is not None and item.options is not None])
            elif isinstance(value, Mapping):
                message = f"{show((*path, option))} is a mapping, not a string, a number, a boolean or a list"
                pairs = ", ".join([f"{name}: …" for name in list(value.entries)[:3]])
                help_ = f"write it as a list: [{{name: {option}, options: {{{pairs}}}}}]"
                decoding.error("wrong-type", message, value, help_)
            elif not is_null(value) and (decoded := option_scalar(value)) is not False:
                found[option] = decoded
        return found

    def json_schema(self, definitions: dict[str, JsonSchema]) -> JsonSchema:
        either: JsonSchema = {
            "anyOf": [{"type": ["string", "number", "boolean", "null"]}, self.items.json_schema(definitions)]
        }
        return {
            "type": "object",
            "properties": {**dict.fromkeys(sorted(VIRT_INSTALL_OPTIONS), either), "$patch": PATCH},
            "additionalProperties": False,
        }

    def summary(self) -> str:
        return "mapping to string \\| number \\| boolean \\| list of [Item](#item)"


class Document(Shape[Plain]):
    """A document of the seed: a mapping, or a string taken literally."""

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


def check_ssh_option(name: str) -> tuple[str, str | None] | None:
    """Judge the name of an ssh_config option."""
    if re.fullmatch("[A-Za-z][A-Za-z0-9]*", name):
        return None
    return f"{name!r} is not an option of ssh_config", "like StrictHostKeyChecking"


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


@record
class Libvirt:
    """What libvirt is to have for this VM."""

    domain: Domain = required(Record(Domain), "The virtual machine itself.")
    pools: tuple[Pool, ...] = optional(ListOf(Record(Pool)), "Pools that this VM owns.", ())
    volumes: tuple[Volume, ...] = optional(ListOf(VOLUME), "Its volumes, made in this order.", ())


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

    meta_data: Plain = optional(Document(), "`meta-data`: instance id, host name.", {}, name="meta-data")
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
    libvirt: Libvirt = required(Record(Libvirt), "The domain, its pools and volumes.")
    cloud_init: CloudInit | None = optional(Record(CloudInit), "First-boot setup.")
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

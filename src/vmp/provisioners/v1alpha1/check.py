"""What v1alpha1 cannot do, said where the registry asks for it."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from functools import partial

from vmp.configuration import Configuration
from vmp.diagnostics import Report, Span
from vmp.nodes import Mapping, Node, Sequence
from vmp.provisioners.v1alpha1.on_node import ON_NODE, node_downloads
from vmp.provisioners.v1alpha1.static import STATIC_NAMES
from vmp.provisioners.v1alpha1.virt_install import PLAIN_OPTIONS, given_uuid, split_suboptions
from vmp.schema import Volume, check_host, is_too_long

PREFIX = "V1ALPHA1_"
"""Variables that begin with this set knobs."""

KNOBS = {
    "V1ALPHA1_COMMAND_TIMEOUT_SECS": True,
    "V1ALPHA1_IP_CMD": False,
    "V1ALPHA1_SSH_EXTRA_OPTS": False,
    "V1ALPHA1_SSH_HOST": False,
    "V1ALPHA1_SSH_OPTS": False,
    "V1ALPHA1_SSH_USER": False,
    "V1ALPHA1_STOP_TIMEOUT_SECS": True,
    "V1ALPHA1_WAIT_FOR_READY_INTERVAL_SECS": True,
    "V1ALPHA1_WAIT_FOR_READY_SSH_CONNECT_TIMEOUT_SECS": True,
    "V1ALPHA1_WAIT_FOR_READY_TIMEOUT_SECS": True,
}
"""The knobs, and whether each is a number of seconds."""

GENERATED_NAMES = frozenset(
    {*STATIC_NAMES, "MANIFEST", "vm.sh", "secrets.sh", "ssh-password", "domain.xml", "known_hosts", ".node-ssh"}
)
"""Names in the directory that no path of the registry may take."""

DOMAIN = ("libvirt", "domain", "virtInstall")
"""Where the options of virt-install are."""

_NOT_IN_XML = re.compile("[\0-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
"""What XML 1.0 has no way to write, DEL, and the carriage return, which every reader of XML turns into a newline.

(XML names what is allowed; a class of that, negated, takes 6 ms to compile.)"""

_SERIAL = re.compile("[A-Za-z0-9_ .+-]*")
"""What libvirt allows in the serial number of a disk (qemu_validate.c)."""


def check(configuration: Configuration, vm: Mapping, report: Report) -> None:
    """Report what is wrong with one VM beyond the schema."""
    _check_knobs(configuration, vm, report)
    _check_volumes(configuration, vm, report)
    _check_pools(vm, report)
    _check_seed(configuration, vm, report)
    _check_uuid(configuration, vm, report)
    _check_options(configuration, vm, report)
    _check_domain(configuration, vm, report)
    _check_ssh(configuration, vm, report)


def _check_knobs(configuration: Configuration, vm: Mapping, report: Report) -> None:
    for name, value in configuration.variables.items():
        if not name.startswith(PREFIX):
            continue
        span = configuration.places.get(name, vm.span)
        if name not in KNOBS:
            report.error("unknown-variable", f"unknown knob {name!r}", span, help=report.nearest(name, KNOBS))
        elif name in ("V1ALPHA1_SSH_HOST", "V1ALPHA1_SSH_USER") and value and (wrong := check_host(value)):
            report.error("bad-value", wrong[0], span, help=wrong[1])
        elif KNOBS[name] and not re.fullmatch("0|[1-9][0-9]{0,7}", value):
            report.error("bad-value", f"{name} is {value!r}, not a number of seconds", span)


def _check_uuid(configuration: Configuration, vm: Mapping, report: Report) -> None:
    uuid = given_uuid(configuration.vm)
    if uuid is not None and not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", uuid):
        span = _span(vm, "libvirt", "domain", "virtInstall", "uuid")
        report.error("bad-value", f"{uuid!r} is not a UUID", span)


def _check_options(configuration: Configuration, vm: Mapping, report: Report) -> None:
    """Report text that virt-install or libvirt would refuse, cut off or change."""
    options = configuration.vm.libvirt.domain.virt_install
    for option, value in options.items():
        if isinstance(value, str):
            span = partial(_span, vm, *DOMAIN, option)
            _check_carried(value, span, report)
            if option not in PLAIN_OPTIONS and re.search("['\"\\\\]", value):
                _check_quotes(option, value, span(), report)
        for item in value if isinstance(value, tuple) else ():
            for key, suboption in (item.options or {}).items():
                span = partial(_suboption_span, vm, option, item.name, key)
                if not key or re.search(r"""[\s,='"\\]""", key) or not key.isprintable():
                    message = f"{key!r} is not a suboption of {option!r}"
                    report.error(
                        "bad-value", message, span(at_key=True), help="a name; what comes after '=' is its value"
                    )
                if isinstance(suboption, str):
                    _check_carried(suboption, span, report)
                    _check_suboption(option, key, suboption, span, report)


def _check_carried(text: str, span: Callable[[], Span], report: Report) -> None:
    if found := _NOT_IN_XML.search(text):
        message = f"a domain cannot have the character {found.group()!r}"
        help_ = "XML cannot carry control characters other than tab and newline"
        report.error("bad-value", message, span(), help=help_)


def _check_quotes(option: str, text: str, span: Span, report: Report) -> None:
    try:
        split_suboptions(text)
    except ValueError:
        message = f"a quote or backslash in {option!r} has no counterpart"
        help_ = "virt-install splits this at commas, with quotes as in a shell; a list of 'options' needs none"
        report.error("bad-value", message, span, help=help_)


def _check_suboption(option: str, key: str, text: str, span: Callable[[], Span], report: Report) -> None:
    if option == "disk" and key == "serial" and not _SERIAL.fullmatch(text):
        help_ = "libvirt allows letters of ASCII, digits, space and _ . + - there"
        report.error("bad-value", f"{text!r} cannot be the serial number of a disk", span(), help=help_)
    elif option == "metadata" and key == "title" and "\n" in text:
        report.error("bad-value", "a domain's title is one line", span(), help="use 'description' for more")
    elif key in ("passwd", "password") and ("\n" in text or "\t" in text):
        report.error("bad-value", "a password is one line", span())


def _suboption_span(vm: Mapping, option: str, name: str, key: str, *, at_key: bool = False) -> Span:
    """Return the place of a suboption. It is looked for only where something is wrong: every VM has many."""
    return _item_span(_at(vm, *DOMAIN, option), name, key, at_key) or _span(vm, *DOMAIN, option)


def _item_span(items: Node | None, name: str, key: str, at_key: bool = False) -> Span | None:
    for node in items.items if isinstance(items, Sequence) else ():
        if getattr(_at(node, "name"), "text", None) == name:
            options = _at(node, "options")
            if at_key and isinstance(options, Mapping):
                return options.span_of(key)
            return _span(node, "options", key)
    return None


def _check_domain(configuration: Configuration, vm: Mapping, report: Report) -> None:
    """Report what virt-install would refuse only after the image has been downloaded and uploaded."""
    options = configuration.vm.libvirt.domain.virt_install
    place = ("libvirt", "domain", "virtInstall")
    memory = options.get("memory")
    if isinstance(memory, str) and re.fullmatch(r"[0-9.]+\s*[A-Za-z]+", memory):
        message, help_ = f"{memory!r} is not a size of memory", "a number of MiB, without a unit"
        report.error("bad-value", message, _span(vm, *place, "memory"), help=help_)
    own_pools = {pool.name for pool in configuration.vm.libvirt.pools}
    volumes = {f"{volume.pool_name}/{volume.name}": None for volume in configuration.vm.libvirt.volumes}
    disks = options.get("disk")
    for disk in disks if isinstance(disks, tuple) else ():
        found = (disk.options or {}).get("vol")
        if isinstance(found, str) and found.partition("/")[0] in own_pools and found not in volumes:
            span = _item_span(_at(vm, *place, "disk"), disk.name, "vol") or _span(vm, *place, "disk")
            message = f"disk {disk.name!r} is volume {found!r}, which is not among 'volumes'"
            report.error("bad-value", message, span, help=report.nearest(found, volumes))


def _check_pools(vm: Mapping, report: Report) -> None:
    pools = _at(vm, "libvirt", "pools")
    seen: set[str] = set()
    for index, node in enumerate(pools.items if isinstance(pools, Sequence) else ()):
        name = getattr(_at(node, "name"), "text", "")
        if name in seen:
            span = _span(vm, "libvirt", "pools", index, "name")
            report.error("duplicate-name", f"two pools are called {name!r}", span)
        seen.add(name)


def _check_volumes(configuration: Configuration, vm: Mapping, report: Report) -> None:
    seen: set[tuple[str, str]] = set()
    declared = {(volume.pool_name, volume.name) for volume in configuration.vm.libvirt.volumes}
    for index, volume in enumerate(configuration.vm.libvirt.volumes):
        place = ("libvirt", "volumes", index)
        key = (volume.pool_name, volume.name)
        if key in seen:
            message = f"two volumes are called {volume.name!r} in pool {volume.pool_name!r}"
            report.error("duplicate-name", message, _span(vm, *place, "name"))
        _check_content(volume, vm, place, _generated_names(configuration), report)
        backing = volume.backing_volume
        if backing and (found := (backing.pool_name, backing.name)) in declared and found not in seen:
            message = f"the backing volume {backing.name!r} is not made before {volume.name!r}"
            help_ = "volumes are made in the order of the list: move it up"
            report.error("bad-value", message, _span(vm, *place, "backingVolume", "name"), help=help_)
        seen.add(key)


def _generated_names(configuration: Configuration) -> frozenset[str]:
    return GENERATED_NAMES | {ON_NODE} if node_downloads(configuration) else GENERATED_NAMES


def _check_upload_path(path: str, generated: frozenset[str], span: Span, report: Report) -> None:
    normal = posixpath.normpath(path)
    if normal in generated or normal.split("/")[0] == "lib":
        report.error("bad-path", f"{path!r} is a file of the provisioner itself", span, help="such as .images/disk.img")


def _check_ssh(configuration: Configuration, vm: Mapping, report: Report) -> None:
    ssh = configuration.vm.ssh
    for option, values in (ssh.options if ssh else {}).items():
        for index, value in enumerate(values):
            span = _span(vm, "ssh", "options", option, index)
            if not value.isprintable():
                message = f"{value!r} has a character that cannot be printed"
                report.error("bad-value", message, span, help="an option of ssh is one line")
            if option.lower() in ("hostname", "user", "hostkeyalias") and (wrong := check_host(value)):
                report.error("bad-value", wrong[0], span, help=wrong[1])


def _check_content(
    volume: Volume, vm: Mapping, place: tuple[str | int, ...], generated: frozenset[str], report: Report
) -> None:
    if volume.backing_volume and volume.format not in ("qcow2", "qed"):
        message = f"a volume of format {volume.format!r} cannot have a backing volume"
        report.error("bad-value", message, _span(vm, *place, "backingVolume"), help="use format: qcow2")
    if volume.upload_file:
        _check_upload_path(volume.upload_file.path, generated, _span(vm, *place, "uploadFile", "path"), report)
    if volume.upload_file and not volume.upload_file.path.isprintable():
        span = _span(vm, *place, "uploadFile", "path")
        report.error("bad-path", "the path has a character that cannot be printed", span)
    if volume.upload_file and is_too_long(volume.upload_file.path, 200):
        span = _span(vm, *place, "uploadFile", "path")
        help_ = "200 bytes at most between two slashes, 1000 in all"
        report.error("bad-path", "the path is too long", span, help=help_)


def _check_seed(configuration: Configuration, vm: Mapping, report: Report) -> None:
    if configuration.vm.cloud_init is None:
        return
    path = configuration.vm.cloud_init.no_cloud.seed.path
    span = _span(vm, "cloudInit", "noCloud", "seed", "path")
    first = path.split("/")[0]
    generated = _generated_names(configuration)
    if path.startswith("/") or posixpath.normpath(path) != path or first == ".." or not path.isprintable():
        help_ = "a path below the VM's directory, without '.' and '..', such as seed.iso"
        report.error("bad-path", f"the seed {path!r} is not inside the VM's directory", span, help=help_)
    elif path == "." or path in generated or first in generated | {"lib"}:
        report.error("bad-path", f"the seed {path!r} would replace a generated file", span, help="such as seed.iso")
    elif path.startswith("-"):
        report.error("bad-path", f"the seed {path!r} begins with '-'", span, help="such as seed.iso")
    elif is_too_long(path, 200):
        help_ = "200 bytes at most between two slashes, 1000 in all"
        report.error("bad-path", "the seed's path is too long", span, help=help_)


def _at(node: Node | None, *path: str | int) -> Node | None:
    for part in path:
        if isinstance(part, int):
            node = node.items[part] if isinstance(node, Sequence) and part < len(node.items) else None
        else:
            node = node.get(part) if isinstance(node, Mapping) else None
    return node


def _span(vm: Node, *path: str | int) -> Span:
    """Return the place of a value, or of the nearest thing around it that was written."""
    found = vm
    for part in path:
        deeper = _at(found, part)
        if deeper is None:
            break
        found = deeper
    return found.span

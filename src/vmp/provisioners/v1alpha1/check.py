"""What v1alpha1 cannot do, said where the registry asks for it."""

from __future__ import annotations

import posixpath
import re

from vmp.configuration import Configuration
from vmp.diagnostics import Report, Span
from vmp.nodes import Mapping, Sequence
from vmp.provisioners.v1alpha1.check_options import check_options
from vmp.provisioners.v1alpha1.places import at, place_of
from vmp.provisioners.v1alpha1.runtime.facts import SECRETS, SOCKET, SSH_PASSWORD, VM_JSON
from vmp.provisioners.v1alpha1.runtime.knobs import KNOBS
from vmp.provisioners.v1alpha1.static import STATIC_NAMES
from vmp.provisioners.v1alpha1.virt_install import given_uuid
from vmp.schema import Volume
from vmp.texts import check_host, is_too_long

PREFIX = "V1ALPHA1_"
"""Variables that begin with this set knobs."""

GENERATED_NAMES = frozenset(
    {*STATIC_NAMES, "MANIFEST", VM_JSON, SECRETS, SSH_PASSWORD, SOCKET, "domain.xml", "known_hosts", "__pycache__"}
)
"""Names in the directory that no path of the registry may take."""


def check(configuration: Configuration, vm: Mapping, report: Report) -> None:
    """Report what is wrong with one VM beyond the schema."""
    _check_knobs(configuration, vm, report)
    _check_volumes(configuration, vm, report)
    _check_pools(vm, report)
    _check_seed(configuration, vm, report)
    _check_uuid(configuration, vm, report)
    check_options(configuration, vm, report)
    _check_ssh(configuration, vm, report)


def _check_knobs(configuration: Configuration, vm: Mapping, report: Report) -> None:
    knobs = {knob.name: knob for knob in KNOBS}
    for name, value in configuration.variables.items():
        if not name.startswith(PREFIX):
            continue
        span = configuration.places.get(name, vm.span)
        if name not in knobs:
            report.error("unknown-variable", f"unknown knob {name!r}", span, help=report.nearest(name, knobs))
        elif name in ("V1ALPHA1_SSH_HOST", "V1ALPHA1_SSH_USER") and value and (wrong := check_host(value)):
            report.error("bad-value", wrong[0], span, help=wrong[1])
        elif knobs[name].seconds is not None and not re.fullmatch("0|[1-9][0-9]{0,7}", value):
            report.error("bad-value", f"{name} is {value!r}, not a number of seconds", span)


def _check_uuid(configuration: Configuration, vm: Mapping, report: Report) -> None:
    uuid = given_uuid(configuration.vm)
    if uuid is not None and not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", uuid):
        span = place_of(vm, "libvirt", "domain", "virtInstall", "uuid")
        report.error("bad-value", f"{uuid!r} is not a UUID", span)


def _check_pools(vm: Mapping, report: Report) -> None:
    pools = at(vm, "libvirt", "pools")
    seen: set[str] = set()
    for index, node in enumerate(pools.items if isinstance(pools, Sequence) else ()):
        name = getattr(at(node, "name"), "text", "")
        if name in seen:
            span = place_of(vm, "libvirt", "pools", index, "name")
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
            report.error("duplicate-name", message, place_of(vm, *place, "name"))
        _check_content(volume, vm, place, GENERATED_NAMES, report)
        backing = volume.backing_volume
        if backing and (found := (backing.pool_name, backing.name)) in declared and found not in seen:
            message = f"the backing volume {backing.name!r} is not made before {volume.name!r}"
            help_ = "volumes are made in the order of the list: move it up"
            report.error("bad-value", message, place_of(vm, *place, "backingVolume", "name"), help=help_)
        seen.add(key)


def _check_upload_path(path: str, generated: frozenset[str], span: Span, report: Report) -> None:
    normal = posixpath.normpath(path)
    if normal in generated or normal.split("/")[0] in generated:
        report.error("bad-path", f"{path!r} is a file of the provisioner itself", span, help="such as .images/disk.img")


def _check_ssh(configuration: Configuration, vm: Mapping, report: Report) -> None:
    ssh = configuration.vm.ssh
    for option, values in (ssh.options if ssh else {}).items():
        for index, value in enumerate(values):
            span = place_of(vm, "ssh", "options", option, index)
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
        report.error("bad-value", message, place_of(vm, *place, "backingVolume"), help="use format: qcow2")
    if volume.upload_file:
        _check_upload_path(volume.upload_file.path, generated, place_of(vm, *place, "uploadFile", "path"), report)
    if volume.upload_file and not volume.upload_file.path.isprintable():
        span = place_of(vm, *place, "uploadFile", "path")
        report.error("bad-path", "the path has a character that cannot be printed", span)
    if volume.upload_file and is_too_long(volume.upload_file.path, 200):
        span = place_of(vm, *place, "uploadFile", "path")
        help_ = "200 bytes at most between two slashes, 1000 in all"
        report.error("bad-path", "the path is too long", span, help=help_)


def _check_seed(configuration: Configuration, vm: Mapping, report: Report) -> None:
    if configuration.vm.cloud_init is None:
        return
    path = configuration.vm.cloud_init.no_cloud.seed.path
    span = place_of(vm, "cloudInit", "noCloud", "seed", "path")
    first = path.split("/")[0]
    if path.startswith("/") or posixpath.normpath(path) != path or first == ".." or not path.isprintable():
        help_ = "a path below the VM's directory, without '.' and '..', such as seed.iso"
        report.error("bad-path", f"the seed {path!r} is not inside the VM's directory", span, help=help_)
    elif path == "." or path in GENERATED_NAMES or first in GENERATED_NAMES:
        report.error("bad-path", f"the seed {path!r} would replace a generated file", span, help="such as seed.iso")
    elif path.startswith("-"):
        report.error("bad-path", f"the seed {path!r} begins with '-'", span, help="such as seed.iso")
    elif is_too_long(path, 200):
        help_ = "200 bytes at most between two slashes, 1000 in all"
        report.error("bad-path", "the seed's path is too long", span, help=help_)

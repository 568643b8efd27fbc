"""What v1alpha1 cannot do, said where the registry asks for it."""

from __future__ import annotations

import posixpath
import re

from vmp.diagnostics import Report
from vmp.nodes import Mapping
from vmp.provisioners.v1alpha1.check_drives import GENERATED_NAMES, check_drives, check_made_file
from vmp.provisioners.v1alpha1.check_networks import check_networks
from vmp.provisioners.v1alpha1.check_options import check_options
from vmp.provisioners.v1alpha1.identity import given_uuid
from vmp.provisioners.v1alpha1.places import place_of, while_installing
from vmp.provisioners.v1alpha1.plan import Plan, Volume
from vmp.provisioners.v1alpha1.runtime.knobs import KNOBS
from vmp.provisioners.v1alpha1.vm_json import installing_plan
from vmp.texts import check_host, is_too_long


def check(plan: Plan, vm: Mapping, report: Report) -> None:
    """Report what is wrong with one VM beyond the schema."""
    _check_knobs(plan, vm, report)
    _check_volumes(plan, vm, report)
    _check_pools(plan, vm, report)
    _check_seed(plan, vm, report)
    if plan.drives:
        check_drives(plan, vm, report)
    _check_uuid(plan, vm, report)
    check_options(plan, vm, report)
    if plan.install:
        check_options(installing_plan(plan), while_installing(vm), report)
    if plan.networks or plan.reservations:
        check_networks(plan, vm, report)
    _check_ssh(plan, vm, report)


def _check_knobs(plan: Plan, vm: Mapping, report: Report) -> None:
    knobs = {knob.name: knob for knob in KNOBS}
    for name, (value, _, place) in plan.settings.items():
        span = place or vm.span
        if name not in knobs:
            report.error("unknown-variable", f"unknown knob {name!r}", span, help=report.nearest(name, knobs))
        elif name in ("V1ALPHA1_SSH_HOST", "V1ALPHA1_SSH_USER") and value and (wrong := check_host(value)):
            report.error("bad-value", wrong[0], span, help=wrong[1])
        elif knobs[name].seconds is not None and not re.fullmatch("0|[1-9][0-9]{0,7}", value):
            report.error("bad-value", f"{name} is {value!r}, not a number of seconds", span)


def _check_uuid(plan: Plan, vm: Mapping, report: Report) -> None:
    uuid = given_uuid(plan.domain)
    if uuid is not None and not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", uuid):
        span = place_of(vm, "libvirt", "domain", "virtInstall", "uuid")
        report.error("bad-value", f"{uuid!r} is not a UUID", span)
    if plan.install and given_uuid(plan.install) != uuid:
        span = place_of(vm, "libvirt", "domain", "install", "virtInstall", "uuid")
        report.error("bad-value", "the UUID cannot change with the end of the installation", span)


def _check_pools(plan: Plan, vm: Mapping, report: Report) -> None:
    seen: set[str] = set()
    for index, pool in enumerate(plan.pools):
        if pool.name in seen:
            span = place_of(vm, "libvirt", "pools", index, "name")
            report.error("duplicate-name", f"two pools are called {pool.name!r}", span)
        seen.add(pool.name)


def _check_volumes(plan: Plan, vm: Mapping, report: Report) -> None:
    seen: set[str] = set()
    declared = {volume.key for volume in plan.volumes}
    made = {*([plan.seed.path] if plan.seed else []), *[drive.path for drive in plan.drives]}
    for index, volume in enumerate(plan.volumes):
        place = ("libvirt", "volumes", index)
        if volume.key in seen:
            message = f"two volumes are called {volume.name!r} in pool {volume.pool!r}"
            report.error("duplicate-name", message, place_of(vm, *place, "name"))
        _check_content(volume, vm, place, report)
        if volume.member and volume.file in made:
            message = f"{volume.file!r} is made from documents: they need not be taken out of it"
            report.error("bad-path", message, place_of(vm, *place, "uploadFile", "member"))
        backing = volume.backing
        if backing and (found := f"{backing.pool}/{backing.name}") in declared and found not in seen:
            message = f"the backing volume {backing.name!r} is not made before {volume.name!r}"
            help_ = "volumes are made in the order of the list: move it up"
            report.error("bad-value", message, place_of(vm, *place, "backingVolume", "name"), help=help_)
        seen.add(volume.key)


def _check_content(volume: Volume, vm: Mapping, place: tuple[str | int, ...], report: Report) -> None:
    if volume.backing and volume.format not in ("qcow2", "qed"):
        message = f"a volume of format {volume.format!r} cannot have a backing volume"
        report.error("bad-value", message, place_of(vm, *place, "backingVolume"), help="use format: qcow2")
    if not volume.file:
        return
    span = place_of(vm, *place, "uploadFile", "path")
    path = posixpath.normpath(volume.file)
    if path in GENERATED_NAMES or path.split("/")[0] in GENERATED_NAMES:
        message = f"{volume.file!r} is a file of the provisioner itself"
        report.error("bad-path", message, span, help="such as .images/disk.img")
    if not volume.file.isprintable():
        report.error("bad-path", "the path has a character that cannot be printed", span)
    if is_too_long(volume.file, 200):
        help_ = "200 bytes at most between two slashes, 1000 in all"
        report.error("bad-path", "the path is too long", span, help=help_)


def _check_ssh(plan: Plan, vm: Mapping, report: Report) -> None:
    for option, values in (plan.ssh.options if plan.ssh else {}).items():
        for index, value in enumerate(values):
            span = place_of(vm, "ssh", "options", option, index)
            if not value.isprintable():
                message = f"{value!r} has a character that cannot be printed"
                report.error("bad-value", message, span, help="an option of ssh is one line")
            if option.lower() in ("hostname", "user", "hostkeyalias") and (wrong := check_host(value)):
                report.error("bad-value", wrong[0], span, help=wrong[1])


def _check_seed(plan: Plan, vm: Mapping, report: Report) -> None:
    if plan.seed is not None:
        span = place_of(vm, "cloudInit", "noCloud", "seed", "path")
        check_made_file(plan.seed.path, "seed", "seed.iso", span, report)

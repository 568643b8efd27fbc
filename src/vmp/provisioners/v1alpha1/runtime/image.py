"""The image file: downloaded, checked, unpacked, and only then given its name. Runs that share it take turns."""

from __future__ import annotations

import glob
import os

from .definition import cksum
from .download import Download
from .facts import VM_JSON, Vm, read_vm
from .files import lock, remove, size_of
from .programs import need
from .say import Problem
from .signature import need_for_signature
from .unpacking import UNPACKERS


def image_file(vm: Vm) -> str:
    """Return the path of the image."""
    return vm.file(vm.image.path)


def needs_image(vm: Vm) -> bool:
    """Tell whether the image must be downloaded."""
    return bool(vm.image.path) and size_of(image_file(vm)) == 0


def need_for_image(vm: Vm) -> None:
    """Name what is not installed, before anything is changed."""
    if needs_image(vm):
        need("download the image", "curl")
        if vm.image.archive not in ("", *UNPACKERS):
            raise Problem(f"{VM_JSON}: there is no archive of type '{vm.image.archive}'", "'vmp gen' writes it anew")
        if vm.image.archive:
            need("unpack the image", *UNPACKERS[vm.image.archive])
        need_for_signature(vm)


def build_image(vm: Vm) -> None:
    """Download the image, if it is not there."""
    if not vm.image.path:
        return
    path = image_file(vm)
    part = f"{path}.{cksum(vm.image.url.encode())}.part"  # what came from another URL is not gone on with
    if not needs_image(vm):
        if glob.glob(f"{glob.escape(path)}.*.part"):  # a run was killed after it had unpacked the image
            remove(part, f"{part}.headers.part")
        return
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    except OSError as error:
        raise Problem(f"cannot make the directory of {vm.image.path}: {error.strerror}") from None
    with lock(f"{path}.lock", vm.name, f"downloads {vm.image.path}"):
        if needs_image(vm):
            Download(vm, path, part).make()
            vm.say(f"downloaded {vm.image.path}")


def _others_with(vm: Vm, path: str) -> list[str]:
    """Return the machines of the directories beside the own one that need the same image file.

    One that has made its domain needs it until its own `clean-all`; on a node that downloads itself, each does.
    """
    here = os.path.realpath(vm.directory)
    found = []
    for place in glob.glob(f"{glob.escape(os.path.dirname(here))}/*/{VM_JSON}"):
        try:
            other = read_vm(os.path.dirname(place))
        except Problem:
            continue
        needs = os.path.exists(other.file("domain.xml")) or not other.domain.virt_install
        same = bool(other.image.path) and os.path.realpath(image_file(other)) == path
        if needs and same and other.directory != here:
            found.append(other.name)
    return sorted(found)


def clean_image(vm: Vm) -> None:
    """Remove the image, and what is left of its download, unless another directory fills its volumes from it, too."""
    if not vm.image.path:
        return
    path = image_file(vm)
    others = _others_with(vm, os.path.realpath(path))
    if others:
        vm.say(f"kept {vm.image.path}: {', '.join(others[:3])}{' and others' * (len(others) > 3)} need it, too")
        return
    remove(path, *glob.glob(f"{glob.escape(path)}.*.part"), f"{path}.tmp", f"{path}.lock", f"{path}.lock.link")
    try:
        os.rmdir(os.path.dirname(path))
    except OSError:
        pass  # it holds other things

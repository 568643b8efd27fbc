"""The seed and the config drives: each an ISO of what is in `<path>.d`, made again when that has changed."""

from __future__ import annotations

import os
from typing import NamedTuple

from .definition import cksum, documents, documents_sum, files_of, read_document
from .facts import Vm
from .files import read_text, remove, size_of, write_text
from .programs import Ended, have, need, run_program
from .records import Drive
from .say import Problem

TOOLS = ("genisoimage", "xorriso", "mkisofs")
"""The first that is there. xorriso sleeps for a tenth of a second, and mkisofs may be xorriso under another name."""

SEED_TOOLS = (*TOOLS, "cloud-localds")
"""cloud-localds knows the label and the documents of cloud-init alone."""


class Content(NamedTuple):
    """What an ISO is made of."""

    path: str
    label: str
    files: dict[str, str]
    """Where each file is, by its path on the ISO."""
    tools: tuple[str, ...]
    mark: str
    """Says whether an ISO that is there was made from this."""


def need_for_drives(vm: Vm) -> None:
    """Name what is not installed, before anything is changed."""
    if vm.seed:
        need("make the cloud-init seed", *SEED_TOOLS)
    for drive in vm.config_drives:
        need(f"make the config drive {drive.path}", *TOOLS)


def build_drives(vm: Vm) -> None:
    """Make the seed and the config drives, unless they are there and whole."""
    if vm.seed:
        build_seed(vm)
    for drive in vm.config_drives:
        build_drive(vm, drive)


def build_seed(vm: Vm) -> None:
    """Make the seed."""
    files = {os.path.basename(path): path for path in documents(vm)}
    _build(vm, Content(vm.seed, "cidata", files, SEED_TOOLS, documents_sum(vm)))


def build_drive(vm: Vm, drive: Drive) -> None:
    """Make a config drive."""
    files, said = files_of(vm, drive), [drive.label.encode()]
    for name, path in files.items():
        data = read_document(path, drive.path)
        said.append(f"{name}\0{len(data)}\0".encode(errors="surrogateescape") + data)
    whole = b"\0".join(said)
    _build(vm, Content(drive.path, drive.label, files, TOOLS, f"{cksum(whole)}-{len(whole)}"))


def _build(vm: Vm, content: Content) -> None:
    """Make an ISO, unless it is there, whole and of these files: `<path>.sum` says what it was made from."""
    path, stamp = vm.file(content.path), vm.file(content.path) + ".sum"
    if read_text(stamp).strip() == f"{content.mark} {size_of(path)}":
        return
    tool = have(*content.tools)
    for attempt in range(2):  # xorriso 1.5.4 crashes once in a thousand times
        remove(f"{path}.tmp", stamp)
        ended = run_program(_iso_words(content, tool, f"{path}.tmp"), vm.knobs.command_timeout)
        if ended.code == 0 or ended.timed_out or attempt:
            break
    if ended.code or not size_of(f"{path}.tmp"):
        remove(f"{path}.tmp")
        raise Problem(f"could not make {content.path}", _reason(vm, tool, ended))
    os.replace(f"{path}.tmp", path)
    write_text(stamp, f"{content.mark} {size_of(path)}\n")
    vm.say(f"made {content.path}")


def _reason(vm: Vm, tool: str, ended: Ended) -> str:
    if ended.timed_out:
        return f"{tool} took longer than {vm.knobs.command_timeout} seconds and was ended"
    return (ended.output + ended.errors).strip() or f"{tool} made nothing (exit code {ended.code})"


def _iso_words(content: Content, tool: str, output: str) -> list[str]:
    files = content.files
    if tool == "xorriso":
        maps = [word for name, path in files.items() for word in ("-map", path, f"/{name}")]
        words = [tool, "-no_rc", "-report_about", "SORRY", "-outdev", output, "-volid", content.label]
        return [*words, "-joliet", "on", "-rockridge", "on", *maps]
    if tool == "cloud-localds":
        more = [f"--{name}={files[name]}" for name in ("vendor-data", "network-config") if name in files]
        return [tool, *more, output, *[files.get(name, "/dev/null") for name in ("user-data", "meta-data")]]
    grafts = [f"{_escaped(f'/{name}')}={_escaped(path)}" for name, path in files.items()]
    words = [tool, "-quiet", "-output", output, "-volid", content.label, "-joliet", "-rational-rock"]
    return [*words, "-graft-points", *grafts]


def _escaped(path: str) -> str:
    """Return a path as genisoimage and xorriso's emulation of it read it around the '=' of a graft point."""
    return path.replace("\\", "\\\\").replace("=", "\\=")


def clean_drives(vm: Vm) -> None:
    """Remove the seed and the config drives, and what is left of their making."""
    for name in [vm.seed] * bool(vm.seed) + [drive.path for drive in vm.config_drives]:
        path = vm.file(name)
        remove(path, f"{path}.tmp", f"{path}.sum")

"""What cannot be a drive, said at the word: paths that are taken, files in each other's way, and too much of them."""

from __future__ import annotations

import posixpath

from vmp.diagnostics import Report, Span
from vmp.nodes import Mapping
from vmp.provisioners.v1alpha1.drive_files import drive_files
from vmp.provisioners.v1alpha1.places import at, place_of
from vmp.provisioners.v1alpha1.plan import Drive, Plan
from vmp.provisioners.v1alpha1.runtime.facts import (
    IMAGE_KEYS,
    MEMBER_SUMS,
    MEMBERS,
    SECRETS,
    SOCKET,
    SSH_PASSWORD,
    VM_JSON,
)
from vmp.provisioners.v1alpha1.static import STATIC_NAMES
from vmp.provisioners.v1alpha1.vm_json import image_path
from vmp.texts import is_too_long

GENERATED_NAMES = frozenset(
    {*STATIC_NAMES, "MANIFEST", VM_JSON, SECRETS, SSH_PASSWORD, SOCKET, IMAGE_KEYS, MEMBERS, MEMBER_SUMS}
    | {f"{xml}{suffix}" for xml in ("domain.xml", "install.xml") for suffix in ("", ".tmp", ".sum", ".sum.tmp")}
    | {f"{name}.tmp{suffix}" for name in ("apply", "create") for suffix in ("", ".tmp")}
    | {"ends.tmp", f"{MEMBERS}.tmp", "known_hosts", "known_hosts.old", ".lock", "__pycache__"}
)
"""Names in the directory that no path of the registry may take."""

_BESIDE = (".lock", ".part", ".sum", ".tmp")
"""Ends of names that the provisioner makes of those of drives and images; a file of the user's own may have them."""

MAX_SIZE = 16 << 20
"""Most bytes that the files of one drive may have: it is for settings, and all of them stand in the registry."""


def check_drives(plan: Plan, vm: Mapping, report: Report) -> None:
    """Report what is wrong with the config drives of a VM."""
    taken = {plan.seed.path: "the seed"} if plan.seed else {}
    taken |= {image: "the image"} if (image := image_path(plan)) else {}
    for index, drive in enumerate(plan.drives):
        place = ("configDrives", index)
        span = place_of(vm, *place, "path")
        calls = report.calls
        check_made_file(drive.path, "config drive", "oemdrv.iso", span, report)
        if drive.path in taken:
            message = f"{drive.path!r} is already the path of {taken[drive.path]}"
            report.error("bad-path", message, span, help="each needs a file of its own")
        elif report.calls == calls and (other := _in_the_way(drive.path, taken)):
            help_ = "beside each drive there are <path>.d, with its files, and <path>.sum"
            report.error("bad-path", f"the config drive {drive.path!r} is in the way of {other}", span, help=help_)
        taken.setdefault(drive.path, "another config drive")
        _check_files(drive, vm, place, report)


def _in_the_way(path: str, taken: dict[str, str]) -> str:
    """Return what else would be written at a path, or above or below it; '' without any."""
    mine = (path, f"{path}.d", f"{path}.sum", f"{path}.tmp")
    for other, words in taken.items():
        for theirs in (other, f"{other}.d", f"{other}.sum", f"{other}.tmp"):
            if any(f"{one}/".startswith(f"{theirs}/") or f"{theirs}/".startswith(f"{one}/") for one in mine):
                return words
    return ""


def _check_files(drive: Drive, vm: Mapping, place: tuple[str | int, ...], report: Report) -> None:
    node = at(vm, *place, "files")
    for name in drive.files:
        above = next((found for found in _directories_of(name) if found in drive.files), None)
        if above is not None:
            span = node.entries[name].key.span if isinstance(node, Mapping) else place_of(vm, *place)
            message = f"{name!r} is below {above!r}, which is a file of this drive"
            report.error("bad-path", message, span, help="give one of the two another name")
    if not drive.files:
        span = place_of(vm, *place, "files")
        report.error("bad-value", "the drive has no files", span, help="such as files: {ks.cfg: '...'}")
    size = sum([len(content) for content in drive_files(drive).values()])
    if size > MAX_SIZE:
        help_ = f"{MAX_SIZE >> 20} MiB at most: what is larger belongs into an image or onto a server"
        span = place_of(vm, *place, "path")
        report.error("bad-value", f"the files of the drive have {size} bytes", span, help=help_)


def _directories_of(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def check_made_file(path: str, what: str, example: str, span: Span, report: Report) -> None:
    """Report a path at which `make` could not make an image inside the VM's directory."""
    first = path.split("/")[0]
    if path.startswith("/") or posixpath.normpath(path) != path or first == ".." or not path.isprintable():
        help_ = f"a path below the VM's directory, without '.' and '..', such as {example}"
        report.error("bad-path", f"the {what} {path!r} is not inside the VM's directory", span, help=help_)
    elif path == "." or path in GENERATED_NAMES or first in GENERATED_NAMES:
        report.error("bad-path", f"the {what} {path!r} would replace a generated file", span, help=f"such as {example}")
    elif path.endswith(_BESIDE):
        help_ = f"any other end than {', '.join(_BESIDE[:-1])} and {_BESIDE[-1]}, such as {example}"
        report.error(
            "bad-path", f"the {what} {path!r} is named like a file that is made beside others", span, help=help_
        )
    elif path.startswith("-"):
        report.error("bad-path", f"the {what} {path!r} begins with '-'", span, help=f"such as {example}")
    elif is_too_long(path, 200):
        help_ = "200 bytes at most between two slashes, 1000 in all"
        report.error("bad-path", f"the {what}'s path is too long", span, help=help_)

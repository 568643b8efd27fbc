"""Files inside ISO images: each is taken out into the directory, and its volume filled from there.

The image is listed first, so it is known what the member is before anything is written: xorriso would make a link as a
link and a directory with all that is in it, 7z and bsdtar would give no byte for a link, and 7z says that all is well
without the member, too.
"""

from __future__ import annotations

import os
import posixpath
import re

from .definition import cksum
from .facts import MEMBER_SUMS, MEMBERS, Vm
from .files import read_text, remove, size_of, write_text
from .iso_readers import READERS, IsoEntries, Reader, extract_file, list_image, readers
from .programs import Ended, have, need
from .records import Volume
from .say import Problem, printable

MEMBER_TMP = ".members.tmp"
"""What is being taken out. Runs of one directory take turns."""


def members_of(vm: Vm) -> list[Volume]:
    """Return the volumes that this host fills with members."""
    return [volume for volume in vm.volumes if volume.member and not volume.by_node]


def need_for_members(vm: Vm) -> None:
    """Name what is not installed, before anything is changed."""
    if any(not _is_current(vm, volume) for volume in members_of(vm)):
        need("take a file out of an ISO image", *[reader.name for reader in READERS])


def build_members(vm: Vm) -> None:
    """Take each member out, unless it is there and of the image as it is now."""
    for volume in members_of(vm):
        if not _is_current(vm, volume):
            _take_out(vm, volume)


def _is_current(vm: Vm, volume: Volume) -> bool:
    mark = _member_mark(vm, volume)
    return bool(mark) and read_text(_member_stamp(vm, volume)).strip() == f"{mark} {size_of(vm.file(volume.file))}"


def _member_stamp(vm: Vm, volume: Volume) -> str:
    return vm.file(f"{MEMBER_SUMS}/{volume.key}")


def _member_mark(vm: Vm, volume: Volume) -> str:
    """Return what tells a member from one of another image or name; '' without an image."""
    assert volume.member
    try:
        found = os.stat(vm.file(volume.member.path))
    except OSError:
        return ""
    names = cksum("\0".join(volume.member).encode(errors="surrogateescape"))
    return f"{names} {found.st_size} {found.st_mtime_ns}"


def _take_out(vm: Vm, volume: Volume) -> None:
    """Take a member out: whole, by the first program that finds it, or not at all."""
    member = volume.member
    assert member
    image = vm.file(member.path)
    message = f"cannot take {member.name} out of {member.path}"
    if not size_of(image):
        raise Problem(
            f"{message}: there is no such file, or it is empty", f"volume {volume.key} is to be filled with it"
        )
    known: IsoEntries = {}
    troubles: list[Problem] = []
    for reader in readers():
        ended, entries = list_image(vm, reader, image)
        path = find_member(entries, member.name)
        try:
            if path and entries[path].kind == "-" and entries[path].size:
                _extract(vm, volume, reader, path, entries[path].size)
                return
            if ended.code:
                raise Problem(message, "the image cannot be read:", _last_words(vm, reader, ended))
        except Problem as problem:
            troubles.append(problem)
        # 7z alone reads UDF; of several names of the same bytes bsdtar knows one, and takes the others for empty
        known = entries if len(entries) > len(known) else known
    path = find_member(known, member.name)
    if troubles and (not known or (path and known[path].kind == "-" and known[path].size)):
        raise troubles[0]
    if not any(entry.kind == "-" for entry in known.values()):
        hint = (
            ""
            if have("7zz", "7z")
            else "if it has UDF alone, as images of Windows do: 7z, which is not installed, reads that"
        )
        raise Problem(f"{message}: it is no ISO image, or only a part of one", hint)
    raise Problem(message, *[printable(reason) for reason in _reasons(known, member.name)])


def _last_words(vm: Vm, reader: Reader, ended: Ended) -> str:
    if ended.timed_out:
        return f"{reader.name} took longer than {vm.knobs.command_timeout} seconds and was ended"
    return printable((ended.errors or ended.output).strip(), 5) or f"{reader.name} ended with {ended.code}"


def find_member(entries: IsoEntries, name: str) -> str:
    """Return the path in the image that a name means; '' without any.

    An image without Rock Ridge and Joliet has names such as `VMLINUZ.;1`, which Linux shows as `vmlinuz`.
    """
    wanted = posixpath.normpath(f"/{name}").strip("/")
    if wanted in entries:
        return wanted
    alike = [path for path in entries if _plain(path) == _plain(wanted)]
    return alike[0] if len(alike) == 1 else ""


def _plain(path: str) -> str:
    return re.sub(r"\.?(;[0-9]+)?$", "", path).lower()


def _reasons(entries: IsoEntries, name: str) -> list[str]:
    """Say why a name is no file of an image, and what there is instead."""
    path = find_member(entries, name)
    entry = entries.get(path) if path else None
    if entry and entry.kind == "l":
        return [f"it is a symbolic link there, to {entry.target}", "name the file that it leads to"]
    if entry and entry.kind == "d":
        return ["it is a directory", _content(entries, path)]
    if entry and entry.kind == "-":
        return ["it is empty there, or a second name of another file, which xorriso or 7z can take out"]
    if entry:
        return ["it is no file"]
    import difflib  # costs milliseconds that only a mistake has to pay

    files = [path for path, entry in entries.items() if entry.kind == "-"]
    close = difflib.get_close_matches(name.lower(), [path.lower() for path in files], n=3, cutoff=0.7)
    close += [path.lower() for path in files if posixpath.basename(path).lower() == posixpath.basename(name).lower()]
    near = [path for path in files if path.lower() in close][:5]
    if near:
        return ["there is no such file in it; did you mean", *near]
    above = posixpath.dirname(posixpath.normpath(f"/{name}"))
    while above != "/" and above.strip("/") not in entries:
        above = posixpath.dirname(above)
    return ["there is no such file in it", _content(entries, above.strip("/"))]


def _content(entries: IsoEntries, directory: str) -> str:
    """Return what is in a directory of an image, in words."""
    names = sorted(
        f"{posixpath.basename(path)}{'/' * (entry.kind == 'd')}"
        for path, entry in entries.items()
        if posixpath.dirname(path) == directory and path
    )
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"{directory or 'its root'} has {', '.join(names[:20]) or 'nothing'}{more}"


def _extract(vm: Vm, volume: Volume, reader: Reader, path: str, size: int) -> None:
    member, target, scratch = volume.member, vm.file(volume.file), vm.file(MEMBER_TMP)
    assert member
    mark = _member_mark(vm, volume)  # of the image before it is read: who replaces it meanwhile makes this one old
    remove(scratch, _member_stamp(vm, volume))
    try:
        for directory in (os.path.dirname(target), os.path.dirname(_member_stamp(vm, volume))):
            os.makedirs(directory, exist_ok=True)
        ended = extract_file(vm, reader, vm.file(member.path), path, scratch, size)
        came = size_of(scratch)
        if ended.code or came != size or os.path.islink(scratch):
            hint = f"{reader.name} gave {came} of {size} bytes: the image is only a part of one, or the disk is full"
            raise Problem(f"could not take {member.name} out of {member.path}", hint, _last_words(vm, reader, ended))
        os.chmod(scratch, 0o600)
        os.replace(scratch, target)
    except OSError as error:
        raise Problem(f"could not take {member.name} out of {member.path}", f"{error}") from None
    finally:
        remove(scratch)
    write_text(_member_stamp(vm, volume), f"{mark} {size}\n")
    vm.say(f"took {member.name} out of {member.path}")


def clean_members(vm: Vm) -> None:
    """Remove what was taken out, also for volumes that have left the registry."""
    for name in (MEMBERS, MEMBER_SUMS):
        if os.path.isdir(vm.file(name)):
            import shutil  # only who has members pays for it

            shutil.rmtree(vm.file(name))
    remove(vm.file(MEMBER_TMP))

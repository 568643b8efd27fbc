"""What the domain is made from, as checksums in its metadata: so a later difference shows, without any state.

The checksums are those of POSIX's cksum over the same words as ever: domains of earlier versions are judged alike.
"""

from __future__ import annotations

import functools
import json
import os
import re
import zlib
from collections.abc import Iterable

from .facts import Vm
from .files import read_text
from .records import Drive
from .say import Problem

DOCUMENTS = ("meta-data", "user-data", "vendor-data", "network-config")

_REVERSED = bytes([int(f"{byte:08b}"[::-1], 2) for byte in range(256)])


def cksum(data: bytes) -> int:
    """Return what cksum(1) prints first. zlib has the same polynomial, with the bits of each byte the other way round.

    (https://pubs.opengroup.org/onlinepubs/9699919799/utilities/cksum.html)
    """
    length = len(data)
    tail = length.to_bytes((length.bit_length() + 7) // 8, "little")
    mirrored = zlib.crc32((data + tail).translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2) ^ 0xFFFFFFFF


def definition_of(vm: Vm) -> str:
    """Return the checksum of what the domain is made from. The deletion policies are no part of a domain."""
    return _sum_of([*_words(vm), password_sum(vm)] if vm.secrets() else _words(vm))


def is_definition(vm: Vm, text: str | None) -> bool:
    """Tell whether a domain with this checksum was made from what the directory says now.

    Earlier versions took the passwords themselves into it, which is too good a hint for who guesses them.
    """
    if text == definition_of(vm):
        return True
    passwords = vm.secrets()
    return bool(passwords) and text == _sum_of([*_words(vm), *[word for pair in passwords.items() for word in pair]])


def _sum_of(words: Iterable[str]) -> str:
    data = "".join([f"{word}\0" for word in words]).encode(errors="surrogateescape")
    return f"{cksum(data)}-{len(data)}"


def password_sum(vm: Vm) -> str:
    """Return what tells other passwords from these; '' without any.

    It stands in the domain's metadata, which everyone on the node may read. So it is salted, and slow to guess from.
    """
    passwords = vm.secrets()
    return _slow_sum(json.dumps(passwords, sort_keys=True), vm.domain.uuid) if passwords else ""


@functools.cache
def _slow_sum(text: str, salt: str, rounds: int = 50_000) -> str:
    import hashlib  # only who has passwords pays for it

    return hashlib.pbkdf2_hmac("sha256", text.encode(errors="surrogateescape"), salt.encode(), rounds).hex()[:16]


def _words(vm: Vm) -> Iterable[str]:
    yield from ("yes" if vm.domain.autostart else "", vm.image.reference)
    for pool in vm.pools:
        yield from (pool.name, pool.path)
    for volume in vm.volumes:
        yield from (volume.pool, volume.name, volume.format, volume.capacity_text)
        if volume.member:
            yield from ("member", *volume.member)
        elif volume.file:
            yield from ("upload", volume.file)
        elif volume.backing:
            yield from ("backing", *volume.backing)
        else:
            yield "blank"
    yield from vm.domain.virt_install


def install_sum(vm: Vm) -> str:
    """Return the checksum of the options that the domain has while its system is installed; '' without such a time."""
    return _sum_of(vm.while_installing().domain.virt_install) if vm.installs else ""


def documents(vm: Vm) -> list[str]:
    """Return the paths of the documents of the seed."""
    if not vm.seed:
        return []
    paths = [os.path.join(vm.file(vm.seed) + ".d", name) for name in DOCUMENTS]
    return [path for path in paths if os.path.exists(path)]


def seed_sum(vm: Vm) -> str:
    """Return the checksums of the documents of the seed, and of the files of the config drives; '' without any."""
    return ".".join([word for word in (documents_sum(vm), drives_sum(vm)) if word])


def documents_sum(vm: Vm) -> str:
    """Return the checksums of the documents of the seed; '' without a seed."""
    found = []
    for path in documents(vm):
        data = read_document(path, vm.seed)
        found.append(f"{os.path.basename(path).partition('-')[0]}-{cksum(data)}-{len(data)}")
    return ".".join(found)


def read_document(path: str, drive: str) -> bytes:
    """Return a file of the seed or of a drive."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Problem(f"cannot read the documents in {drive}.d", f"{path}: {error.strerror}") from None


def files_of(vm: Vm, drive: Drive) -> dict[str, str]:
    """Return where the files of a config drive are, by their paths on it."""
    top = vm.file(drive.path) + ".d"
    found = [os.path.join(place, name) for place, _, names in os.walk(top) for name in names]
    return {os.path.relpath(path, top): path for path in sorted(found)}


def drives_sum(vm: Vm) -> str:
    """Return the checksums of the config drives: a word for each label, and one for each file; '' without a drive.

    A file may be a password and nothing else, and the metadata are there for everyone on the node to read. So these
    checksums are salted, and slow to guess from.
    """
    found = []
    for drive in vm.config_drives:
        head = f"drive-{_hex(drive.path)}"
        found.append(f"{head}--{_hex(drive.label)}")
        for name, path in files_of(vm, drive).items():
            digest = _slow_sum(_digest(read_document(path, drive.path)), f"{vm.domain.uuid}/{name}", _MANY)
            found.append(f"{head}-{_hex(name)}-{digest}")
    return ".".join(found)


_MANY = 10_000
"""The rounds of the slow checksum of a file: some 5 ms, as a drive may have dozens of files."""


def _digest(data: bytes) -> str:
    import hashlib  # only who has drives pays for it

    return hashlib.sha256(data).hexdigest()


def _hex(text: str) -> str:
    return text.encode(errors="surrogateescape").hex()


def sums_of_drives(text: str) -> dict[str, dict[str, str]]:
    """Return what a text of `seed_sum` says of config drives: by path and file; the file '' stands for the label."""
    found: dict[str, dict[str, str]] = {}
    for word in text.split("."):
        kind, _, rest = word.partition("-")
        path, _, rest = rest.partition("-")
        name, _, digest = rest.partition("-")
        if kind == "drive":
            try:
                found.setdefault(_text_of(path), {})[_text_of(name)] = digest
            except ValueError:
                continue  # somebody has edited it
    return found


def _text_of(digits: str) -> str:
    return bytes.fromhex(digits).decode(errors="surrogateescape")


def is_current(vm: Vm, mark: dict[str, str] | None) -> bool:
    """Tell whether a domain was made from what the directory says now."""
    if mark is None or mark.get("phase"):  # what is still to be installed is not as it is to be
        return False
    return mark.get("seed") == seed_sum(vm) and is_definition(vm, mark.get("definition"))


def instance_id(vm: Vm) -> str:
    """Return the `instance-id` of meta-data, by which cloud-init tells a new machine from one that it has set up."""
    path = os.path.join(vm.file(vm.seed) + ".d", DOCUMENTS[0])
    found = re.search(r"""^\s*["'{]*instance-id["']?\s*:\s*["']?([^"'\n,}]*)""", read_text(path), re.MULTILINE)
    return found[1].strip() if vm.seed and found else ""

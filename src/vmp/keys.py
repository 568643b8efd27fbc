"""The public keys that an image's signature is checked against: read once for each file, and judged."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Iterator

from vmp.diagnostics import Report
from vmp.nodes import Scalar
from vmp.registry import read_beside
from vmp.texts import Judgement

MAX_KEYS = 1024 * 1024
"""Largest file of keys in bytes; those of a distribution take some thousands."""

_BLOCK = re.compile(
    rb"^-----BEGIN PGP PUBLIC KEY BLOCK-----[ \t]*\n(?:[A-Za-z]+: [^\n]*\n)*[ \t]*\n"
    rb"((?:[^\n]*\n)*?)-----END PGP PUBLIC KEY BLOCK-----[ \t]*$",
    re.MULTILINE,
)
_PRIVATE = re.compile(rb"-----BEGIN PGP (PRIVATE|SECRET) KEY")
_PUBLIC_KEY, _SECRET_KEYS = 6, (5, 7)
"""Packets of OpenPGP (RFC 9580, 5)."""

_HELP = "armored public keys, as 'gpg --armor --export' prints them"


class PublicKeys:
    """The files of keys that a registry names; each is read once, however many VMs use the image."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._found: dict[tuple[str, str], bytes | tuple[str, str, str | None]] = {}

    def read(self, path: Scalar) -> bytes:
        """Return the file that a value of the registry names; b'' where it is reported."""
        key = (os.path.dirname(path.span.file), path.text)
        if key not in self._found:
            self._found[key] = _read(path)
        found = self._found[key]
        if isinstance(found, bytes):
            return found
        code, message, help_ = found
        self._report.error(code, message, path.span, help=help_)
        return b""


def _read(path: Scalar) -> bytes | tuple[str, str, str | None]:
    content = read_beside(path.text, path.span.file, MAX_KEYS)
    if isinstance(content, str):
        return "cannot-read", content, "a path relative to the file that it is written in, or an absolute one"
    wrong = judge_keys(content)
    return ("bad-keys", f"{path.text!r} {wrong[0]}", wrong[1]) if wrong else content


def judge_keys(content: bytes) -> Judgement:
    """Judge what is to be a file of armored public keys; the message lacks its subject, the file."""
    if _PRIVATE.search(content):
        return _private()
    if content[:1] >= b"\x80" or content[8:12] == b"KBXf":
        if content[:1] >= b"\x80" and _tag(content[0]) in _SECRET_KEYS:
            return _private()
        help_ = "gpg --no-default-keyring --keyring ./FILE --armor --export prints what is wanted"
        return "is a binary keyring, not armored public keys", help_
    blocks = _BLOCK.findall(content.replace(b"\r\n", b"\n"))
    if not blocks or len(blocks) != content.count(b"-----BEGIN PGP "):
        return "does not hold armored public keys, or not only these", _HELP
    for block in blocks:
        try:
            tags = list(_tags(_content(block)))
        except (binascii.Error, ValueError, IndexError):
            return "holds a block of keys that is damaged", _HELP
        if set(tags) & set(_SECRET_KEYS):
            return _private()
        if tags[:1] != [_PUBLIC_KEY]:
            return "holds a block that does not begin with a public key", _HELP
    return None


def _private() -> Judgement:
    help_ = "a private key must never be here: export the public one, with 'gpg --armor --export'"
    return "holds a private key", f"{help_}; whoever may have read this file can sign in its name"


def _content(block: bytes) -> bytes:
    """Return what a block is the armor of; a ValueError where it is damaged.

    A version of the provisioner takes keys apart on its own. What is taken here it must take, too.
    """
    lines = list(filter(None, [line.strip(b" \t") for line in block.split(b"\n")]))
    checksum = lines.pop() if lines and len(lines[-1]) == 5 and lines[-1].startswith(b"=") else b""
    content = base64.b64decode(b"".join(lines), validate=True)
    if checksum and base64.b64decode(checksum[1:], validate=True) != _crc24(content).to_bytes(3, "big"):
        raise ValueError
    return content


def _crc24(data: bytes) -> int:
    """Return the checksum of a block (RFC 9580, 6.1)."""
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc = crc << 1 ^ (0x1864CFB if crc & 0x800000 else 0)
    return crc


def _tag(first: int) -> int:
    return first & 0x3F if first & 0x40 else first >> 2 & 0xF


def _tags(data: bytes) -> Iterator[int]:
    """Yield the tag of each packet; whatever is no whole packet raises a ValueError or an IndexError."""
    place = 0
    while place < len(data):
        first = data[place]
        if not first & 0x80:
            raise ValueError
        if first & 0x40:
            length, place = _new_length(data, place + 1)
        else:
            size = 1 << (first & 3)
            if size == 8:
                raise ValueError
            length, place = int.from_bytes(data[place + 1 : place + 1 + size], "big"), place + 1 + size
        place += length
        if place > len(data):
            raise ValueError
        yield _tag(first)


def _new_length(data: bytes, place: int) -> tuple[int, int]:
    first = data[place]
    if first < 192:
        return first, place + 1
    if first < 224:
        return (first - 192 << 8) + data[place + 1] + 192, place + 2
    if first < 255:
        raise ValueError
    return int.from_bytes(data[place + 1 : place + 5], "big"), place + 5

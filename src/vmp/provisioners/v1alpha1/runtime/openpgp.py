"""OpenPGP (RFC 9580), as far as files are taken apart before gpgv or sqv judges them: armor, packets, signed text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_PUBLIC_KEY, _SIGNATURE, _SUBKEY = 6, 2, 14
"""The tags of packets."""

_OF_BYTES, _OF_TEXT = 0, 1
"""Types of the signatures of files."""

_STRONG = {8: "SHA-256", 9: "SHA-384", 10: "SHA-512", 11: "SHA-224", 12: "SHA3-256", 14: "SHA3-512"}
_WEAK = {1: "MD5", 2: "SHA-1", 3: "RIPEMD-160"}
"""Hash functions by their numbers. gpgv 2.2.40 takes SHA-1 and RIPEMD-160, of which two texts can share one sum."""

_OF_ITSELF = (b"\x10", b"\x11", b"\x12", b"\x13", b"\x1f")
"""Types of the signatures in which a key says something of itself, such as when it expires."""

_SIGNED = b"-----BEGIN PGP SIGNED MESSAGE-----"
_BEGIN, _END = b"-----BEGIN PGP SIGNATURE-----", b"-----END PGP SIGNATURE-----"


class Clearsigned(NamedTuple):
    """A signed text, and its signature."""

    text: bytes
    """What is signed, and nothing from around it: lines as the signature counts them, with CRLF between them."""
    signature: bytes
    """Armored."""


def clearsigned(data: bytes) -> Clearsigned | None:
    """Take a clearsigned text apart, so that its signature is a detached one; None where it is none.

    What is read of it later is the very text that gpgv or sqv has checked, so nothing else can pass for signed.
    """
    lines = [line.rstrip(b" \t\r") for line in data.split(b"\n")]
    if _SIGNED not in lines:
        return None
    if lines.count(_SIGNED) > 1:
        raise ValueError("it holds more than one signed text")
    place = lines.index(_SIGNED) + 1
    if _BEGIN not in lines[place:] or _END not in lines[place:]:
        raise ValueError("its signed text has no whole signature")
    begin, end = lines.index(_BEGIN, place), lines.index(_END, place)
    while lines[place]:
        if not re.fullmatch(rb"[A-Za-z]+: .*", lines[place]):
            raise ValueError("its signed text does not begin after an empty line")
        place += 1
    text = lines[place + 1 : begin]
    if any(line.startswith(b"-") and not line.startswith(b"- ") and line != b"-" for line in text):
        raise ValueError("its signed text has a line that begins with '-'")
    text = [line[2:] if line.startswith(b"-") else line for line in text]
    return Clearsigned(b"\r\n".join(text), b"\n".join([*lines[begin : end + 1], b""]))


def dearmored(data: bytes, kind: str) -> bytes:
    """Return the bytes of all armored blocks of a kind, such as SIGNATURE; whatever is damaged raises a ValueError."""
    import base64

    begin, end = f"-----BEGIN PGP {kind}-----".encode(), f"-----END PGP {kind}-----".encode()
    found: list[bytes] = []
    block: list[bytes] | None = None
    for line in [line.strip(b" \t\r") for line in data.split(b"\n")]:
        if line == begin and block is not None:
            raise ValueError("a block of it has no end")
        if line == begin:
            block = []
        elif line == end and block is not None:
            if b"" in block:  # headers end there
                block = block[block.index(b"") + 1 :]
            block = [part for part in block if part]
            checksum = block.pop() if block and len(block[-1]) == 5 and block[-1].startswith(b"=") else b""
            content = base64.b64decode(b"".join(block), validate=True)
            if checksum and base64.b64decode(checksum[1:], validate=True) != crc24(content):
                raise ValueError("a block of it is damaged: its checksum is wrong")
            found.append(content)
            block = None
        elif block is not None:
            block.append(line)
    if block is not None or not found:
        raise ValueError(f"it holds no whole '{begin.decode()}'")
    return b"".join(found)


def crc24(data: bytes) -> bytes:
    """Return the checksum at the end of an armored block (RFC 9580, 6.1)."""
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc = crc << 1 ^ (0x1864CFB if crc & 0x800000 else 0)
    return crc.to_bytes(3, "big")


def packets(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield the packets: tag, body, and all of it. What is not of whole packets raises a ValueError."""
    place = 0
    while place < len(data):
        first, begin = data[place], place
        sizes = data[place + 1 : place + 6].ljust(5, b"\0")
        if first & 0xC0 == 0xC0:
            if sizes[0] < 192:
                length, place = sizes[0], place + 2
            elif sizes[0] < 224:
                length, place = (sizes[0] - 192 << 8) + sizes[1] + 192, place + 3
            else:  # a length in parts is for data alone
                length, place = int.from_bytes(sizes[1:], "big") if sizes[0] == 255 else len(data), place + 6
        else:
            size = (1, 2, 4, 0)[first & 3] if first & 0x80 else 0
            length, place = int.from_bytes(sizes[:size], "big") if size else len(data), place + 1 + size
        if place + length > len(data):
            raise ValueError("it is not OpenPGP, or damaged")
        place += length
        yield first & 0x3F if first & 0x40 else first >> 2 & 0xF, data[place - length : place], data[begin:place]


def signatures_of(data: bytes, of_text: bool) -> bytes:
    """Return the signatures of a file, armored or not, without those by a weak hash function.

    A file with anything else in it, such as data that come with their own signature, raises a ValueError. So does a
    signature of text, if ``of_text`` is false: it is also good for a file with other line ends.
    """
    if not data.strip():
        raise ValueError("it is empty")
    if data[0] < 0x80:
        data = dearmored(data, "SIGNATURE")
    kept, weak = [], []
    for tag, body, whole in packets(data):
        if tag != _SIGNATURE or len(body) < 20:
            raise ValueError("it is no detached signature")
        kind, number = (body[2], body[16]) if body[0] == 3 else (body[1], body[3])
        if kind not in (_OF_BYTES, _OF_TEXT):
            raise ValueError("it is no detached signature")
        if kind == _OF_TEXT and not of_text:
            raise ValueError("it is a signature of text, which an image is not")
        if number in _STRONG:
            kept.append(whole)
        else:
            weak.append(_WEAK.get(number, f"hash function {number}"))
    if not kept:
        raise ValueError(f"it is made with {' and '.join(weak)}, which no longer proves anything")
    return b"".join(kept)


class _Key(NamedTuple):
    created: int
    fingerprint: bytes


def expiries(keys: bytes) -> dict[str, int]:
    """Return when each primary key expires, by fingerprint, in seconds since 1970; 0: never. It judges no key."""
    import hashlib

    found: dict[str, int] = {}
    key, newest = _Key(0, b""), -1
    of_primary = False
    for tag, body, _ in packets(keys):
        if tag == _PUBLIC_KEY:
            head = (
                b"\x9b" + len(body).to_bytes(4, "big") if body[:1] == b"\6" else b"\x99" + len(body).to_bytes(2, "big")
            )
            digest = (hashlib.sha256 if body[:1] == b"\6" else hashlib.sha1)(head + body).digest()
            key, newest, of_primary = _Key(int.from_bytes(body[1:5], "big"), digest), -1, True
            found[digest.hex().upper()] = 0
        elif tag == _SUBKEY:
            of_primary = False
        elif tag == _SIGNATURE and of_primary and body[:1] == b"\4" and body[1:2] in _OF_ITSELF:
            facts = _subpackets(body)
            issuer = facts.get(33, b"\4" + key.fingerprint)[1:], facts.get(16, key.fingerprint[-8:])
            made = int.from_bytes(facts.get(2, b""), "big")
            if issuer == (key.fingerprint, key.fingerprint[-8:]) and made >= newest:
                newest, after = made, int.from_bytes(facts.get(9, b""), "big")
                found[key.fingerprint.hex().upper()] = key.created + after if after else 0
    return found


def _subpackets(body: bytes) -> dict[int, bytes]:
    """Return the facts of a signature of version 4, by type: those that it signs, and its issuer."""
    found: dict[int, bytes] = {}
    hashed = int.from_bytes(body[4:6], "big")
    rest = int.from_bytes(body[6 + hashed : 8 + hashed], "big")
    for data, signed in ((body[6 : 6 + hashed], True), (body[8 + hashed : 8 + hashed + rest], False)):
        place = 0
        while place < len(data):
            length, place = data[place], place + 1
            if length >= 192:
                more = 4 if length == 255 else 1
                number = int.from_bytes(data[place : place + more], "big")
                length, place = number if more == 4 else (length - 192 << 8) + number + 192, place + more
            kind, content = data[place : place + 1], data[place + 1 : place + length]
            place += max(length, 1)
            if kind and (signed or kind == b"\x10"):
                found[kind[0] & 0x7F] = content
    return found

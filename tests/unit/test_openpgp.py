"""OpenPGP taken apart: armor, packets, signed text, and when keys expire; against gpg, with keys made on the spot."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from signing import LONG_AGO, Keys, gpg_home

from vmp.provisioners.v1alpha1.runtime.openpgp import (
    clearsigned,
    crc24,
    dearmored,
    expiries,
    packets,
    signatures_of,
)

TEXT = b"a  b\n- c\n"


@pytest.fixture(scope="module")
def keys() -> Iterator[Keys]:
    with gpg_home() as home:
        yield Keys(home)


def test_armored_keys_become_what_gpg_exports(keys: Keys) -> None:
    users = [f"{name}@example.org" for name in ("right", "rsa")]
    plain = b"".join([keys.gpg("--export", user) for user in users])
    armored = keys.public("right", "rsa")
    assert dearmored(armored, "PUBLIC KEY BLOCK") == plain
    assert dearmored(armored.replace(b"\n", b"\r\n"), "PUBLIC KEY BLOCK") == plain
    with_headers = armored.replace(b"BLOCK-----\n\n", b"BLOCK-----\nVersion: 1\nComment: a: b\n\n")
    assert dearmored(with_headers, "PUBLIC KEY BLOCK") == plain
    without_checksums = b"\n".join([line for line in armored.split(b"\n") if not line.startswith(b"=")])
    assert dearmored(without_checksums, "PUBLIC KEY BLOCK") == plain


def test_damaged_armor_is_refused(keys: Keys) -> None:
    armored = keys.sign(TEXT, "right")
    lines = armored.split(b"\n")
    for wrong in (b"", b"x", b"\n".join(lines[:-3]), b"\n".join([*lines[:3], *lines[4:]]), armored[:90] + armored[91:]):
        with pytest.raises(ValueError, match=r"whole|damaged|base64|padding|characters"):
            dearmored(wrong, "SIGNATURE")


def test_the_checksum_of_armor_is_that_of_gpg(keys: Keys) -> None:
    armored = keys.sign(TEXT, "right")
    line = next(line for line in armored.split(b"\n") if line.startswith(b"="))
    assert base64.b64decode(line[1:]) == crc24(dearmored(armored.replace(line, b""), "SIGNATURE"))
    assert crc24(b"") == bytes.fromhex("b704ce") and crc24(b"123456789") == bytes.fromhex("21cf02")


@given(st.binary())
@example(b"\xc2\xff\xff\xff\xff\xff")
@example(b"\xc2")
@example(b"\x8b")
@example(b"\xc2\xe0")
@example(b"\x00")
def test_any_bytes_are_whole_packets_or_refused(data: bytes) -> None:
    try:
        found = list(packets(data))
    except ValueError:
        return
    assert b"".join([whole for _, _, whole in found]) == data


@pytest.mark.parametrize("size", [0, 191, 192, 8383, 8384, 70_000])
def test_packets_have_lengths_of_each_form(size: int) -> None:
    body = bytes(size)
    forms = [b"\xc2\xff" + size.to_bytes(4, "big"), b"\x8a" + size.to_bytes(4, "big")]
    if size < 192:
        forms.append(bytes([0xC2, size]))
    elif size < 8384:
        forms.append(bytes([0xC2, (size - 192 >> 8) + 192, (size - 192) & 0xFF]))
    if size < 65536:
        forms.append(b"\x89" + size.to_bytes(2, "big"))
    for head in forms:
        assert list(packets(head + body)) == [(2, body, head + body)]


@given(st.binary())
@example(b"-----BEGIN PGP SIGNED MESSAGE-----\n")
@example(b"-----BEGIN PGP SIGNATURE-----\n\n=\n-----END PGP SIGNATURE-----\n")
@example(b"\xc6\x01\x04\xc2\x01\x04")
@example(b"\xc6\x00\xc2\x0c\x04\x13\x00\x00\x00\x02\xff\x00\x00\xff\xff\x10")
def test_any_bytes_are_signatures_and_signed_text_or_refused(data: bytes) -> None:
    for take_apart in (lambda found: signatures_of(found, True), clearsigned, expiries):
        with suppress(ValueError):
            take_apart(data)


def test_signatures_by_weak_hash_functions_are_left_out(keys: Keys) -> None:
    weak = keys.sign(TEXT, "rsa", armor=False, options=("--digest-algo", "SHA1"))
    strong = keys.sign(TEXT, "right", armor=False)
    assert signatures_of(weak + strong, False) == signatures_of(strong + weak, False) == strong
    with pytest.raises(ValueError, match="it is made with SHA-1, which no longer proves anything"):
        signatures_of(weak, False)
    version_3 = b"\x88\x16" + b"\x03\x05\x00" + bytes(12) + b"\x01\x02" + bytes(5)
    with pytest.raises(ValueError, match="SHA-1"):
        signatures_of(version_3, False)


@pytest.mark.parametrize("name", ["SHA224", "SHA256", "SHA384", "SHA512"])
def test_signatures_by_strong_hash_functions_are_kept(keys: Keys, name: str) -> None:
    signature = keys.sign(TEXT, "rsa", armor=False, options=("--digest-algo", name))
    assert signatures_of(signature, False) == signature


def test_a_signed_text_is_what_gpg_takes_for_it(keys: Keys) -> None:
    for text in (TEXT, b"", b"\n", b"a", b"- \n-\n--\n \t\n x \t\n\n", b"From a\n-----BEGIN PGP SIGNATURE-----\n"):
        found = clearsigned(b"before\n" + keys.clearsign(text, "right") + b"after\n")
        assert found is not None
        lines = [line.rstrip(b" \t") for line in text.removesuffix(b"\n").split(b"\n")]
        assert found.text == b"\r\n".join(lines)
        assert found.signature.startswith(b"-----BEGIN PGP SIGNATURE-----\n\n")
    assert clearsigned(TEXT) is None


def test_keys_expire_when_gpg_says(keys: Keys) -> None:
    exported = keys.gpg("--export")
    listed = keys.gpg("--list-keys", "--with-colons").decode().splitlines()
    expected = {}
    for line, below in pairwise(listed):
        if line.startswith("pub:"):
            expected[below.split(":")[9]] = int(line.split(":")[6] or 0)
    assert expiries(exported) == expected
    assert sum(when > 0 for when in expected.values()) == 1


def test_the_newest_date_of_a_key_counts(keys: Keys) -> None:
    keys.make("moved", "1y", "--faked-system-time", LONG_AGO)
    fingerprint = keys.fingerprint("moved")
    then = expiries(keys.gpg("--export", "moved@example.org"))[fingerprint]
    keys.gpg("--quick-set-expire", fingerprint, "10y")
    assert expiries(keys.gpg("--export", "moved@example.org"))[fingerprint] > then
    keys.gpg("--quick-set-expire", fingerprint, "never")
    assert expiries(keys.gpg("--export", "moved@example.org"))[fingerprint] == 0


def test_a_signature_of_text_is_none_of_an_image(keys: Keys) -> None:
    """It is good for `a\r\n` and for `a\n` alike, and two images must not be."""
    of_text = keys.sign(TEXT, "right", armor=False, options=("--textmode",))
    assert signatures_of(of_text, of_text=True) == of_text
    with pytest.raises(ValueError, match="it is a signature of text"):
        signatures_of(of_text, of_text=False)


def test_what_a_key_says_of_itself_is_no_signature_of_a_file(keys: Keys) -> None:
    certifications = [whole for tag, _, whole in packets(keys.gpg("--export", "right@example.org")) if tag == 2]
    assert certifications
    with pytest.raises(ValueError, match="it is no detached signature"):
        signatures_of(certifications[0], of_text=True)

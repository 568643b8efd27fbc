"""Signatures: whether somebody whose key the registry names vouches for a file, by gpgv or, where that is not, by sqv.

Both are given a keyring, a detached signature and the file. What either is asked of is what the sums are read from.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable

from .facts import IMAGE_KEYS, VM_JSON, Vm
from .files import remove
from .openpgp import clearsigned, dearmored, expiries, packets, signatures_of
from .programs import have, need, run_program
from .say import Problem, printable

VERIFIERS = ("gpgv", "sqv")
"""What checks signatures: the first that is installed."""

_REASONS = {
    "BADSIG": "it is of another file, or the file has been changed since",
    "REVKEYSIG": "its key {} has been revoked",
    "EXPKEYSIG": "its key {} has expired",
    "EXPSIG": "the signature has expired",
    "NO_PUBKEY": "it is made with the key {}, which is not among those that the registry names",
    "ERRSIG": "gpgv cannot check what the key {} has signed, as it knows no such way to sign",
}
"""Words of gpgv's status for what is no good signature (GnuPG's doc/DETAILS), worst first.

gpgv 2.2.40 ends with exit code 0 for REVKEYSIG and EXPKEYSIG, too, and with 2 where one of two signers is unknown.
"""

_HINTS = {
    "REVKEYSIG": "do not trust this file; see what the distribution says of that key",
    "EXPKEYSIG": "get the key anew from the distribution, where it may have a later date, and run 'vmp gen'",
    "NO_PUBKEY": "if the distribution signs with a new key, add that to signature.keys, and run 'vmp gen'",
}


class Bad(Exception):
    """A file is not signed by who should have: the reason, and what to do."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


def need_for_signature(vm: Vm) -> None:
    """Name what is missing, before anything is downloaded."""
    if vm.image.signature_url:
        need("check the signature of the image", *VERIFIERS)
        if vm.image.signature_of not in (("sums", "image") if vm.image.sums_url else ("image",)):
            message = f"{VM_JSON}: there is nothing that a signature of '{vm.image.signature_of}' could be of"
            raise Problem(message, "'vmp gen' writes it anew")
        keyring_of(vm)


def armored_keys(vm: Vm) -> bytes:
    """Return the file of public keys: on a node that downloads, they came with the facts."""
    if vm.image.keys:
        return vm.image.keys.encode("latin-1", "replace")
    try:
        with open(vm.file(IMAGE_KEYS), "rb") as file:
            return file.read()
    except OSError as error:
        message = f"cannot read {IMAGE_KEYS}, which the image's signature is checked against: {error.strerror}"
        raise Problem(message, "'vmp gen' writes it anew") from None


def keyring_of(vm: Vm) -> bytes:
    """Return the public keys in the form that gpgv reads: it takes no armored ones, and sqv takes both."""
    try:
        keys = dearmored(armored_keys(vm), "PUBLIC KEY BLOCK")
        list(packets(keys))
        return keys
    except ValueError as error:
        raise Problem(f"{IMAGE_KEYS} is not as vmp writes it: {error}", "'vmp gen' writes it anew") from None


def check_signature(vm: Vm, path: str, signature: bytes, beside: str, of_text: bool) -> str:
    """Return the fingerprint of the key that a file is signed with; raise a Bad without a good signature of it.

    ``beside`` begins the names of files that are written for the program, and gone at the end.
    """
    try:
        detached = signatures_of(signature, of_text)
    except ValueError as error:
        raise Bad(str(error)) from None
    keys = keyring_of(vm)
    files = [os.path.abspath(f"{beside}.{name}.part") for name in ("keyring", "signature")]
    path = os.path.abspath(path)
    try:
        for place, content in zip(files, (keys, detached)):
            write_part(place, content)
        program = have(*VERIFIERS)
        words = [program, "--keyring", *files, path]
        if program == "gpgv":  # with a home that is not the user's; it reads nothing there
            words[1:1] = ["--homedir", os.path.dirname(path), "--status-fd", "1"]
        ended = run_program(words, vm.knobs.command_timeout)
        if ended.timed_out:
            message = f"{program} took longer than {vm.knobs.command_timeout} seconds and was ended"
            raise Problem(message, "V1ALPHA1_COMMAND_TIMEOUT_SECS says how long it may take")
        if program == "gpgv":
            return good_key(ended.output, ended.errors, ended.code)
        return good_key_of_sqv(ended.output, ended.errors, ended.code, keys)
    finally:
        remove(*files)


def write_part(path: str, content: bytes) -> None:
    """Write what a program is to read."""
    try:
        with open(path, "wb") as file:
            file.write(content)
    except OSError as error:
        remove(path)
        hint = f"see whether its disk is full: df {os.path.dirname(path)}"
        raise Problem(f"cannot write {path}: {error.strerror}", hint) from None


def good_key(status: str, errors: str, code: int) -> str:
    """Return the fingerprint of the primary key of a good signature, from what gpgv tells programs.

    Those of unknown signers do not count; one that is of another file spoils all.
    """
    found, last, keys = "", "", dict[str, str]()
    for line in status.splitlines():
        word, *rest = line.removeprefix("[GNUPG:] ").split(" ")
        if word == "VALIDSIG" and len(rest) == 10:  # of an expired or revoked key there is one, too
            keys[last] = rest[9]
            found = found or (rest[9] if last == "GOODSIG" else "")
        elif word == "ERRSIG" and len(rest) == 7 and rest[6] != "-":
            last, keys[word] = word, rest[6]
        elif word in ("GOODSIG", *_REASONS):
            last, keys[word] = word, keys.get("ERRSIG" if word == "NO_PUBKEY" else "", (rest or [""])[0])
    if found and code in (0, 2) and "BADSIG" not in keys:
        return found
    for word, reason in _REASONS.items():
        if word in keys:
            raise Bad(reason.format(keys[word]), _HINTS.get(word, ""))
    raise Bad(f"gpgv found no good signature (exit code {code})", printable(errors))


def good_key_of_sqv(output: str, errors: str, code: int, keys: bytes) -> str:
    """Return the fingerprint of a good signature. sqv prints those, and one is enough for its exit code 0.

    sqv 1.1 takes a key that has expired since for what it was when it signed, gpgv does not: so neither do we.
    """
    signers = re.findall("^[0-9A-F]{32,64}$", output, re.MULTILINE) if code == 0 else []
    expired = [key for key, when in expiries(keys).items() if 0 < when < time.time()]
    if good := [str(key) for key in signers if key not in expired]:
        return good[0]
    for word, found in (("EXPKEYSIG", signers), ("NO_PUBKEY", re.findall("^Missing key ([0-9A-F]{16,64})", errors))):
        if found:
            raise Bad(_REASONS[word].format(found[0]), _HINTS[word])
    raise Bad("sqv found no good signature of this file", printable(errors))


def signed_sums(vm: Vm, signature: bytes, fetch: Callable[[str, str], bytes], beside: str) -> tuple[str, str]:
    """Return the text that the sums are read from, once its signature is good, and where it is from."""
    image = vm.image
    try:
        text, source = b"", image.signature_url
        try:
            clear = clearsigned(signature)
        except ValueError as error:
            raise Bad(str(error)) from None
        if clear:
            text, signature = clear
        elif image.signature_url == image.sums_url:
            raise Bad("the file is not signed", "a sums file that is its own signature is clearsigned text")
        else:
            text, source = fetch(image.sums_url, "the checksums"), image.sums_url
        path = f"{beside}.signed.part"
        try:
            write_part(path, text)
            say_good(vm, source, check_signature(vm, path, signature, beside, of_text=True))
        finally:
            remove(path)
    except Bad as bad:
        what = f"the signature {image.signature_url} of the checksums {image.sums_url} is not good: {bad}"
        raise Problem(what, bad.hint, "nothing is downloaded without a good one") from None
    return text.decode(errors="surrogateescape"), source


def check_form(vm: Vm, signature: bytes) -> None:
    """Refuse before the download what can be no good signature of the image, whatever that turns out to be."""
    try:
        if clearsigned(signature):
            raise ValueError("it is a signed text, which is not the image")
        signatures_of(signature, of_text=False)
    except ValueError as error:
        what = f"the signature {vm.image.signature_url} of {vm.image.url} is not good: {error}"
        raise Problem(what, "nothing is downloaded without a good one") from None


def wrong_signature_of_image(vm: Vm, path: str, signature: bytes, beside: str) -> list[str]:
    """Return what is wrong with the signature of the image file, and what to do; nothing where it is good."""
    try:
        say_good(vm, vm.image.url, check_signature(vm, path, signature, beside, of_text=False))
        return []
    except Bad as bad:
        return [f"the signature {vm.image.signature_url} is not good: {bad}", *filter(None, [bad.hint])]


def say_good(vm: Vm, url: str, key: str) -> None:
    """Tell whose signature was good, and of what."""
    name = re.split("[?#]", url)[0].rpartition("/")[2]
    vm.say(f"signature of {name} is good: key {key}")

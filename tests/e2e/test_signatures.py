"""Signatures: an image is there only if somebody whose key the registry names vouches for it, whatever checks that."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from server import Fault, Server
from signing import LONG_AGO, Keys, gpg_home, path_without
from world import ENVIRONMENT, ROOT, Vm, generate

IMAGE = random.Random(1).randbytes(300_000)
OTHER = random.Random(2).randbytes(300_000)
SUMS = f"{hashlib.sha256(OTHER).hexdigest()}  other.img\n{hashlib.sha256(IMAGE).hexdigest()}  image.img\n".encode()
SUMS_OF_OTHER = SUMS.replace(b"image", b"x").replace(b"other", b"image")
VERIFIERS = ("gpgv", "sqv")


@pytest.fixture(scope="module")
def keys() -> Iterator[Keys]:
    with gpg_home() as home:
        yield Keys(home)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """For each program that checks signatures a PATH that has it and not the other; under '' one with neither."""
    base = tmp_path_factory.mktemp("paths")
    hidden = {"gpgv": ("sqv",), "sqv": ("gpgv", "gpg", "gpgv2"), "": ("sqv", "gpgv", "gpg", "gpgv2")}
    return {
        name: path_without(base / f"bin-{name}", ENVIRONMENT["PATH"], *commands) for name, commands in hidden.items()
    }


class Site:
    """A server with an image, its sums and a signature, and a VM that wants the image, signed by who is in `keys`."""

    def __init__(self, server: Server, base: Path, keys: Keys, path: str) -> None:
        self.server = server
        self.base = base
        self.keys = keys
        self.path = path
        self.serve(image_img=IMAGE, SUMS=SUMS)

    def serve(self, **files: bytes) -> None:
        """Put files on the server; `_` stands for a dot."""
        for name, content in files.items():
            (self.server.directory / name.replace("_", ".")).write_bytes(content)

    def gets(self, path: str = "/image.img") -> list[int]:
        return [request.status for request in self.server.requests if request.path == path]

    def vm(self, *names: str, of: str = "sums", at: str = "SUMS.sign", **checksum: str) -> Vm:
        """Return a VM whose registry names the public keys of these names, and where the signature is."""
        self.base.parent.mkdir(parents=True, exist_ok=True)
        (self.base.parent / "keys.asc").write_bytes(self.keys.public(*names))
        signature = {"url": self.server.url(at), "keys": str(self.base.parent / "keys.asc"), "of": of}
        if of == "sums":
            checksum = {"url": self.server.url("SUMS"), **checksum}
        tag: dict[str, Any] = {"pattern": "latest", "url": self.server.url("image.img"), "volumeName": "disk.img"}
        tag["checksum"] = {**checksum, "signature": signature}
        volume = {"name": "disk.img", "poolName": "default", "uploadFile": {"path": "../images/disk.img"}}
        registry = {
            "nodes": [{"name": "localhost", "libvirt": {"connection": {"uri": "qemu:///system"}}}],
            "images": [{"name": "guest", "tags": [tag]}],
            "vms": [
                {
                    "name": "web",
                    "provisioner": "v1alpha1",
                    "nodeName": "localhost",
                    "image": "guest",
                    "libvirt": {"domain": {"name": "x"}, "volumes": [volume]},
                }
            ],
        }
        return generate(json.dumps(registry), self.base)["web"]

    def build(self, vm: Vm, target: str = "build") -> subprocess.CompletedProcess[str]:
        """Make the image: it is right and nothing else is left, or there is nothing at all."""
        before = {path.name for path in vm.directory.iterdir()}
        done = vm.make(target, check=False, environment={"PATH": self.path})
        images = vm.directory.parent / "images"
        left = {path.name for path in images.iterdir()} if images.exists() else set()
        assert left - {"disk.img.lock"} == ({"disk.img"} if done.returncode == 0 else set()), done.stderr
        assert {path.name for path in vm.directory.iterdir()} - {".lock", "__pycache__"} <= before, done.stderr
        if done.returncode == 0:
            assert (images / "disk.img").read_bytes() == IMAGE
        return done

    def accepted(self, vm: Vm, *, of: str, by: str, form: str = "") -> None:
        done = self.build(vm)
        assert done.returncode == 0, f"{form}: {done.stderr}"
        assert f"web: signature of {of} is good: key {self.keys.fingerprint(by)}\n" in done.stderr

    def refused(self, vm: Vm, *words: str, target: str = "build", form: str = "") -> str:
        done = self.build(vm, target)
        assert done.returncode != 0, f"{form}: {done.stderr}"
        assert "is good" not in done.stderr and "Traceback" not in done.stderr
        for word in words:
            assert word in done.stderr, f"{form}: {done.stderr}"
        return done.stderr


@pytest.fixture(params=VERIFIERS)
def site(
    request: pytest.FixtureRequest, tmp_path: Path, base: Path, keys: Keys, paths: dict[str, str]
) -> Iterator[Site]:
    (tmp_path / "served").mkdir()
    with Server(tmp_path / "served") as server:
        yield Site(server, base, keys, paths[request.param])


Signature = Callable[[Keys], bytes]

GOOD: dict[str, Signature] = {
    "armored": lambda keys: keys.sign(SUMS, "right"),
    "binary": lambda keys: keys.sign(SUMS, "right", armor=False),
    "with CRLF": lambda keys: keys.sign(SUMS, "right").replace(b"\n", b"\r\n"),
    "of text": lambda keys: keys.sign(SUMS, "right", options=("--textmode",)),
    "by a second signer, too, whom nobody knows": lambda keys: keys.sign(SUMS, "other", "right"),
    "in two blocks": lambda keys: keys.sign(SUMS, "other") + keys.sign(SUMS, "right"),
    "by an expired key, too": lambda keys: keys.sign(SUMS, "right") + expired(keys, SUMS),
}


def expired(keys: Keys, data: bytes) -> bytes:
    return keys.sign(data, "expired", options=("--faked-system-time", LONG_AGO))


def test_sums_with_a_good_signature_are_believed(site: Site) -> None:
    vm = site.vm("expired", "right")
    for form, make in GOOD.items():
        site.serve(SUMS_sign=make(site.keys))
        site.accepted(vm, of="SUMS", by="right", form=form)
        clean(vm)


def clean(vm: Vm) -> None:
    vm.make("clean-all")
    assert not (vm.directory.parent / "images").exists()


CLEARSIGNED: dict[str, Signature] = {
    "by one": lambda keys: keys.clearsign(SUMS, "right"),
    "by two": lambda keys: keys.clearsign(SUMS, "other", "right"),
    "with CRLF": lambda keys: keys.clearsign(SUMS, "right").replace(b"\n", b"\r\n"),
    "with lines that begin with a dash": lambda keys: keys.clearsign(b"- a\n-----\n-\nFrom x\n\n" + SUMS, "right"),
    "with spaces at the ends of lines": lambda keys: keys.clearsign(SUMS.replace(b"\n", b" \t\n"), "right"),
    "without a last newline": lambda keys: keys.clearsign(SUMS[:-1], "right"),
    "with empty lines around": lambda keys: keys.clearsign(b"\n\n" + SUMS + b"\n\n", "right"),
    "with other text around": lambda keys: b"Hello\n" + keys.clearsign(SUMS, "right") + b"Good bye\n",
}


def test_clearsigned_sums_are_their_own_signature_and_fetched_once(site: Site) -> None:
    vm = site.vm("right", at="SUMS")
    for form, make in CLEARSIGNED.items():
        site.serve(SUMS=make(site.keys))
        site.accepted(vm, of="SUMS", by="right", form=form)
        clean(vm)
    assert site.gets("/SUMS") == [200] * len(CLEARSIGNED)


def test_of_a_clearsigned_file_beside_the_sums_the_signed_text_alone_counts(site: Site) -> None:
    site.serve(SUMS=SUMS_OF_OTHER, SUMS_asc=keys_around(site.keys.clearsign(SUMS, "right"), SUMS_OF_OTHER))
    site.accepted(site.vm("right", at="SUMS.asc"), of="SUMS.asc", by="right")
    assert site.gets("/SUMS") == []


def keys_around(text: bytes, around: bytes) -> bytes:
    return around + text + around


def test_sums_outside_of_the_signed_text_are_not_read(site: Site) -> None:
    site.serve(SUMS=keys_around(site.keys.clearsign(b"nothing\n", "right"), SUMS))
    done = site.build(site.vm("right", at="SUMS"))
    assert done.returncode != 0 and "has no sha256 sum of 'image.img'" in done.stderr
    assert site.gets() == []


BAD: dict[str, tuple[Signature, str]] = {
    "of another file": (lambda keys: keys.sign(b"other\n", "right"), ""),
    "of sums that were changed since": (lambda keys: keys.sign(SUMS_OF_OTHER, "right"), ""),
    "by a key that nobody named": (lambda keys: keys.sign(SUMS, "other"), "not among those that the registry names"),
    "by an expired key": (lambda keys: expired(keys, SUMS), "has expired"),
    "by a revoked key": (lambda keys: keys.sign(SUMS, "revoked"), "revoked"),
    "that has expired": (
        lambda keys: keys.sign(
            SUMS, "old", options=("--default-sig-expire", "1d", "--faked-system-time", "20200201T000000")
        ),
        "xpired",
    ),
    "with SHA-1": (lambda keys: keys.sign(SUMS, "rsa", options=("--digest-algo", "SHA1")), "SHA-1"),
    "with MD5": (lambda keys: keys.sign(SUMS, "rsa", options=("--digest-algo", "MD5")), "MD5"),
    "with RIPEMD-160": (lambda keys: keys.sign(SUMS, "rsa", options=("--digest-algo", "RIPEMD160")), "RIPEMD-160"),
    "that is empty": (lambda keys: b"", "it is empty"),
    "that is a page": (lambda keys: b"<html>Please log in</html>\n", "it holds no whole"),
    "that is the sums": (lambda keys: SUMS, "it holds no whole"),
    "that is random": (lambda keys: b"\xc2" + OTHER[:999], "it is no detached signature"),
    "that is cut off": (lambda keys: keys.sign(SUMS, "right", armor=False)[:-9], "not OpenPGP, or damaged"),
    "that is armored and cut off": (lambda keys: keys.sign(SUMS, "right")[:-40], "it holds no whole"),
    "that is armored and damaged": (lambda keys: damaged(keys.sign(SUMS, "right")), ""),
    "that brings its own data along": (
        lambda keys: keys.gpg("--local-user", "right@example.org", "--compress-level", "0", "--sign", input=SUMS),
        "it is no detached signature",
    ),
    "that is a key": (lambda keys: keys.gpg("--export", "right@example.org"), "it is no detached signature"),
}
SIGNERS = ("right", "expired", "revoked", "old", "rsa")


def damaged(armored: bytes) -> bytes:
    """Change one letter in the middle of an armored block."""
    place = armored.index(b"\n\n") + 20
    return armored[:place] + (b"A" if armored[place : place + 1] != b"A" else b"B") + armored[place + 1 :]


def test_sums_without_a_good_signature_are_not_believed_and_nothing_is_downloaded(site: Site) -> None:
    vm = site.vm(*SIGNERS)
    sign, sums = site.server.url("SUMS.sign"), site.server.url("SUMS")
    for form, (make, words) in BAD.items():
        site.serve(SUMS_sign=make(site.keys))
        site.refused(vm, f"the signature {sign} of the checksums {sums} is not good: ", words, form=form)
    assert site.gets() == []


BAD_TEXT: dict[str, tuple[Signature, str]] = {
    "that is not signed": (lambda keys: SUMS, "the file is not signed"),
    "that was changed since": (
        lambda keys: keys.clearsign(SUMS, "right").replace(b"image.img", b"image.im9").replace(b"other", b"image"),
        "",
    ),
    "that was made longer since": (
        lambda keys: keys.clearsign(SUMS, "right").replace(b"\n\n", b"\n\n" + SUMS, 1),
        "",
    ),
    "with more than one text": (
        lambda keys: keys.clearsign(SUMS_OF_OTHER, "other") + keys.clearsign(SUMS, "right"),
        "more than one signed text",
    ),
    "with sums where headers are": (
        lambda keys: keys.clearsign(SUMS, "right").replace(b"\n\n", b"\n" + SUMS + b"\n", 1),
        "does not begin after an empty line",
    ),
    "without its end": (lambda keys: keys.clearsign(SUMS, "right")[:-40], "no whole signature"),
    "without a signature": (lambda keys: keys.clearsign(SUMS, "right").partition(b"-----BEGIN PGP SIGNATURE")[0], ""),
    "with an unescaped dash": (
        lambda keys: keys.clearsign(b"-x\n" + SUMS, "right").replace(b"- -x", b"-x"),
        "a line that begins with '-'",
    ),
    "by a key that nobody named": (lambda keys: keys.clearsign(SUMS, "other"), "not among those"),
    "by an expired key": (
        lambda keys: keys.clearsign(SUMS, "expired", options=("--faked-system-time", LONG_AGO)),
        "has expired",
    ),
    "with SHA-1": (lambda keys: keys.clearsign(SUMS, "rsa", options=("--digest-algo", "SHA1")), "SHA-1"),
}


def test_a_clearsigned_text_without_a_good_signature_is_not_believed(site: Site) -> None:
    vm = site.vm(*SIGNERS, at="SUMS")
    for form, (make, words) in BAD_TEXT.items():
        site.serve(SUMS=make(site.keys))
        site.refused(vm, "is not good: ", words, form=form)
    assert site.gets() == []


def test_a_good_signature_does_not_make_a_wrong_sum_right(site: Site) -> None:
    site.serve(SUMS=SUMS_OF_OTHER, SUMS_sign=site.keys.sign(SUMS_OF_OTHER, "right"))
    done = site.build(site.vm("right"))
    assert done.returncode != 0 and "is not what it should be" in done.stderr


@pytest.mark.parametrize("missing", ["SUMS.sign", "SUMS"])
def test_a_signature_or_sums_that_cannot_be_had_are_named(site: Site, missing: str) -> None:
    site.serve(SUMS_sign=site.keys.sign(SUMS, "right"))
    (site.server.directory / missing).unlink()
    site.refused(site.vm("right"), f"could not download the {'signature' if missing != 'SUMS' else 'checksums'}", "404")
    assert site.gets() == []


@pytest.mark.parametrize("announced", [True, False])
def test_a_signature_or_sums_larger_than_any_are_not_taken_apart(site: Site, announced: bool) -> None:
    mib = 1 << 20
    for path in ("/SUMS", "/SUMS.sign"):
        site.server.faults[path] = Fault(content_length=announced)
    signature = site.keys.sign(SUMS, "right")
    site.serve(SUMS_sign=signature.ljust(mib + 1, b"\n"))
    site.refused(site.vm("right"), f"could not download the signature {site.server.url('SUMS.sign')}", "than 1 MiB")
    assert site.gets("/SUMS") == site.gets() == [] and site.gets("/SUMS.sign") == [200]
    sums = SUMS.ljust(16 * mib, b"\n")
    site.serve(SUMS=sums + b"\n", SUMS_sign=signature)
    site.refused(site.vm("right"), f"could not download the checksums {site.server.url('SUMS')}", "than 16 MiB")
    assert site.gets() == []
    site.serve(SUMS=sums, SUMS_sign=site.keys.sign(sums, "right").ljust(mib, b"\n"))
    site.accepted(site.vm("right"), of="SUMS", by="right")


@pytest.mark.parametrize("armor", [True, False])
@pytest.mark.parametrize("checksum", ["none", "value", "url"])
def test_an_image_that_is_itself_signed_needs_no_sum_and_may_have_one(site: Site, checksum: str, armor: bool) -> None:
    site.serve(image_img_sig=site.keys.sign(IMAGE, "right", armor=armor))
    given = {"none": {}, "value": {"value": hashlib.sha256(IMAGE).hexdigest()}, "url": {"url": site.server.url("SUMS")}}
    vm = site.vm("right", of="image", at="image.img.sig", **given[checksum])
    site.accepted(vm, of="image.img", by="right")
    assert site.gets() == [200]


BAD_IMAGE: dict[str, tuple[Signature, str]] = {
    "of another file": (lambda keys: keys.sign(OTHER, "right"), ""),
    "by a key that nobody named": (lambda keys: keys.sign(IMAGE, "other"), "not among those"),
    "by an expired key": (lambda keys: expired(keys, IMAGE), "has expired"),
    "by a revoked key": (lambda keys: keys.sign(IMAGE, "revoked"), "revoked"),
}
BAD_FORM: dict[str, tuple[Signature, str]] = {
    "with SHA-1": (lambda keys: keys.sign(IMAGE, "rsa", options=("--digest-algo", "SHA1")), "SHA-1"),
    "of text": (lambda keys: keys.sign(IMAGE, "right", options=("--textmode",)), "it is a signature of text"),
    "that is clearsigned text": (lambda keys: keys.clearsign(SUMS, "right"), "it is a signed text"),
    "that is a page": (lambda keys: b"<html>Please log in</html>\n", "it holds no whole"),
}


def test_an_image_is_not_even_downloaded_for_what_is_no_signature(site: Site) -> None:
    vm = site.vm(*SIGNERS, of="image", at="image.img.sig")
    for form, (make, words) in BAD_FORM.items():
        site.serve(image_img_sig=make(site.keys))
        site.refused(vm, site.server.url("image.img.sig"), words, form=form)
    assert site.gets() == []


def test_an_image_without_a_good_signature_is_removed(site: Site) -> None:
    vm = site.vm(*SIGNERS, of="image", at="image.img.sig")
    url, sign = site.server.url("image.img"), site.server.url("image.img.sig")
    for form, (make, words) in BAD_IMAGE.items():
        site.serve(image_img_sig=make(site.keys))
        wrong = (f"{url} is not what it should be", f"the signature {sign} is not good: ", "what came is removed")
        site.refused(vm, *wrong, words, form=form)
    assert site.gets() == [200] * len(BAD_IMAGE)
    site.serve(image_img_sig=site.keys.sign(IMAGE, "right"))
    site.accepted(vm, of="image.img", by="right")


def test_a_sum_that_is_right_does_not_stand_in_for_the_signature(site: Site) -> None:
    site.serve(image_img_sig=site.keys.sign(OTHER, "right"))
    vm = site.vm("right", of="image", at="image.img.sig", value=hashlib.sha256(IMAGE).hexdigest())
    site.refused(vm, "is not what it should be", "is not good: ")


def test_an_archive_is_judged_before_it_is_unpacked(site: Site) -> None:
    packed = subprocess.run(["gzip"], input=IMAGE, check=True, capture_output=True).stdout
    site.serve(image_img=packed, image_img_sig=site.keys.sign(packed, "right"))
    vm = site.vm("right", of="image", at="image.img.sig")
    facts = json.loads((vm.directory / "vm.json").read_text())
    facts["image"]["archive"] = {"type": "gz"}
    (vm.directory / "vm.json").write_text(json.dumps(facts))
    site.accepted(vm, of="image.img", by="right")
    clean(vm)
    site.serve(image_img_sig=site.keys.sign(IMAGE, "right"))
    site.refused(vm, "is not good: ")


def killed_at(site: Site, vm: Vm, size: int) -> None:
    """Kill a run and all of its processes once so many bytes have come."""
    site.server.faults["/image.img"] = Fault(stall_after=size)
    environment = {**ENVIRONMENT, "PATH": site.path}
    run = subprocess.Popen(
        vm.command("build"),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    deadline = time.monotonic() + 20
    images = vm.directory.parent / "images"
    while not any(path.stat().st_size > size - 70_000 for path in images.glob("*.part")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    site.server.faults.clear()


@pytest.mark.parametrize("good", [True, False])
def test_what_an_earlier_run_has_left_is_checked_as_well(site: Site, good: bool) -> None:
    site.serve(image_img_sig=site.keys.sign(IMAGE, "right"))
    vm = site.vm("right", of="image", at="image.img.sig")
    killed_at(site, vm, 200_000)
    (part,) = (path for path in (vm.directory.parent / "images").glob("*.part") if "headers" not in path.name)
    content = part.read_bytes()
    if not good:
        part.write_bytes(OTHER[: len(content)])
    (part.parent / f"{part.name}.keyring.part").write_text("left by a run that was killed")
    site.accepted(vm, of="image.img", by="right")
    assert site.gets() == ([200, 206] if good else [200, 206, 200])


def test_a_part_that_is_whole_but_was_never_checked_gets_no_name_without_its_signature(site: Site) -> None:
    site.serve(image_img_sig=site.keys.sign(OTHER, "right"))
    vm = site.vm("right", of="image", at="image.img.sig")
    killed_at(site, vm, 200_000)
    (part,) = (path for path in (vm.directory.parent / "images").glob("*.part") if "headers" not in path.name)
    part.write_bytes(IMAGE)
    site.refused(vm, "is not good: ")


def test_without_a_program_that_checks_signatures_nothing_is_done(
    site: Site, paths: dict[str, str], default_pool: None
) -> None:
    site.serve(SUMS_sign=site.keys.sign(SUMS, "right"))
    vm = site.vm("right")
    site.path = paths[""]
    for target in ("build", "create", "up"):
        site.refused(
            vm, "gpgv or sqv is not installed; it is needed to check the signature of the image", target=target
        )
    assert site.server.requests == []


@pytest.mark.parametrize("content", [None, b"", b"nothing\n", b"damaged"])
def test_without_the_keys_nothing_is_done(site: Site, content: bytes | None) -> None:
    vm = site.vm("right")
    place = vm.directory / "image-keys.asc"
    if content is None:
        place.unlink()
    else:
        place.write_bytes(damaged(place.read_bytes()) if content == b"damaged" else content)
    site.refused(vm, "image-keys.asc", "'vmp gen' writes it anew")
    assert site.server.requests == []


def test_neither_the_home_of_the_user_nor_what_is_there_counts(site: Site, tmp_path: Path) -> None:
    """A keyring of the user's own, where gpgv looks without being told, has the key: it is not asked."""
    (home := tmp_path / "home" / ".gnupg").mkdir(parents=True, mode=0o700)
    (home / "trustedkeys.gpg").write_bytes(site.keys.gpg("--export", "other@example.org"))
    (home / "gpgv.conf").write_text(f"keyring {home}/trustedkeys.gpg\n")
    site.serve(SUMS_sign=site.keys.sign(SUMS, "other"))
    vm = site.vm("right")
    environment = {"PATH": site.path, "HOME": str(home.parent), "GNUPGHOME": str(home)}
    done = vm.make("build", check=False, environment=environment)
    assert done.returncode != 0 and "not among those" in done.stderr
    assert sorted(path.name for path in home.iterdir()) == ["gpgv.conf", "trustedkeys.gpg"]


def test_an_image_that_is_there_is_not_checked_again(site: Site) -> None:
    site.serve(SUMS_sign=site.keys.sign(SUMS, "right"))
    vm = site.vm("right")
    site.accepted(vm, of="SUMS", by="right")
    site.serve(SUMS_sign=b"")
    assert site.build(vm).returncode == 0
    assert site.gets("/SUMS.sign") == [200]


def test_an_image_that_was_never_verified_is_as_the_how_to_says_and_no_volume_is_touched(site: Site) -> None:
    page = (ROOT / "docs/how-to/verify-images.md").read_text()
    (way,) = re.findall("`make ([a-z -]+)`\n  downloads it anew and verifies it", page)
    site.serve(SUMS_sign=site.keys.sign(SUMS, "right"))
    vm = site.vm("right")
    (images := vm.directory.parent / "images").mkdir()
    (images / "disk.img").write_bytes(OTHER)
    done = vm.make(*way.split(), environment={"PATH": site.path, "V": "1"})
    assert f"signature of SUMS is good: key {site.keys.fingerprint('right')}\n" in done.stderr
    assert (images / "disk.img").read_bytes() == IMAGE
    assert "+ virsh" not in done.stderr and not re.search("[^`]*make[^`]*delete", page)


def test_with_both_programs_gpgv_is_asked(site: Site, tmp_path: Path) -> None:
    site.serve(SUMS_sign=site.keys.sign(SUMS, "right"))
    vm = site.vm("right")
    done = vm.make("build", environment={"V": "1"})
    assert "+ gpgv --homedir " in done.stderr and "+ sqv" not in done.stderr


def test_an_image_of_ones_own_is_signed_as_the_how_to_says(site: Site) -> None:
    page = (ROOT / "docs/how-to/verify-images.md").read_text()
    served = site.server.directory
    (served / "disk.qcow2").write_bytes(IMAGE)
    commands = re.findall(r"^\$ gpg (.*)$", page, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        line = f"gpg --batch -u right@example.org {command.replace('you@', 'right@')}"
        environment = {**os.environ, "GNUPGHOME": str(site.keys.home)}
        subprocess.run(["sh", "-c", line], check=True, cwd=served, env=environment)
    (block,) = re.findall(r"test: registry verify-mine.yaml -->\n```yaml\n(.*?)```", page, re.DOTALL)
    site.base.mkdir(parents=True)
    (served / "keys.asc").rename(site.base / "keys.asc")
    rest = """
nodes: [{name: here, libvirt: {connection: {uri: qemu:///system}}}]
vms:
  - name: web
    nodeName: here
    image: mine
    provisioner: v1alpha1
    libvirt:
      domain: {name: web}
      volumes: [{name: mine.qcow2, poolName: default, uploadFile: {path: ../images/disk.img}}]
"""
    registry = site.base / "registry.yaml"
    registry.write_text(block.replace("https://images.example.org/", site.server.url("")) + rest)
    out = site.base / "out"
    words = [sys.executable, "-m", "vmp", "gen", "--registry", str(registry), "--base-dir", str(out)]
    subprocess.run(words, check=True, capture_output=True)
    site.accepted(Vm(out / "web"), of="disk.qcow2", by="right")
    assert (out / "web/image-keys.asc").read_bytes() == (site.base / "keys.asc").read_bytes()

"""The files of public keys that a registry names: which are read, and which are refused."""

from __future__ import annotations

import base64
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import codes
from signing import Keys, gpg_home

from vmp.compiler import Compiler
from vmp.diagnostics import Report
from vmp.keys import MAX_KEYS, judge_keys
from vmp.provisioners.v1alpha1.runtime.openpgp import crc24, dearmored, packets
from vmp.registry import load


@pytest.fixture(scope="module")
def keys() -> Iterator[Keys]:
    with gpg_home() as home:
        yield Keys(home)


REGISTRY = """
nodes: [{name: here, libvirt: {connection: {uri: "qemu:///system"}}}]
images:
  - name: disk
    tags:
      - pattern: (?P<file>.*)
        url: https://example.org/disk
        volumeName: disk
        checksum: {signature: {url: "https://example.org/disk.sig", of: image, keys: "{file}"}}
templates: [{name: small, nodeName: here, provisioner: v1alpha1, libvirt: {domain: {name: d}}}]
vms:
"""
VM = "{{name: vm{number}, template: small, image: 'disk:{file}'}}"


def registry(*files: str) -> str:
    return REGISTRY + "".join([f"  - {VM.format(number=number, file=file)}\n" for number, file in enumerate(files)])


def compiled(location: str, names: tuple[str, ...] = ()) -> tuple[list[bytes], Report]:
    """Return the keys of the VMs that are compiled."""
    report = Report()
    compiler = Compiler(load((location,), report), report)
    return [found.image_keys for found in compiler.compile(compiler.select(names))], report


def test_a_path_is_relative_to_the_file_that_it_is_written_in(tmp_path: Path, keys: Keys) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/registry.yaml").write_text(registry("../keys.asc", str(tmp_path / "own.asc")))
    (tmp_path / "a/keys.asc").write_bytes(right := keys.public("right"))
    (tmp_path / "own.asc").write_bytes(other := keys.public("other"))
    found, report = compiled(str(tmp_path / "a"))
    assert found == [right, other] and not report


def test_on_standard_input_a_path_is_relative_to_the_working_directory(
    tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keys.asc").write_bytes(right := keys.public("right"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(registry("keys.asc").encode())))
    found, report = compiled("-")
    assert found == [right] and not report


def test_a_file_is_read_once_and_only_for_vms_that_are_compiled(tmp_path: Path, keys: Keys) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "keys.asc").write_bytes(keys.public("right"))
    (tmp_path / "registry.yaml").write_text(registry("keys.asc", "keys.asc", "fifo"))
    report = Report()
    compiler = Compiler(load((str(tmp_path / "registry.yaml"),), report), report)
    assert len(compiler.compile(["vm0"])) == 1
    (tmp_path / "keys.asc").unlink()
    assert len(compiler.compile(["vm1"])) == 1 and not report
    compiler.compile(["vm2"])
    assert [found.message for found in report.diagnostics] == [f"{str(tmp_path / 'fifo')!r} is not a regular file"]


def test_a_file_that_is_too_large_is_refused(tmp_path: Path, keys: Keys) -> None:
    right = keys.public("right")
    (tmp_path / "keys.asc").write_bytes(b"\n" * (MAX_KEYS - len(right)) + right)
    (tmp_path / "registry.yaml").write_text(registry("keys.asc"))
    assert not compiled(str(tmp_path / "registry.yaml"))[1]
    (tmp_path / "keys.asc").write_bytes(b"\n" * (MAX_KEYS - len(right) + 1) + right)
    found, report = compiled(str(tmp_path / "registry.yaml"))
    assert found == [] and codes(report) == ["cannot-read"]
    assert report.diagnostics[0].message.endswith("keys.asc' is larger than 1 MiB")


@given(st.binary())
def test_any_bytes_are_judged(content: bytes) -> None:
    for armored in (
        content,
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n" + content + b"\n-----END PGP PUBLIC KEY BLOCK-----\n",
    ):
        assert judge_keys(armored) is not None


def test_a_private_key_is_none_of_the_keys_however_it_is_dressed(keys: Keys) -> None:
    words = ("--local-user", "right@example.org", "--export-secret-keys", "right@example.org")
    private, armored = keys.gpg(*words), keys.gpg("--armor", *words)
    public = keys.public("right")
    for content in (private, armored, public + armored, armored.replace(b"PRIVATE", b"PUBLIC")):
        wrong = judge_keys(content)
        assert wrong is not None and wrong[0] == "holds a private key"
        assert "a private key must never be here" in (wrong[1] or "")


def test_public_keys_are_taken_one_block_or_several_with_text_around(keys: Keys) -> None:
    for content in (keys.public("right"), keys.public("right", "expired", "revoked"), keys.public("rsa", "old")):
        assert judge_keys(content) is None
        assert judge_keys(content.replace(b"\n", b"\r\n")) is None
    assert judge_keys(keys.public("right")[:-40]) is not None
    assert judge_keys(keys.gpg("--export", "right@example.org")) is not None


def reads(content: bytes) -> bool:
    """Tell whether provisioner.py can read a file of keys."""
    try:
        list(packets(dearmored(content, "PUBLIC KEY BLOCK")))
    except ValueError:
        return False
    return True


def armor(data: bytes) -> bytes:
    begin, end = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n", b"\n-----END PGP PUBLIC KEY BLOCK-----\n"
    return begin + base64.b64encode(data) + b"\n=" + base64.b64encode(crc24(data)) + end


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "a character that is not of base64": lambda key: key.replace(b"\n\nm", b"\n\n!m"),
    "a space within a line": lambda key: key.replace(b"\n\nm", b"\n\nm "),
    "a line that is missing": lambda key: re.sub(rb"\n\n[^\n]+\n", b"\n\n", key),
    "a line that is there twice": lambda key: re.sub(rb"\n\n([^\n]+\n)", rb"\n\n\1\1", key),
    "another bit": lambda key: re.sub(rb"(?<=\n\nm.{20}).", lambda found: b"B" if found[0] == b"A" else b"A", key),
    "another checksum": lambda key: re.sub(rb"\n=....\n", b"\n=AAAA\n", key),
    "a checksum that is none": lambda key: re.sub(rb"\n=....\n", b"\n=A=AA\n", key),
    "text behind its end": lambda key: key.replace(b"END PGP PUBLIC KEY BLOCK-----", b"END PGP PUBLIC KEY BLOCK-----x"),
    "no end": lambda key: key.replace(b"-----END PGP PUBLIC KEY BLOCK-----", b""),
    "half a packet": lambda key: armor(dearmored(key, "PUBLIC KEY BLOCK")[:-9]),
    "a packet in parts": lambda key: armor(dearmored(key, "PUBLIC KEY BLOCK") + b"\xc6\xe0\x00"),
    "a packet of no length": lambda key: armor(dearmored(key, "PUBLIC KEY BLOCK") + b"\x9b\x00"),
    "bytes behind the packets": lambda key: armor(dearmored(key, "PUBLIC KEY BLOCK") + b"\x00"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_keys_that_the_provisioner_cannot_read_are_refused_when_they_are_compiled(keys: Keys, damage: str) -> None:
    right = keys.public("right")
    assert reads(right) and judge_keys(right) is None
    damaged = DAMAGED[damage](right)
    assert damaged != right
    for content in (damaged, right + damaged, damaged + right):
        assert not reads(content) and judge_keys(content) is not None


@given(st.data())
def test_whatever_keys_are_taken_the_provisioner_can_read(keys: Keys, data: st.DataObject) -> None:
    right = keys.public("right", "other")
    place = data.draw(st.integers(0, len(right)))
    changed = right[:place] + data.draw(st.binary(max_size=3)) + right[place + data.draw(st.integers(0, 3)) :]
    assert judge_keys(changed) is not None or reads(changed)


def test_keys_with_headers_or_without_checksums_are_taken_by_both(keys: Keys) -> None:
    right = keys.public("right", "other")
    with_headers = right.replace(b"BLOCK-----\n\n", b"BLOCK-----\nVersion: 1\nComment: a: b\n\n")
    without_checksums = re.sub(rb"\n=....\n", b"\n", right)
    with_empty_lines = re.sub(rb"\n=", b"\n\n=", right)
    for content in (with_headers, with_headers + with_headers, without_checksums, with_empty_lines, right + right):
        assert reads(content) and judge_keys(content) is None

"""The files of public keys that a registry names: which are read, and which are refused."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import codes
from signing import Keys, gpg_home

from vmp.compiler import Compiler
from vmp.diagnostics import Report
from vmp.keys import MAX_KEYS, judge_keys
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

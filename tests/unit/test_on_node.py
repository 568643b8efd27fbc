"""What the node is told where it downloads the image: which libvirt, which image, in words that any shell reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_line import run
from fields import KEYS

from vmp.provisioners.plan_v1alpha1 import node_plan
from vmp.provisioners.v1alpha1.connection import uri_on_node
from vmp.provisioners.v1alpha1.runtime.definition import definition_of
from vmp.provisioners.v1alpha1.runtime.facts import Vm, read_vm
from vmp.provisioners.v1alpha1.runtime.members import members_of
from vmp.provisioners.v1alpha1.runtime.node_download import clean_node, facts_for_node, make_there
from vmp.provisioners.v1alpha1.runtime.signature import armored_keys, keyring_of
from vmp.provisioners.v1alpha1.runtime.ssh import ssh_command
from vmp.schema import Connection, NodeEntry, NodeLibvirt


@pytest.mark.parametrize(
    ("uri", "there"),
    [
        ("qemu+ssh://host/system", "qemu:///system"),
        ("qemu+ssh://user@[::1]:2222/session?keyfile=/k&no_verify=1", "qemu:///session"),
        ("qemu+ssh://host/system?socket=/run/a%20b", "qemu+unix:///system?socket=/run/a%20b"),
        ("qemu+ssh://host/system?proxy=native;mode=direct&socket=/s", "qemu+unix:///system?mode=direct&socket=/s"),
        ("xen+ssh://host", "xen:///"),
        ("qemu:///system", ""),
        ("qemu+ssh:///system", ""),
        ("qemu+tcp://host/system", ""),
        ("qemu+libssh://host/system", ""),
    ],
)
def test_the_uri_on_the_node_is_that_of_the_same_libvirt(uri: str, there: str) -> None:
    node = NodeEntry(name="far", libvirt=NodeLibvirt(connection=Connection(uri=uri)))
    assert uri_on_node(node_plan(node).connection) == there


def registry(download: str | None, **tag: Any) -> dict[str, Any]:
    libvirt: dict[str, Any] = {"connection": {"uri": "qemu+ssh://root@host/system"}}
    if download:
        libvirt["imageDownload"] = download
    volumes = [
        {"name": "disk.img", "poolName": "default", "capacity": "1G", "uploadFile": {"path": ".images/disk.img"}},
        {"name": "own", "poolName": "default", "uploadFile": {"path": "own.img"}},
    ]
    return {
        "nodes": [{"name": "far", "libvirt": libvirt}],
        "images": [
            {
                "name": "guest",
                "tags": [{"pattern": "latest", "url": "https://host/a", "volumeName": "disk.img", **tag}],
            }
        ],
        "vms": [
            {
                "name": name,
                "provisioner": "v1alpha1",
                "nodeName": "far",
                "image": "guest",
                "libvirt": {"domain": {"name": name}, "volumes": volumes},
            }
            for name in ("a", "b")
        ],
    }


def generate(base: Path, download: str | None, **tag: Any) -> Path:
    outcome = run("gen", "--base-dir", str(base), stdin=json.dumps(registry(download, **tag)).encode())
    assert outcome.code == 0, outcome.errors
    return base


def vm_of(directory: Path) -> Vm:
    return read_vm(str(directory))


def test_that_the_client_downloads_need_not_be_said(tmp_path: Path) -> None:
    said, left_out = generate(tmp_path / "said", "client"), generate(tmp_path / "left out", None)
    files = sorted(path.relative_to(said) for path in said.rglob("*") if path.is_file())
    assert all((said / path).read_bytes() == (left_out / path).read_bytes() for path in files)


def test_the_definition_is_the_same_whoever_downloads(tmp_path: Path) -> None:
    assert len({definition_of(vm_of(generate(tmp_path, download) / "a")) for download in ("client", "node")}) == 1


def test_the_node_is_told_of_the_volumes_that_it_fills_and_of_nothing_else(tmp_path: Path) -> None:
    vm = vm_of(generate(tmp_path, "node") / "a")
    there = facts_for_node(vm)
    assert there["connection"] == {"uri": "qemu:///system"} and there["name"] == "a on far"
    assert [volume["name"] for volume in there["volumes"]] == ["disk.img"]
    assert there["domain"]["virtInstall"] == [] and there["domain"]["usedPools"] == ["default"]
    assert there["volumes"][0]["file"] == there["image"]["path"]


def test_the_node_takes_the_members_of_the_image_out_itself(tmp_path: Path) -> None:
    members = [
        {"name": name, "poolName": "default", "format": "raw", "uploadFile": {"path": path, "member": "casper/vmlinuz"}}
        for name, path in (("kernel", ".images/disk.img"), ("other", "other.iso"))
    ]
    written = registry("node")
    written["vms"][0]["libvirt"]["volumes"] += members
    outcome = run("gen", "--base-dir", str(tmp_path), stdin=json.dumps(written).encode())
    assert outcome.code == 0, outcome.errors
    vm = vm_of(tmp_path / "a")
    assert [volume.by_node for volume in vm.volumes] == [True, False, True, False]
    there = Vm(str(tmp_path), facts_for_node(vm))
    assert [(volume.name, volume.file) for volume in there.volumes] == [
        ("disk.img", there.image.path),
        ("kernel", ".members/default/kernel"),
    ]
    assert there.volumes[1].member == (there.image.path, "casper/vmlinuz")
    assert [volume.name for volume in members_of(vm)] == ["other"]
    assert [volume.name for volume in members_of(there)] == ["kernel"]


def test_vms_share_the_file_on_the_node_only_where_all_that_is_said_of_the_image_is_the_same(tmp_path: Path) -> None:
    sums: list[dict[str, Any]] = [{"value": "0" * 64}, {"value": "1" * 64}, {"url": "https://host/sums"}]
    files = [tmp_path / "keys.asc", tmp_path / "other keys.asc"]
    for file in files:
        file.write_bytes(KEYS.read_bytes() + file.name.encode() + b"\xfc\n")
    signature = {"url": "https://host/sums.sign", "keys": str(files[0])}
    signatures = [signature, {**signature, "url": "https://host/b"}, {**signature, "keys": str(files[1])}]
    sums += [{"url": "https://host/sums", "signature": found} for found in [*signatures, {**signature, "of": "image"}]]
    tags: list[dict[str, Any]] = [{}, {"url": "https://host/b"}, {"archive": {"type": "xz"}}]
    places: list[str] = []
    for tag in [*tags, *[{"checksum": checksum} for checksum in sums]]:
        base = generate(tmp_path, "node", **tag)
        found = {facts_for_node(vm_of(base / vm))["image"]["path"] for vm in ("a", "b")}
        assert len(found) == 1
        places += found
    assert len(set(places)) == len(places)


def test_the_node_gets_the_keys_byte_for_byte_with_the_facts(tmp_path: Path) -> None:
    file = tmp_path / "keys.asc"
    file.write_bytes(KEYS.read_bytes() + bytes(range(128, 256)))
    signature = {"url": "https://host/sums.sign", "keys": str(file)}
    vm = vm_of(generate(tmp_path / "vms", "node", checksum={"url": "https://host/sums", "signature": signature}) / "a")
    (tmp_path / "there").mkdir()
    (tmp_path / "there/vm.json").write_text(json.dumps(facts_for_node(vm)))
    there = vm_of(tmp_path / "there")
    assert armored_keys(there) == armored_keys(vm) == file.read_bytes()
    assert keyring_of(there) == keyring_of(vm)
    assert (there.image.signature_url, there.image.signature_of) == ("https://host/sums.sign", "sums")


def test_an_older_provisioner_refuses_a_signed_image_rather_than_ignore_the_signature(tmp_path: Path) -> None:
    signature = {"url": "https://host/sums.sign", "keys": str(KEYS)}
    signed = generate(tmp_path / "signed", "node", checksum={"url": "https://host/sums", "signature": signature}) / "a"
    unsigned = generate(tmp_path / "unsigned", "node", checksum={"url": "https://host/sums"}) / "a"
    formats = [json.loads((vm / "vm.json").read_text())["format"] for vm in (unsigned, signed)]
    assert formats == [1, 2], "1 is all that the first provisioner.py took"
    assert facts_for_node(vm_of(signed))["format"] == 2


SHELLS = [name for name in ("sh", "dash", "bash", "busybox", "zsh", "fish", "tcsh", "ksh") if shutil.which(name)]


@pytest.mark.parametrize("login_shell", SHELLS)
def test_any_login_shell_reads_what_the_node_is_told(
    login_shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`ssh` gives the node one text, which the login shell of the user there reads first."""
    vm = generate(tmp_path / "vms", "node") / "a"
    (home := tmp_path / 'it\'s a "home" of $USER').mkdir()
    ssh = tmp_path / "ssh"
    words = f"{shutil.which(login_shell)} {'sh' if login_shell == 'busybox' else ''} -c"
    ssh.write_text(f'#!/bin/sh\nfor last; do :; done\nexec {words} "$last"\n')
    ssh.chmod(0o755)
    plan = json.loads((vm / "vm.json").read_text())
    plan["connection"]["ssh"] = {"host": "host", "command": str(ssh)}
    (vm / "vm.json").write_text(json.dumps(plan))
    ours = vm_of(vm)
    program = b"""
import os, sys
os.chdir(os.path.dirname(os.path.abspath(__file__)))
print(sys.argv[1], os.environ.get("V1ALPHA1_COMMAND_TIMEOUT_SECS"), os.path.basename(os.getcwd()))
print(open("vm.json").read(), end="")
"""
    facts = json.dumps(facts_for_node(ours)).encode()
    monkeypatch.setenv("HOME", str(home))
    for _ in range(2):
        assert make_there(ours, program, facts, "7") == 0
        assert capfd.readouterr().err.encode() == f"create/volume 7 {ours.domain.uuid}\n".encode() + facts
    assert [path.name for path in (home / ".cache/vmp").iterdir()] == [ours.domain.uuid]
    clean_node(ours)
    assert not (home / ".cache/vmp").exists()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ("known_hosts=/a%20b/known&known_hosts_verify=Auto", ["StrictHostKeyChecking=accept-new", "/a b/known"]),
        ("known_hosts_verify=ignore", ["StrictHostKeyChecking=no"]),
        ("known_hosts_verify=normal", ["StrictHostKeyChecking=ask"]),
        ("keyfile=/k", []),
    ],
)
def test_what_a_libssh_uri_says_of_host_keys_counts_for_the_jump(
    parameters: str, words: list[str], tmp_path: Path
) -> None:
    text = json.dumps(registry(None)).replace("qemu+ssh://root@host/system", f"qemu+libssh://host/system?{parameters}")
    text = text.replace('{"name": "a", "provisioner"', '{"ssh": {}, "name": "a", "provisioner"')
    assert run("gen", "--base-dir", str(tmp_path), stdin=text.encode()).code == 0
    command, _ = ssh_command(vm_of(tmp_path / "a"), "192.168.122.7", "")
    (jump,) = [word for word in command if word.startswith("ProxyCommand=")]
    assert all(word in jump for word in words), jump
    assert ("StrictHostKeyChecking" in jump) == bool(words)

"""Volumes from files inside an ISO image: the right bytes, by every program, or none at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blank import blank, blank_image
from isos import FILES, having, installer
from world import Vm, domain_state, generate, virsh

READERS = ["xorriso", "bsdtar", "7z"]
KINDS = {"Rock Ridge and Joliet": ["-R", "-J"], "Rock Ridge": ["-R"], "Joliet": ["-J"]}

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")


def with_members(image: Path, base: Path, *names: str, more: dict[str, Any] | None = None) -> Vm:
    """Return a VM of which each of these members of an image fills a volume, called by its number."""
    path = base / "installer [1] of=all.iso"
    base.mkdir(parents=True, exist_ok=True)
    if image != path:
        shutil.copyfile(image, path)
    volumes = [
        {
            "name": f"member{number}",
            "poolName": "{VM_NAME}",
            "format": "raw",
            "uploadFile": {"path": f"../{path.name}", "member": name},
        }
        for number, name in enumerate(names)
    ]
    vm = {"name": "web", "template": "blank", "libvirt": {"volumes": volumes}, **(more or {})}
    return generate(
        blank(blank_image(image.parent, "deaf"), f"  - {json.dumps(vm).replace('{VM_NAME}', 'web')}\n"), base
    )["web"]


def taken(vm: Vm, number: int = 0) -> Path:
    return vm.directory / f".members/web/member{number}"


def content_of(volume: str, directory: Path) -> bytes:
    """Return what a volume of the pool `web` has."""
    target = directory / "downloaded"
    virsh("vol-download", "--pool", "web", volume, str(target))
    return target.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_every_program_takes_the_same_bytes_out(reader: str, kind: str, tmp_path: Path, base: Path) -> None:
    names = list(FILES)
    vm = with_members(installer(tmp_path, *KINDS[kind]), base, *names)
    said = vm.make("build", environment=having(tmp_path / "bin", reader, "genisoimage")).stderr
    for number, name in enumerate(names):
        assert taken(vm, number).read_bytes() == FILES[name], name
        assert taken(vm, number).stat().st_mode & 0o777 == 0o600
        assert f"took {name} out of ../installer [1] of=all.iso\n" in said
    assert not (vm.directory / ".members.tmp").exists()
    assert "took" not in vm.make("build").stderr
    vm.make("clean")
    assert not list(vm.directory.glob(".members*"))


@pytest.mark.parametrize("reader", READERS)
def test_names_of_an_image_without_extensions_are_found_as_linux_shows_them(
    reader: str, tmp_path: Path, base: Path
) -> None:
    vm = with_members(installer(tmp_path), base, "casper/vmlinuz", "/CASPER/INITRD")
    vm.make("build", environment=having(tmp_path / "bin", reader))
    assert taken(vm).read_bytes() == FILES["casper/vmlinuz"]
    assert taken(vm, 1).read_bytes() == FILES["casper/initrd"]


WRONG = {
    "casper/vmlinux": ["there is no such file in it; did you mean", "casper/vmlinuz"],
    "install/initrd": ["there is no such file in it; did you mean", "casper/initrd"],
    "boot/none": [
        "there is no such file in it",
        "its root has a b/, br[ck]et/, casper/, deep/, empty, stable, \u00e9.txt",
    ],
    "deep/er/none": ["there is no such file in it", "deep/er has -dash"],
    "deep/../../etc/passwd": ["there is no such file in it", "its root has"],
    "deep": ["it is a directory", "deep has er/"],
    "casper/link": ["it is a symbolic link there, to vmlinuz", "name the file that it leads to"],
    "casper/outside": ["it is a symbolic link there, to /etc/passwd"],
    "stable/vmlinuz": ["there is no such file in it; did you mean", "casper/vmlinuz"],
    "empty": ["it is empty there"],
    "deep/*/-dash": ["there is no such file in it; did you mean", "deep/er/-dash"],
}


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_of_the_image_is_said_and_nothing_is_made(reader: str, tmp_path: Path, base: Path) -> None:
    image, environment = installer(tmp_path, "-R"), having(tmp_path / "bin", reader)
    for name, reasons in WRONG.items():
        vm = with_members(image, base, name)
        refused = vm.make("up", check=False, environment=environment)
        assert refused.returncode == 2
        assert f"error: cannot take {name} out of ../installer [1] of=all.iso\n" in refused.stderr
        for reason in reasons:
            assert f"  {reason}" in refused.stderr, (name, refused.stderr)
        assert domain_state() == "gone" and "web" not in virsh("pool-list", "--all", "--name").split()
        assert not taken(vm).exists() and not list(vm.directory.glob(".members.tmp"))


@pytest.mark.parametrize("reader", READERS)
def test_of_a_part_of_an_image_nothing_is_taken(reader: str, tmp_path: Path, base: Path) -> None:
    image, environment = installer(tmp_path, "-R"), having(tmp_path / "bin", reader)
    whole = image.read_bytes()
    for size in (len(whole) // 2, 60_000, 20_000, 10):
        image.write_bytes(whole[:size])
        vm = with_members(image, base, "casper/vmlinuz")
        refused = vm.make("build", check=False, environment=environment)
        assert refused.returncode == 2
        assert "casper/vmlinuz out of ../installer [1] of=all.iso" in refused.stderr
        assert not taken(vm).exists() and not list(vm.directory.glob(".members.tmp"))
    (base / "installer [1] of=all.iso").unlink()
    refused = vm.make("up", check=False, environment=environment)
    assert "there is no such file, or it is empty\n  volume web/member0 is to be filled with it" in refused.stderr


def test_a_missing_program_is_named_before_anything_is_changed(tmp_path: Path, base: Path) -> None:
    vm = with_members(installer(tmp_path, "-R"), base, "casper/vmlinuz")
    refused = vm.make("up", check=False, environment=having(tmp_path / "none"))
    message = "xorriso or bsdtar or 7zz or 7z is not installed; it is needed to take a file out of an ISO image"
    assert message in refused.stderr
    assert "web" not in virsh("pool-list", "--all", "--name").split()
    assert not list((base / "images of all").glob("*"))


def test_a_program_that_fails_is_followed_by_the_next(tmp_path: Path, base: Path) -> None:
    vm = with_members(installer(tmp_path, "-R"), base, "casper/vmlinuz")
    for fault in ("exit 3", "kill -SEGV $$", "exit 0", "exec sleep 1000"):
        vm.make("clean")
        environment = having(tmp_path / f"bin-{fault.replace(' ', '')}", "xorriso", "7z", "genisoimage")
        xorriso = Path(environment["PATH"]) / "xorriso"
        xorriso.unlink()
        xorriso.write_text(f"#!/bin/sh\nexec 2>/dev/null; {fault}\n")
        xorriso.chmod(0o755)
        vm.make("build", "V1ALPHA1_COMMAND_TIMEOUT_SECS=1", environment=environment)
        assert taken(vm).read_bytes() == FILES["casper/vmlinuz"], fault
    (Path(environment["PATH"]) / "7z").unlink()
    vm.make("clean")
    refused = vm.make("build", "V1ALPHA1_COMMAND_TIMEOUT_SECS=1", check=False, environment=environment)
    assert "the image cannot be read:\n  xorriso took longer than 1 seconds" in refused.stderr


def test_an_image_of_udf_alone_needs_7z(tmp_path: Path, base: Path) -> None:
    image = installer(tmp_path, "-udf", "-hide", "*", "-hide", "casper")
    vm = with_members(image, base, "casper/vmlinuz")
    refused = vm.make("build", check=False, environment=having(tmp_path / "without", "xorriso", "bsdtar"))
    assert "it is no ISO image, or only a part of one\n  if it has UDF alone" in refused.stderr
    vm.make("build", environment=having(tmp_path / "with", "xorriso", "bsdtar", "7z"))
    assert taken(vm).read_bytes() == FILES["casper/vmlinuz"]


def test_clean_removes_members_of_volumes_that_have_left_the_registry(tmp_path: Path, base: Path) -> None:
    image = installer(tmp_path, "-R")
    vm = with_members(image, base, "casper/vmlinuz", "casper/initrd")
    vm.make("build")
    with_members(image, base).make("clean")
    assert not list(vm.directory.glob(".members*"))


def test_names_in_an_image_tell_the_terminal_nothing(tmp_path: Path, base: Path) -> None:
    files = {"a/ha\x1b[31mha": b"x", "b": b"y"}
    vm = with_members(installer(tmp_path, "-R", files=files), base, "a/none")
    refused = vm.make("build", check=False)
    assert "a has haha" in refused.stderr and "\x1b" not in refused.stderr


def test_a_second_name_of_the_same_bytes_is_taken_by_another_program_than_bsdtar(tmp_path: Path, base: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "one").write_bytes(b"same" * 1000)
    os.link(tree / "one", tree / "two")
    image = tmp_path / "links.iso"
    subprocess.run(["genisoimage", "-quiet", "-R", "-cache-inodes", "-o", image, tree], check=True)
    vm = with_members(image, base, "two")
    refused = vm.make("build", check=False, environment=having(tmp_path / "bsdtar", "bsdtar"))
    assert "or a second name of another file, which xorriso or 7z can take out" in refused.stderr
    vm.make("build", environment=having(tmp_path / "both", "bsdtar", "7z"))
    assert taken(vm).read_bytes() == b"same" * 1000


@pytest.fixture
def from_image(tmp_path: Path, base: Path) -> Iterator[tuple[Vm, Path]]:
    """A VM whose image is the ISO: a CD-ROM of it, and two volumes of its members."""
    image = installer(tmp_path, "-R", "-J")
    vm = image_vm(image, base)
    yield vm, image
    vm.make("kill", check=False)
    vm.make("delete-all", "clean-all", check=False)


def image_vm(image: Path, base: Path, member: str = "casper/initrd") -> Vm:
    registry = f"""
nodes: [{{name: localhost, libvirt: {{connection: {{uri: "qemu:///system"}}}}}}]
images: [{{name: installer, tags: [{{pattern: latest, url: "file://{image}", volumeName: cd.iso, format: raw}}]}}]
vms:
  - name: web
    provisioner: v1alpha1
    nodeName: localhost
    image: installer
    vars: {{V1ALPHA1_STOP_TIMEOUT_SECS: 0}}
    libvirt:
      domain:
        name: web
        virtInstall:
          osinfo: linux2022
          memory: 64
          graphics: none
          network: none
          disk:
            - {{name: cd, options: {{vol: web/cd.iso, device: cdrom}}}}
            - {{name: kernel, options: {{vol: web/kernel, bus: virtio, readonly: "on"}}}}
      pools: [{{name: web, directory: {{path: /var/lib/libvirt/images/web}}}}]
      volumes:
        - {{name: cd.iso, poolName: web, format: raw, uploadFile: {{path: .images/cd.iso}}}}
        - {{name: kernel, poolName: web, format: raw, uploadFile: {{path: .images/cd.iso, member: casper/vmlinuz}}}}
        - name: initrd
          poolName: web
          format: raw
          deletionPolicy: Retain
          uploadFile: {{path: .images/cd.iso, member: {member}}}
"""
    return generate(registry, base)["web"]


def test_a_kernel_an_initrd_and_the_image_itself_come_from_one_iso(
    from_image: tuple[Vm, Path], tmp_path: Path, base: Path
) -> None:
    vm, image = from_image
    said = vm.make("up").stderr
    assert said.index("downloaded .images/cd.iso") < said.index("took casper/vmlinuz out of .images/cd.iso")
    assert content_of("kernel", tmp_path) == FILES["casper/vmlinuz"]
    assert content_of("initrd", tmp_path) == FILES["casper/initrd"]
    assert content_of("cd.iso", tmp_path) == image.read_bytes()
    assert vm.make("up").stderr == "web: is running\n"
    assert vm.make("diff").stderr == "web: is as the directory says\n"
    vm.make("clean-all")
    assert not list(vm.directory.glob(".members*")) and not (vm.directory / ".images").exists()
    assert vm.make("up").stderr == "web: is running\n", "what is up needs no file"
    image_vm(image, base, "deep/er/-dash")
    differs = vm.make("diff", check=False)
    line = "volume web/initrd: filled from casper/initrd of .images/cd.iso → deep/er/-dash of .images/cd.iso"
    assert line in differs.stdout
    image_vm(image, base)
    said = vm.make("down").stderr
    assert "deleted volume web/kernel" in said and "deleted volume web/initrd" not in said
    vm.make("up")
    assert content_of("initrd", tmp_path) == FILES["casper/initrd"]


def test_a_replaced_image_gives_its_members_anew(from_image: tuple[Vm, Path], tmp_path: Path) -> None:
    vm, image = from_image
    vm.make("build")
    assert taken_of(vm, "initrd") == FILES["casper/initrd"]
    other = {**FILES, "casper/initrd": b"newer!\n"}
    installer(tmp_path, "-R", "-J", files=other)
    before = (vm.directory / ".images/cd.iso").stat()
    shutil.copyfile(image, vm.directory / ".images/cd.iso")
    assert (vm.directory / ".images/cd.iso").stat().st_size == before.st_size
    said = vm.make("up").stderr
    assert "took casper/initrd out of .images/cd.iso" in said
    assert content_of("initrd", tmp_path) == b"newer!\n"


def test_a_kernel_that_is_no_disk_is_not_taken_out_of_an_older_image(
    from_image: tuple[Vm, Path], tmp_path: Path
) -> None:
    vm, _ = from_image
    vm.make("create/volume")
    installer(tmp_path, "-R", "-J", files={**FILES, "casper/initrd": b"newer!\n"})
    vm.make("delete/volume", "clean-all")
    refused = vm.make("up", check=False)  # the volume is one with Retain
    assert refused.returncode != 0 and "volume web/initrd is something else than .members/web/initrd" in refused.stderr
    assert "or delete it when it is not needed" in refused.stderr
    assert content_of("initrd", tmp_path) == FILES["casper/initrd"]
    virsh("vol-delete", "--pool=web", "--vol=initrd")
    vm.make("up")
    assert content_of("initrd", tmp_path) == b"newer!\n"


def taken_of(vm: Vm, name: str) -> bytes:
    return (vm.directory / f".members/web/{name}").read_bytes()


def test_a_run_that_dies_between_extraction_and_upload_is_gone_on_with(
    from_image: tuple[Vm, Path], tmp_path: Path
) -> None:
    vm, _ = from_image
    shim = tmp_path / "slow"
    environment = having(shim, "xorriso", "genisoimage")
    (shim / "xorriso").unlink()
    (shim / "xorriso").write_text('#!/bin/sh\n/usr/bin/xorriso "$@"; code=$?; touch "$0.ran"; sleep 60; exit $code\n')
    (shim / "xorriso").chmod(0o755)
    process = subprocess.Popen(
        ["setsid", str(vm.directory / "provisioner.py"), "up"],
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(shim.glob("*.ran")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.kill()
    process.wait()
    assert not list(vm.directory.glob(".members/web/*")), "a member is there whole, or not at all"
    vm.make("up")
    assert content_of("kernel", tmp_path) == FILES["casper/vmlinuz"]
    assert not list(vm.directory.glob(".members.tmp"))
    taken_file = vm.directory / ".members/web/kernel"
    taken_file.write_bytes(taken_file.read_bytes()[:100])
    vm.make("down", "up")
    assert content_of("kernel", tmp_path) == FILES["casper/vmlinuz"], "a member that was cut off is taken out anew"

"""A disk that is full: the node's, below a pool, and the client's, below the provisioner."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from world import Vm, virsh

from faults.scenes import IMAGE, Stage

pytestmark = pytest.mark.lab


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[None]:
    """A file system of that size over a directory, with what the directory holds."""
    path.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as held:
        shutil.copytree(path, held, dirs_exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], check=True)
        shutil.copytree(held, path, dirs_exist_ok=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def resize(path: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", path], check=True)


def fill(path: Path) -> Path:
    """Leave no byte."""
    filler = path / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


@pytest.mark.parametrize(("pool", "directory"), [("default", "."), ("vm", "vm")])
def test_a_full_pool_is_named_and_filled_once_there_is_room(stage: Stage, pool: str, directory: str) -> None:
    vm = stage.fresh()["vm"]
    path = Path("/var/lib/libvirt/images") / directory
    with small_disk(path, "256k"):
        failed = vm.make("up", check=False)
        assert failed.returncode != 0
        assert "vm: error: " in failed.stderr
        assert f"volume {pool}/" in failed.stderr.split("error: ")[1]
        assert "No space left on device" in failed.stderr
        resize(path, "64m")
        vm.make("up")
        for name, file in {
            "default/" + IMAGE: stage.base / "images" / IMAGE,
            "vm/seed.iso": vm.directory / "seed.iso",
        }.items():
            assert Path("/var/lib/libvirt/images", name.removeprefix("default/")).read_bytes() == file.read_bytes()
        assert virsh("domstate", "vm").strip() == "running"
        vm.make("delete-all")
        virsh("pool-refresh", "default")


FULL = "full"


def nothing(vm: Vm) -> None:
    pass


def image_without_seed(vm: Vm) -> None:
    vm.make("build")
    vm.make("clean")


def volumes(vm: Vm) -> None:
    vm.make("create/volume")


DISKS: dict[str, tuple[Callable[[Vm], None], str, str, list[str]]] = {
    "download": (nothing, "up", "2m", ["images/blank.qcow2"]),
    "unpacking": (nothing, "up", "6m", ["images/blank.qcow2"]),
    "seed": (image_without_seed, "up", FULL, ["vm/seed.iso", "vm/seed.iso.sum"]),
    "domain": (volumes, "create/domain", FULL, ["vm/domain.xml"]),
}


@pytest.mark.parametrize(("before", "target", "size", "absent"), DISKS.values(), ids=DISKS)
def test_a_full_disk_of_the_client_leaves_nothing_half_written(
    stage: Stage, before: Callable[[Vm], None], target: str, size: str, absent: list[str]
) -> None:
    vm = stage.fresh()["vm"]
    before(vm)
    with small_disk(stage.base, size.removesuffix(FULL) or "64m"):
        filler = fill(stage.base) if size == FULL else None
        failed = vm.make(target, check=False)
        assert failed.returncode != 0
        assert "vm: error: " in failed.stderr
        assert "space" in failed.stderr or "disk is full" in failed.stderr, failed.stderr
        assert not [name for name in absent if (stage.base / name).exists()]
        if filler:
            filler.unlink()
        resize(stage.base, "64m")
        vm.make("up")
        assert virsh("domstate", "vm").strip() == "running"
        left = [path.name for path in stage.base.rglob("*") if path.suffix in (".tmp", ".part")]
        assert not left
        vm.make("delete-all")


def test_down_needs_no_room_on_the_disk_of_the_client(stage: Stage) -> None:
    vm = stage.fresh()["vm"]
    vm.make("up")
    with small_disk(stage.base, "64m"):
        fill(stage.base)
        vm.make("down", "V1ALPHA1_STOP_TIMEOUT_SECS=0")
        assert virsh("list", "--all", "--name").strip() == ""
        assert not Path("/var/lib/libvirt/images/vm").exists()
        assert not [path.name for path in stage.base.rglob("*.tmp")]

"""What is measured: blank VMs as vmp makes them, and the floor: the same work by virsh alone, all of it ready.

A blank VM has 64 MB of memory, an interface on the network `default`, and a disk of 1 GiB over a small image that is in
its pool already, whose boot sector halts the processor. Its seed is an ISO of cloud-init on a CD-ROM.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""As an administrator has it: what else the machine puts there, such as wrappers of python3, is not measured."""
IMAGES = Path("/var/lib/libvirt/images")
"""The directory of the pool `default`."""

_REGISTRY = """\
nodes:
  - name: localhost
    libvirt: {connection: {uri: "qemu:///system"}}
images:
  - name: blank
    tags:
      - {pattern: latest, url: "file:///nonexistent/blank.qcow2", volumeName: blank.qcow2}
templates:
  - name: blank
    provisioner: v1alpha1
    nodeName: localhost
    image: blank
    libvirt:
      domain:
        name: "{VM_NAME}"
        virtInstall:
          osinfo: linux2022
          memory: 64
          vcpus: 1
          graphics: vnc
          video: cirrus
          network: [{name: default, options: {network: default}}]
          disk:
            - name: boot
              options: {vol: "{VM_NAME}/boot.qcow2", bus: virtio}
            - name: seed
              options: {vol: "{VM_NAME}/seed.iso", device: cdrom, bus: sata}
      pools:
        - name: "{VM_NAME}"
          directory: {path: "{DEFAULT_POOL_PATH}/{VM_NAME}"}
      volumes:
        - name: "{IMAGE_VOLUME_NAME}"
          poolName: "{DEFAULT_POOL_NAME}"
          deletionPolicy: Retain
          uploadFile: {path: "../images/{IMAGE_VOLUME_NAME}"}
        - name: boot.qcow2
          poolName: "{VM_NAME}"
          capacity: 1GiB
          backingVolume: {name: "{IMAGE_VOLUME_NAME}", poolName: "{DEFAULT_POOL_NAME}"}
        - name: seed.iso
          poolName: "{VM_NAME}"
          format: raw
          uploadFile: {path: seed.iso}
    cloudInit:
      noCloud:
        seed: {path: seed.iso}
        data:
          meta-data: {instance-id: "{VM_NAME}", local-hostname: "{VM_NAME}"}
          user-data: {ssh_pwauth: false}
vms:
"""

PLUG = "V1ALPHA1_STOP_TIMEOUT_SECS=0"
"""Nobody listens in a blank guest: as the peer does, the plug is pulled."""


def build_image(path: Path) -> None:
    """Write a disk of 8 MiB whose boot sector halts (cli is left out: an interrupt wakes it, and it halts again)."""
    raw = path.with_suffix(".raw")
    raw.write_bytes(bytes.fromhex("f4ebfd").ljust(510, b"\0") + b"\x55\xaa" + bytes(2**23 - 512))
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, path], check=True)
    raw.unlink()


def make_pool(name: str, directory: Path) -> None:
    """Make a pool that has the image, if it is not there."""
    directory.mkdir(exist_ok=True)
    build_image(directory / "blank.qcow2")
    virsh = f"pool-define-as {name} dir --target {directory}; pool-start {name}; pool-refresh {name}"
    subprocess.run(["virsh", "-q", virsh], capture_output=True)


def generate(names: Sequence[str], base: Path, memory: int = 64) -> None:
    """Compile blank VMs of these names into a new directory, and lay the image beside them as an earlier build has."""
    compile_registry(registry_of(names).replace("memory: 64", f"memory: {memory}"), base)
    (base / "images").mkdir()
    build_image(base / "images/blank.qcow2")


def registry_of(names: Sequence[str]) -> str:
    """Return a registry of blank VMs of these names."""
    return _REGISTRY + "".join(f"  - {{name: {name}, template: blank}}\n" for name in names)


def compile_registry(registry: str, base: Path) -> None:
    """Compile a registry into a new directory."""
    shutil.rmtree(base, ignore_errors=True)
    command = [sys.executable, "-m", "vmp", "gen", "--fleet", "--base-dir", str(base)]
    subprocess.run(command, input=registry, text=True, check=True, capture_output=True)


def renew(directory: Path) -> None:
    """Make the directory of a VM what vmp had written: whatever its targets made in it is gone."""
    listed = {line for line in (directory / "MANIFEST").read_text().splitlines() if not line.startswith("#")}
    for path in [path for path in directory.rglob("*") if path.is_file()]:
        if str(path.relative_to(directory)) not in listed:
            path.unlink()


def make(directory: Path, *arguments: str) -> list[str]:
    """Return the command that runs targets of one VM."""
    return ["make", "--no-print-directory", "-C", str(directory), *arguments]


def make_fleet(base: Path, *arguments: str) -> list[str]:
    """Return the command that runs a target of all VMs below a directory, four at a time."""
    return ["make", "--no-print-directory", "-C", str(base), "-j4", *arguments]


class Floor:
    """The least that libvirt has to do for a blank VM: one connection, and everything that it needs written before."""

    def __init__(self, like: str, directory: Path) -> None:
        """Take the domain from one that is there."""
        directory.mkdir(parents=True, exist_ok=True)
        xml = subprocess.run(
            ["virsh", "dumpxml", "--inactive", like], check=True, capture_output=True, text=True
        ).stdout
        xml = re.sub(r"\s*<(uuid>.*</uuid>|mac address=.*/>)", "", xml)
        self._like, self._xml, self._directory = like, xml, directory
        shutil.copy(IMAGES / like / "seed.iso", directory / "seed.iso")

    def up(self, names: Sequence[str]) -> list[str]:
        """Make pools, volumes and domains, and start them."""
        commands = []
        for name in names:
            domain = self._directory / f"{name}.xml"
            domain.write_text(self._xml.replace(f">{self._like}<", f">{name}<").replace(f"/{self._like}/", f"/{name}/"))
            base = IMAGES / "blank.qcow2"
            commands += [
                f"pool-define-as {name} dir --target {IMAGES / name}",
                f"pool-build {name}",
                f"pool-start {name}",
                f"vol-create-as {name} boot.qcow2 1GiB --format qcow2 --backing-vol {base} --backing-vol-format qcow2",
                f"vol-create-as {name} seed.iso 1 --format raw",
                f"vol-upload --pool {name} seed.iso {self._directory / 'seed.iso'}",
                f"define {domain}",
                f"start {name}",
            ]
        return ["virsh", "-q", "; ".join(commands)]

    def at_once(self, work: Callable[[Sequence[str]], list[str]], names: Sequence[str], jobs: int) -> list[str]:
        """Return the command that does `up` or `down` by so many virsh side by side."""
        parts = [shlex.join(work(names[number::jobs])) for number in range(jobs)]
        return ["sh", "-c", " & ".join([*parts, "wait"])]

    def down(self, names: Sequence[str]) -> list[str]:
        """Remove all that `up` has made."""
        commands = []
        for name in names:
            commands += [
                f"destroy {name}",
                f"undefine {name} --nvram",
                f"vol-delete --pool {name} boot.qcow2",
                f"vol-delete --pool {name} seed.iso",
                f"pool-destroy {name}",
                f"pool-delete {name}",
                f"pool-undefine {name}",
            ]
        return ["virsh", "-q", "; ".join(commands)]

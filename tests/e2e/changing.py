"""A VM whose registry changes: what its first day was, and what is written over it later."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import yaml
from world import Vm, generate

Registry = dict[str, Any]


class Changing:
    """The directory of one VM, written anew after each change of the registry."""

    def __init__(self, registry: str, base: Path, name: str = "web") -> None:
        self.registry: Registry = yaml.safe_load(registry)
        self.base = base
        self.name = name
        self.vm = self.write()

    @property
    def libvirt(self) -> dict[str, Any]:
        """Return `libvirt` of the template, to change."""
        found: dict[str, Any] = self.registry["templates"][0]["libvirt"]
        return found

    @property
    def options(self) -> dict[str, Any]:
        """Return the options of virt-install, to change."""
        found: dict[str, Any] = self.libvirt["domain"]["virtInstall"]
        return found

    def write(self) -> Vm:
        """Compile the registry as it is now."""
        return generate(json.dumps(self.registry), self.base)[self.name]

    def change(self, change: Callable[[Changing], object]) -> Vm:
        """Change the registry, and compile it."""
        change(self)
        return self.write()

    def add_disk(self, name: str, capacity: str = "8MiB", *, form: str = "qcow2", place: int | None = None) -> None:
        """Add a volume and a disk to the registry."""
        disks = self.options["disk"]
        self.libvirt["volumes"].append(
            {"name": f"{name}.{form}", "poolName": "{VM_NAME}", "format": form, "capacity": capacity}
        )
        disk = {"name": name, "options": {"vol": f"{{VM_NAME}}/{name}.{form}", "bus": "virtio"}}
        disks.insert(len(disks) if place is None else place, disk)

    def remove_disk(self, name: str) -> None:
        """Take a disk and its volume out of the registry."""
        self.options["disk"] = [disk for disk in self.options["disk"] if disk["name"] != name]
        self.libvirt["volumes"] = [volume for volume in self.libvirt["volumes"] if not volume["name"].startswith(name)]

    def diff(self) -> tuple[int, list[str]]:
        """Return the exit code of `./provisioner.py diff`, and its lines without spare blanks."""
        done = subprocess.run(
            [self.vm.directory / "provisioner.py", "diff"], capture_output=True, text=True, check=False
        )
        assert done.returncode < 2, done.stderr
        return done.returncode, [" ".join(line.split()) for line in done.stdout.splitlines()]

    def apply(self, *arguments: str) -> list[str]:
        """Apply, expect it to go well, and return what it says."""
        said = self.vm.make("apply", *arguments).stderr.splitlines()
        return [line.removeprefix(f"{self.name}: ") for line in said]

    def clone(self, path: Path) -> Vm:
        """Return a copy of the directory elsewhere."""
        shutil.copytree(self.vm.directory, path / self.name)
        return Vm(path / self.name)


def definition(name: str = "web", *options: str) -> Element:
    """Return a domain's XML: as it runs, or with `--inactive` as it would start."""
    done = subprocess.run(["virsh", "dumpxml", name, *options], check=True, capture_output=True, text=True)
    return ElementTree.fromstring(done.stdout)

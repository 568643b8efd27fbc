"""The example of Fedora CoreOS, with the tiny guest in its place: the guest has Ignition's file, byte for byte."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import yaml
from world import ROOT, generate, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

EXAMPLE = ROOT / "examples/installers"


def test_the_guest_has_the_file_of_ignition_byte_for_byte(tiny_disk: Path, base: Path) -> None:
    registry: dict[str, list[dict[str, object]]] = {}
    for name in ("common", "fedora-coreos"):
        for kind, entries in yaml.safe_load((EXAMPLE / f"registry/{name}.yaml").read_text()).items():
            registry[kind] = [*registry.get(kind, []), *entries]
    tag = {"pattern": ".*", "url": f"file://{tiny_disk}", "volumeName": tiny_disk.name}
    registry["images"][0]["tags"] = [tag]
    registry["vms"][0]["vars"] = {"V1ALPHA1_STOP_TIMEOUT_SECS": 0}
    vm = generate(yaml.safe_dump(registry, sort_keys=False), base / "out")["fedora-coreos"]
    file = base / "ignition/fedora-coreos.ign"
    shutil.copytree(EXAMPLE / "ignition", file.parent)
    file.write_text(json.dumps({**json.loads(file.read_text()), "of all kinds": "' \" & < , ; = % $ \\ ö"}))
    vm.make("up")
    with vm.console() as console:
        console.send("\n")
        console.expect("# ", timeout=90)
        console.send("sha256sum </sys/firmware/qemu_fw_cfg/by_name/opt/com.coreos/config/raw\n")
        console.expect(hashlib.sha256(file.read_bytes()).hexdigest(), timeout=20)
        console.send("\x1d")
        assert console.wait() == 0
    vm.make("delete-all")
    assert virsh("list", "--all", "--name").split() == []

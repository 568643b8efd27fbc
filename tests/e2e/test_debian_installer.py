"""One real installation: the example of Debian with its installer, from the ISO to what is on the disk then."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from server import Server
from world import ROOT, build_guest, generate, inventory, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

GATEWAY = "192.168.122.1"
"""The node's address in the network `default`, which exists in the lab alone."""

EXAMPLE = ROOT / "examples/installers/registry"

PRESEED = """
d-i debian-installer/language string C
d-i debian-installer/country string US
d-i debian-installer/locale string C
d-i keyboard-configuration/xkb-keymap select us
d-i debian-installer/allow_unauthenticated boolean true
d-i netcfg/get_hostname string debian
d-i netcfg/get_domain string
d-i mirror/country string manual
d-i mirror/http/hostname string {server}
d-i mirror/http/directory string /mirror
d-i mirror/http/proxy string
d-i mirror/suite string {codename}
d-i mirror/udeb/suite string {codename}
d-i anna/standard_modules boolean false
d-i anna/choose_modules string lab-image
d-i debian-installer/exit/poweroff boolean true
"""


@pytest.fixture(scope="module")
def installer() -> Path:
    return build_guest("debian-installer")


@pytest.fixture
def mirror(installer: Path, tiny_disk: Path, tmp_path: Path) -> Iterator[Server]:
    """Serve the installer's components, a preseed.cfg that asks for ours, and what is installed."""
    shutil.copytree(installer / "mirror", tmp_path / "www/mirror")
    raw = tmp_path / "disk"
    subprocess.run(["qemu-img", "convert", "-O", "raw", tiny_disk, raw], check=True)
    with (tmp_path / "www/mirror/disk.gz").open("wb") as file:
        subprocess.run(["gzip", "-1", "--stdout", raw], stdout=file, check=True)
    with Server(tmp_path / "www", host=GATEWAY) as server:
        yield server


def registry(installer: Path, preseed: str) -> str:
    """Return the example with this ISO, these answers, and less memory and disk."""
    merged: dict[str, list[dict[str, Any]]] = {}
    for name in ("common", "installer", "debian"):
        for kind, entries in yaml.safe_load((EXAMPLE / f"{name}.yaml").read_text()).items():
            merged[kind] = [*merged.get(kind, []), *entries]
    tag = {"pattern": ".*", "url": f"file://{installer}/installer.iso", "volumeName": "installer.iso", "format": "raw"}
    merged["images"][0]["tags"] = [tag]
    (vm,) = merged["vms"]
    vm["vars"]["INSTALLER_ARGS"] += " ipv6.disable=1"
    vm["configDrives"][0]["files"]["preseed.cfg"] = preseed
    vm["libvirt"]["volumes"] = [{"name": "system.qcow2", "capacity": "1G"}]
    virt_install = {"memory": 128, "vcpus": 1, "disk": [{"name": "system", "options": {"cache": "unsafe"}}]}
    vm["libvirt"]["domain"]["virtInstall"] = virt_install
    vm["libvirt"]["domain"]["install"]["virtInstall"]["memory"] = 1536
    return yaml.safe_dump(merged, sort_keys=False)


def test_debians_installer_writes_the_disk_that_the_machine_then_starts_from(
    installer: Path, mirror: Server, base: Path
) -> None:
    (codename,) = (path.name for path in (installer / "mirror/dists").iterdir())
    address = mirror.url("").split("/")[2]
    preseed = PRESEED.format(server=address, codename=codename)
    before = inventory()
    vm = generate(registry(installer, preseed), base)["debian"]
    said = vm.make("up", timeout=900).stderr
    assert "debian: is installed\ndebian: started domain debian\n" in said
    asked = {request.path.rpartition("/")[2].partition("_")[0] for request in mirror.requests if request.status == 200}
    assert {"Packages.gz", "lab-image", "disk.gz"} <= asked
    assert any(name.startswith("scsi-modules-") for name in asked), "the driver of the disk"
    defined = ElementTree.fromstring(virsh("dumpxml", "debian"))
    assert defined.find("os/kernel") is None
    assert defined.findtext("memory") == str(128 << 10)
    with vm.console() as console:
        console.send("\n")
        console.expect("# ", timeout=90)
        console.send("echo sum=$((40 + 2))\n")
        console.expect("sum=42", timeout=10)
        console.send("\x1d")
        assert console.wait() == 0
    assert vm.make("up").stderr == "debian: is running\n"
    vm.make("delete-all", "clean-all")
    assert inventory() == before

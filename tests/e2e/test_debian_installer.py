"""One real installation: Debian's own installer, from its kernel and initrd to the system that is on the disk then."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from server import Server
from world import build_guest, generate, inventory, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

GATEWAY = "192.168.122.1"
"""The node's address in the network `default`, which exists in the lab alone."""

REGISTRY = """
nodes:
  - name: localhost
    libvirt: {{connection: {{uri: "qemu:///system"}}}}
images:
  - name: debian-installer
    tags:
      - pattern: latest
        url: file://{installer}/initrd.gz
        volumeName: initrd.gz
        format: raw
vms:
  - name: web
    provisioner: v1alpha1
    nodeName: localhost
    image: debian-installer
    vars: {{V1ALPHA1_STOP_TIMEOUT_SECS: 30}}
    libvirt:
      pools:
        - name: "{{VM_NAME}}"
          directory: {{path: "{{DEFAULT_POOL_PATH}}/{{VM_NAME}}"}}
      volumes:
        - {{name: linux, poolName: "{{VM_NAME}}", format: raw, uploadFile: {{path: "{installer}/linux"}}}}
        - name: initrd.gz
          poolName: "{{VM_NAME}}"
          format: raw
          uploadFile: {{path: "{{DEFAULT_IMAGE_DIR}}/initrd.gz"}}
        - {{name: system.qcow2, poolName: "{{VM_NAME}}", capacity: 1G}}
      domain:
        name: "{{VM_NAME}}"
        virtInstall:
          osinfo: linux2022
          memory: 128
          vcpus: 2
          graphics: none
          serial: pty
          network: [{{name: default, options: {{network: default, model: virtio}}}}]
          disk:
            - name: system
              options: {{vol: "{{VM_NAME}}/system.qcow2", bus: virtio, cache: unsafe}}
        install:
          virtInstall:
            memory: 1024
            boot:
              - name: installer
                options:
                  kernel: "{{DEFAULT_POOL_PATH}}/{{VM_NAME}}/linux"
                  initrd: "{{DEFAULT_POOL_PATH}}/{{VM_NAME}}/initrd.gz"
                  kernel_args: auto=true priority=critical url={preseed} ipv6.disable=1
                    console=ttyS0 DEBIAN_FRONTEND=text TERM=dumb
"""

PRESEED = """
d-i debian-installer/language string C
d-i debian-installer/country string US
d-i debian-installer/locale string C
d-i keyboard-configuration/xkb-keymap select us
d-i debian-installer/allow_unauthenticated boolean true
d-i netcfg/get_hostname string web
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
    """Serve the installer's components, a preseed.cfg that asks for ours, and the system that is installed."""
    shutil.copytree(installer / "mirror", tmp_path / "www/mirror")
    raw = tmp_path / "disk"
    subprocess.run(["qemu-img", "convert", "-O", "raw", tiny_disk, raw], check=True)
    with (tmp_path / "www/mirror/disk.gz").open("wb") as file:
        subprocess.run(["gzip", "-1", "--stdout", raw], stdout=file, check=True)
    (codename,) = (path.name for path in (installer / "mirror/dists").iterdir())
    with Server(tmp_path / "www", host=GATEWAY) as server:
        address = server.url("").split("/")[2]
        (tmp_path / "www/preseed.cfg").write_text(PRESEED.format(server=address, codename=codename))
        yield server


def test_debians_installer_writes_the_disk_that_the_machine_then_starts_from(
    installer: Path, mirror: Server, base: Path
) -> None:
    before = inventory()
    vm = generate(REGISTRY.format(installer=installer, preseed=mirror.url("preseed.cfg")), base)["web"]
    said = vm.make("up", timeout=900).stderr
    assert "web: is installed\nweb: started domain web\n" in said
    asked = {request.path.rpartition("/")[2].partition("_")[0] for request in mirror.requests if request.status == 200}
    assert {"preseed.cfg", "Packages.gz", "lab-image", "disk.gz"} <= asked
    assert any(name.startswith("scsi-modules-") for name in asked), "the driver of the disk"
    defined = ElementTree.fromstring(virsh("dumpxml", "web"))
    assert defined.find("os/kernel") is None
    assert defined.findtext("memory") == str(128 << 10)
    with vm.console() as console:
        console.send("\n")
        console.expect("# ", timeout=90)
        console.send("echo sum=$((40 + 2))\n")
        console.expect("sum=42", timeout=10)
        console.send("\x1d")
        assert console.wait() == 0
    assert vm.make("up").stderr == "web: is running\n"
    vm.make("delete-all", "clean-all")
    assert inventory() == before

"""The life of VMs on other releases of Debian, with the libvirt, QEMU, virt-install, Python and make of each.

`make test` runs it on Debian 13, `make compat` on all of SUITES. The roots have to be in the cache: see the Makefile.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest_registries import cloud, live
from installing import installed, installer_image
from world import ROOT, generate

SUITES = os.environ.get("SUITES", "trixie").split()
SCENES = ["live", "uefi", "cloud", "fleet", "network", "changes", "install"]

OLD = ["bullseye"]
"""Releases whose osinfo database does not know `linux2022`."""

LIFE = Path(__file__).parent / "life.py"
LAB = ROOT / "tests/lab"
ONE = "  - {name: web, template: cloud}\n"
THREE = "".join(f"  - {{name: {name}, template: cloud}}\n" for name in "abc")
ON_LAB = """  - name: {name}
    template: cloud
    libvirt:
      domain:
        virtInstall:
          network: [{{name: default, $patch: replace, options: {{network: lab, model: virtio}}}}]
      networks:
        - name: lab
          bridge: br-lab
          domain: {{name: lab.test, localOnly: true}}
          mtu: 1400
          ips:
            - {{address: 10.20.0.1, prefix: 24, dhcp: {{start: 10.20.0.100, end: 10.20.0.200}}}}
            - {{address: "fd00:20::1", prefix: 64}}
          dns: {{forwarders: [9.9.9.9], hosts: [{{ip: 10.20.0.1, hostnames: [gate]}}]}}
          deletionPolicy: Delete
      reservations: [{{network: lab, interface: default, address: {address}, hostname: "{hostname}"}}]
"""
ON_LAB_VMS = [
    {"name": "web", "address": "10.20.0.11", "hostname": "web"},
    {"name": "db", "address": "10.20.0.12", "hostname": "db"},
    {"name": "changed", "address": "10.20.0.13", "hostname": "other"},
]

Table = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    """Versions and results by release, printed at the end."""
    rows: Table = {suite: {} for suite in SUITES}
    yield rows
    columns = ["libvirt", "QEMU", "virt-install", "Python", "make", *SCENES]
    lines = [["", *columns], *[[suite, *[row.get(column, "-") for column in columns]] for suite, row in rows.items()]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print()
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def registry(scene: str, iso: Path, disk: Path, key: Path) -> str:
    """Return the registry of a scene."""
    if scene == "cloud":
        return cloud(disk, key, ONE)
    if scene == "fleet":
        return cloud(disk, key, THREE, memory=128)
    if scene == "changes":
        return (
            cloud(disk, key, ONE)
            .replace("memory: 256", 'memory: "128,maxmemory=256"')
            .replace("vcpus: 1", 'vcpus: "1,maxvcpus=2"')
        )
    if scene == "network":
        return cloud(disk, key, "".join([ON_LAB.format(**vm) for vm in ON_LAB_VMS]), memory=128)
    text = live(iso)
    return text if scene == "live" else text.replace("osinfo: linux2022", "osinfo: linux2022\n          boot: uefi")


def changed(text: str) -> str:
    """Return the registry of the scene of that name, as it is later."""
    disk = '            - {name: data, options: {vol: "{VM_NAME}/data.qcow2", bus: virtio}}\n'
    volume = '        - {name: data.qcow2, poolName: "{VM_NAME}", capacity: 8M}\n'
    for old, new in (
        ("128,maxmemory", "160,maxmemory"),
        ("1,maxvcpus", "2,maxvcpus"),
        ("capacity: 1G", "capacity: 2G"),
        ("          network:\n", f"{disk}          network:\n"),
        ("    cloudInit:\n", f"{volume}    cloudInit:\n"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("suite", SUITES)
def test_vms_live_their_life_on_debian(
    suite: str, scene: str, table: Table, tiny_iso: Path, tiny_disk: Path, ssh_key: Path, tmp_path: Path
) -> None:
    root = subprocess.run(
        [LAB / "guests/debian-root", suite], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    base = tmp_path / "it's $HOME"
    text = registry(scene, tiny_iso, tiny_disk, ssh_key)
    if scene == "install":
        text = installed(installer_image(tmp_path, "reboots"))
    if suite in OLD:
        generate(text, base / "unknown")
        text = text.replace("linux2022", "linux2020")
    generate(text, base / scene, *(["--fleet"] if scene == "fleet" else []))
    if scene == "changes":
        generate(changed(text), base / "changed")
    if scene == "install":
        generate(text.replace("reboots", installer_image(tmp_path, "never ends").stem), base / "never")

    table[suite][scene] = "FAILED"
    begin = time.monotonic()
    done = subprocess.run(
        [LAB / "lab", "--root", root, tmp_path / "lab", "/usr/bin/python3", "-B", LIFE, scene, base, LAB],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/root")},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    table[suite].update(json.loads(done.stdout.splitlines()[-1]))
    table[suite][scene] = f"{time.monotonic() - begin:.0f} s"
    print(f"{suite}: {scene} {table[suite][scene]}", file=sys.stderr)

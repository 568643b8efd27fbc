"""The life cycle on other releases of Debian: their libvirt, QEMU, virt-install, Python and make, and nothing else.

`make test` runs it on Debian 13; `make compat` on all of SUITES.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from guest_registries import cloud, live
from world import ROOT, generate

OLD = {"bullseye"}
"""Releases whose osinfo database does not know `linux2022`."""

EFI = """
  - name: efi
    template: cloud
    libvirt:
      domain:
        virtInstall: {boot: uefi}
"""
THREE = "".join(f"  - {{name: {name}, template: cloud}}\n" for name in "abc")


@pytest.mark.parametrize("suite", os.environ.get("SUITES", "trixie").split())
def test_vms_live_their_life_on_debian(
    suite: str, tiny_iso: Path, tiny_disk: Path, ssh_key: Path, tmp_path: Path
) -> None:
    root = subprocess.run(
        [ROOT / "tests/lab/guests/debian-root", suite], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    base = tmp_path / "it's $HOME"
    registries = {
        "live": live(tiny_iso),
        "cloud": cloud(tiny_disk, ssh_key, "  - {name: web, template: cloud}\n"),
        "uefi": cloud(tiny_disk, ssh_key, EFI),
        "fleet": cloud(tiny_disk, ssh_key, THREE, memory=64),
    }
    for name, registry in registries.items():
        text = registry.replace("linux2022", "linux2020") if suite in OLD else registry
        generate(text, base / name, *(["--fleet"] if name == "fleet" else []))
    life = [str(Path(__file__).parent / "life.py"), str(base), str(ROOT / "tests/lab")]
    done = subprocess.run(
        [ROOT / "tests/lab/lab", "--root", root, tmp_path / "lab", "/usr/bin/python3", "-B", *life],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/root")},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    print(f"{suite}: {done.stdout.strip()}")

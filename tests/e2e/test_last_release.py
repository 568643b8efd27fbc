"""A VM that was made by the directory of the last release: the next `gen` replaces the files, and it stays ours.

`last-release.tar.gz` holds such a directory, as 0.1.0's first form wrote it, in shell; its image is at file:///IMAGE.
"""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest
from blank import blank, blank_image
from world import Vm, domain_state, generate, inventory, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

VMS = """
  - name: web
    template: blank
    cloudInit: {noCloud: {seed: {path: seed.iso}, data: {user-data: {hostname: web}}}}
"""


@pytest.fixture
def old(blank_images: Path, base: Path) -> Vm:
    image = blank_image(blank_images, "deaf")
    base.mkdir()
    with tarfile.open(Path(__file__).parent / "last-release.tar.gz") as archive:
        archive.extractall(base)
    facts = base / "web/vm.sh"
    facts.write_text(facts.read_text().replace("/IMAGE/deaf.qcow2", str(image)))
    return Vm(base / "web")


def test_a_running_vm_of_the_last_release_stays_ours(old: Vm, blank_images: Path, base: Path) -> None:
    before = inventory()
    old.make("up")
    (old.directory / "known_hosts").write_text("kept")
    uuid, xml = virsh("domuuid", "web"), virsh("dumpxml", "web")
    new = generate(blank(blank_image(blank_images, "deaf"), VMS), base)["web"]
    assert not (new.directory / "lib").exists() and not (new.directory / "vm.sh").exists()
    assert new.make("up").stderr == "web: is running\n"
    assert new.make("status").stderr == ""
    assert virsh("dumpxml", "web") == xml and (new.directory / "known_hosts").read_text() == "kept"
    new.make("restart")
    assert virsh("domuuid", "web") == uuid
    new.make("down")
    assert domain_state() == "gone"
    new.make("delete-all")
    assert inventory() == before


def test_a_fleet_leaves_a_vm_of_the_last_release_to_its_own_directory(old: Vm, blank_images: Path, base: Path) -> None:
    text = blank(blank_image(blank_images, "deaf"), VMS + "  - {name: db, template: blank}\n")
    old.make("up")
    generate(text, base / "new", "--fleet")
    (base / "new/web").rename(base / "taken away")
    old.directory.rename(base / "new/web")
    fleet = Vm(base / "new")
    up = fleet.make("up").stderr
    assert "web: is running" in up and "started domain db" in up and "changed" not in up
    assert [line.split()[-1] for line in fleet.make("status").stdout.splitlines()] == ["running", "running"]
    fleet.make("down")
    virsh("vol-delete", "--pool", "default", "--vol", "deaf.qcow2")
    assert subprocess.run(["virsh", "-q", "domstate", "web"], capture_output=True, check=False).returncode

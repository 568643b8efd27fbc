"""What is missing under a domain that is there: a volume, half of one, autostart, a pool that cannot be started."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from blank import blank, blank_image
from world import Vm, domain_state, generate, inventory, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

IMAGES = Path("/var/lib/libvirt/images")
BASE = IMAGES / "deaf.qcow2"
BOOT = IMAGES / "web/boot.qcow2"


@pytest.fixture
def web(blank_images: Path, base: Path) -> Iterator[Vm]:
    web = generate(blank(blank_image(blank_images, "deaf")), base)["web"]
    web.make("up")
    yield web
    web.make("delete-all")


def test_a_volume_that_a_running_guest_has_open_is_not_made_anew_beside_it(web: Vm) -> None:
    BOOT.unlink()
    refused = web.make("up", check=False)
    assert refused.returncode == 2
    assert "error: volume web/boot.qcow2 is not there any more, and the domain is running" in refused.stderr
    assert not BOOT.exists() and domain_state() == "running"
    assert "created volume web/boot.qcow2" in web.make("kill", "up").stderr


def test_half_a_volume_under_a_domain_is_not_started(web: Vm) -> None:
    """As a run leaves it that was killed while it made a missing volume anew."""
    web.make("kill")
    whole = BASE.read_bytes()
    BASE.write_bytes(whole[: len(whole) // 2])
    refused = web.make("up", check=False)
    assert refused.returncode == 2
    assert f"volume default/deaf.qcow2 has only {len(whole) // 2} of the {len(whole)} bytes" in refused.stderr
    assert domain_state() == "shut off"
    (delete,) = [line.strip() for line in refused.stderr.splitlines() if "vol-delete" in line]
    subprocess.run(delete, shell=True, check=True, capture_output=True)
    web.make("up")
    assert BASE.read_bytes() == whole


def test_a_volume_of_another_image_than_the_file_is_left_alone(web: Vm) -> None:
    """The server has a newer and larger image by now, under the same name."""
    web.make("kill")
    image = web.directory.parent / "images of all/deaf.qcow2"
    old = image.read_bytes()
    image.write_bytes(bytes(reversed(old)) + old)
    assert "started domain web" in web.make("up").stderr
    image.write_bytes(old)


def test_a_pool_that_cannot_be_started_is_kept_with_what_is_in_it(web: Vm) -> None:
    before = BOOT.stat().st_ino
    web.make("kill")
    virsh("pool-destroy", "web")
    IMAGES.joinpath("web").rename(IMAGES / "aside")
    IMAGES.joinpath("web").write_text("in the way")
    down = web.make("down")
    assert "kept pool web, and what is in it: it cannot be started: " in down.stderr
    assert "somebody else's" not in down.stderr
    IMAGES.joinpath("web").unlink()
    IMAGES.joinpath("aside").rename(IMAGES / "web")
    assert BOOT.stat().st_ino == before
    assert "deleted volume web/boot.qcow2" in web.make("down").stderr


def test_autostart_that_is_missing_is_made_up_for(blank_images: Path, base: Path) -> None:
    before = inventory()
    registry = blank(blank_image(blank_images, "deaf")).replace("osinfo: ", "autostart: true\n          osinfo: ")
    web = generate(registry, base)["web"]
    web.make("up")
    assert virsh("list", "--autostart", "--name").split() == ["web"]
    virsh("autostart", "--disable", "web")
    web.make("up")
    assert virsh("list", "--autostart", "--name").split() == ["web"]
    web.make("delete-all")
    assert inventory() == before


def test_help_is_an_option_too(web: Vm) -> None:
    done = subprocess.run([web.directory / "provisioner.py", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "make up" in done.stdout

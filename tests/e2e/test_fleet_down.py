"""`make down` of a fleet: first all domains, then what they have stored; who uses it is asked once for all."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from between import install
from blank import blank, blank_image
from world import ENVIRONMENT, Vm, domain_state, generate, inventory, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

NAMES = ("db", "mail", "web")


@pytest.fixture
def fleet(blank_images: Path, base: Path) -> Vm:
    vms = "".join(f"  - {{name: {name}, template: blank}}\n" for name in NAMES)
    generate(blank(blank_image(blank_images, "deaf"), vms), base, "--fleet")
    fleet = Vm(base)
    fleet.make("-j3", "up")
    return fleet


def test_who_uses_volumes_is_asked_once_and_after_all_plugs(fleet: Vm, tmp_path: Path) -> None:
    log = tmp_path / "log"
    fleet.make("down", environment=install(tmp_path / "bin", log=log, env_path=ENVIRONMENT["PATH"]))
    asked = [line.split()[0] for line in log.read_text().splitlines()]
    assert asked.count("destroy") == len(NAMES)
    last_plug = len(asked) - asked[::-1].index("destroy")
    assert "vol-delete" not in asked[:last_plug]
    remove_image()


def test_a_volume_that_another_domain_uses_stays_and_all_else_goes(fleet: Vm) -> None:
    virsh("define", "--file", str(foreign(fleet.directory, "web/boot.qcow2")))
    down = fleet.make("-j3", "down")
    assert "web: kept volume web/boot.qcow2: domain foreign uses it" in down.stderr
    assert [name for name in NAMES if name in virsh("pool-list", "--all", "--name").split()] == ["web"]
    virsh("undefine", "foreign")
    fleet.make("down")
    remove_image()


def test_a_volume_that_two_share_goes_with_the_last(blank_images: Path, base: Path) -> None:
    before = inventory()
    registry = blank(
        blank_image(blank_images, "deaf"), "".join(f"  - {{name: {name}, template: blank}}\n" for name in NAMES)
    )
    generate(registry.replace("deletionPolicy: Retain", "deletionPolicy: Delete"), base, "--fleet")
    Vm(base).make("up")
    Vm(base).make("down")
    assert inventory() == before


def test_what_another_run_makes_anew_meanwhile_is_left_alone(fleet: Vm, tmp_path: Path) -> None:
    """`db` goes first. While the domain of `mail` goes, somebody brings `db` up again."""
    again = f"PATH={ENVIRONMENT['PATH']} make -C {shlex.quote(str(fleet.directory / 'db'))} up >&2"
    script = f'[ "$1" = undefine ] && mkdir {tmp_path}/once-$2 && [ -e {tmp_path}/first ] && [ ! -e {tmp_path}/done ]'
    script += f" && touch {tmp_path}/done && {again}; [ $1 != undefine ] || touch {tmp_path}/first"
    down = fleet.make(
        "-k", "down", check=False, environment=install(tmp_path / "bin", script, env_path=ENVIRONMENT["PATH"])
    )
    assert down.returncode == 2
    assert "db: error: another run has made the domain anew" in down.stderr
    assert [domain_state(name) for name in NAMES] == ["running", "gone", "gone"]
    assert [name for name in NAMES if name in virsh("pool-list", "--all", "--name").split()] == ["db"]
    assert fleet.make("status", "VMS=db").returncode == 0
    fleet.make("down")
    remove_image()


def remove_image() -> None:
    """Remove what `down` keeps: the image in the pool `default`."""
    virsh("vol-delete", "--pool", "default", "--vol", "deaf.qcow2")


def foreign(directory: Path, volume: str) -> Path:
    pool, name = volume.split("/")
    path = virsh("vol-path", "--pool", pool, "--vol", name).strip()
    (file := directory / "foreign.xml").write_text(
        "<domain type='qemu'><name>foreign</name><memory>65536</memory><os><type>hvm</type></os>"
        f"<devices><disk type='file'><source file='{path}'/><target dev='vda'/></disk></devices></domain>"
    )
    return file

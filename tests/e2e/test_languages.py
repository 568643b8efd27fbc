"""A libvirt in another language: its messages are shown, and no decision is taken by their words."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from blank import blank, blank_image
from guest_registries import cloud
from world import ENVIRONMENT, Vm, domain_state, generate, inventory, start_libvirtd, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

FAST = "V1ALPHA1_STOP_TIMEOUT_SECS=0"


def end_libvirtd() -> None:
    os.kill(int(Path("/run/libvirtd.pid").read_text()), signal.SIGTERM)
    while Path("/run/libvirtd.pid").exists():
        pass


def refusal() -> str:
    """Return what libvirtd says of a pool that it cannot start, as it is active."""
    return subprocess.run(["virsh", "pool-start", "default"], env=ENVIRONMENT, capture_output=True, text=True).stderr


@pytest.fixture(params=["de_DE", "ja_JP"])
def language(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """libvirtd in that language; the environment of a user whose own language it is, too."""
    name = request.param
    subprocess.run(["localedef", "--no-archive", "-i", name, "-f", "UTF-8", tmp_path / f"{name}.UTF-8"], check=True)
    foreign = {"LANG": f"{name}.UTF-8", "LC_ALL": f"{name}.UTF-8", "LANGUAGE": name[:2], "LOCPATH": str(tmp_path)}
    english = refusal()
    end_libvirtd()
    start_libvirtd(foreign)
    try:
        assert refusal() != english and ("bereits" in refusal() or not refusal().isascii()), refusal()
        yield foreign
    finally:
        end_libvirtd()
        start_libvirtd()


def test_a_vm_lives_its_life(language: dict[str, str], blank_images: Path, base: Path) -> None:
    before = inventory()
    web = generate(blank(blank_image(blank_images, "deaf")), base)["web"]

    def make(*words: str, fails: bool = False) -> str:
        done = web.make(*words, check=False, environment=language)
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr

    make("status", fails=True)
    assert "there is no domain web" in make("start", fails=True)
    assert "started domain web" in make("up")
    assert make("up") == "web: is running\n"
    make("status")
    make("stop", FAST)
    make("stop", FAST)
    assert "started domain web" in make("start")
    make("restart", FAST)
    make("kill")
    make("kill")
    virsh("undefine", "web")
    assert "created domain web" in make("up")
    make("down", FAST)
    make("down", FAST)
    assert "created domain web" in make("up")
    make("delete-all")
    make("delete-all")
    assert domain_state() == "gone"
    assert inventory() == before


def test_a_refusal_is_shown_in_its_words(language: dict[str, str], blank_images: Path, base: Path) -> None:
    web = generate(blank(blank_image(blank_images, "deaf")), base)["web"]
    web.make("create", environment=language)
    Path("/var/lib/libvirt/images/web/boot.qcow2").unlink()
    words = subprocess.run(["virsh", "start", "web"], env=ENVIRONMENT, capture_output=True, text=True).stderr
    words = words.rstrip().splitlines()[-1].removeprefix("error: ")
    assert "nicht" in words or not words.isascii(), words
    refused = web.make("start", check=False, environment=language)
    assert refused.returncode != 0 and "error: could not start domain web" in refused.stderr
    assert words in refused.stderr
    web.make("delete-all", environment=language)


def test_a_virsh_that_answers_in_another_language_is_an_error_and_changes_nothing(
    language: dict[str, str], blank_images: Path, base: Path, tmp_path: Path
) -> None:
    web = generate(blank(blank_image(blank_images, "deaf")), base)["web"]
    web.make("up")
    settings = " ".join(f"'{name}={value}'" for name, value in language.items())
    (tmp_path / "bin").mkdir()
    (program := tmp_path / "bin/virsh").write_text(f'#!/bin/sh\nexec env {settings} /usr/bin/virsh "$@"\n')
    program.chmod(0o755)
    environment = {"PATH": f"{program.parent}:{ENVIRONMENT['PATH']}"}
    for target in ("status", "up", "stop", "kill", "down"):
        refused = web.make(target, check=False, environment=environment)
        assert refused.returncode != 0
        assert "virsh's answer about the domain's state makes no sense: '" in refused.stderr, refused.stderr
    assert domain_state() == "running"
    web.make("delete-all")


def test_a_cloud_vm_lives_its_life(language: dict[str, str], tiny_disk: Path, ssh_key: Path, base: Path) -> None:
    web = generate(cloud(tiny_disk, ssh_key, "  - {name: web, template: cloud}\n"), base)["web"]

    def make(*words: str) -> str:
        return web.make(*words, environment=language).stderr

    make("up")
    make("wait-for-ready")
    assert make("up") == "web: is running\n"
    make("status")
    assert web.make("ssh", "CMD=echo größe", environment=language).stdout == "größe\n"
    assert "the guest shut down after" in make("stop")
    assert domain_state() == "shut off"
    make("start")
    virsh("managedsave", "web")
    assert "saved" in web.make("status", check=False, environment=language).stdout
    make("restart", FAST)
    virsh("suspend", "web")
    assert "resumed domain web" in make("up")
    make("down", FAST)
    make("up")
    make("delete-all")


def test_a_fleet_lives_its_life(language: dict[str, str], blank_images: Path, base: Path) -> None:
    vms = "".join(f"  - {{name: {name}, template: blank}}\n" for name in ("web", "db"))
    generate(blank(blank_image(blank_images, "deaf"), vms), base, "--fleet")
    fleet = Vm(base)
    assert fleet.make("status", check=False, environment=language).stdout.count("not there") == 2
    assert fleet.make("-j2", "up", environment=language).stderr.count("started domain") == 2
    assert fleet.make("up", environment=language).stderr.count("is running") == 2
    fleet.make("down", environment=language)
    assert not virsh("list", "--all", "--name").split()
    virsh("vol-delete", "--pool", "default", "--vol", "deaf.qcow2")

"""A live ISO from nothing to its greeting and back, as in the README."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from guest_registries import live
from world import generate, inventory, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")


def test_up_boots_the_iso_to_its_greeting_and_down_leaves_nothing(tiny_iso: Path, base: Path) -> None:
    before = inventory()
    vm = generate(live(tiny_iso), base)["vm1"]
    first = vm.make("up")
    assert "created domain vm1" in first.stderr
    assert virsh("domstate", "vm1").strip() == "running"
    with vm.console() as console:
        console.expect("Welcome to the vmp test guest", timeout=90)
        console.send("\n")
        console.expect("# ", timeout=10)
        console.send("echo sum=$((40 + 2))\n")
        console.expect("sum=42", timeout=10)
        console.send("\x1d")
        assert console.wait() == 0

    domain_id = virsh("domid", "vm1")
    again = vm.make("up")
    assert again.stderr == "vm1: is running\n"
    assert virsh("domid", "vm1") == domain_id

    vm.make("down")
    assert set(inventory()) - set(before) == {"file alpine-virt-3.20.3-x86_64.iso"}, "Retain keeps the image"
    vm.make("delete-all", "clean-all")
    assert inventory() == before
    assert not (vm.directory / ".images").exists()


def test_stop_asks_the_guest_which_shuts_down_by_itself(tiny_iso: Path, base: Path) -> None:
    vm = generate(live(tiny_iso), base)["vm1"]
    vm.make("up")
    with vm.console() as console:
        console.expect("Welcome to the vmp test guest", timeout=90)
        stopped = vm.make("stop")
        console.expect("power button: shutting down", timeout=10)
    assert "the guest shut down after" in stopped.stderr
    assert vm.make("status", check=False).returncode != 0
    vm.make("start")
    assert vm.make("status").returncode == 0
    killed = vm.make("stop", "V1ALPHA1_STOP_TIMEOUT_SECS=0")
    assert "plug" in killed.stderr
    vm.make("delete-all")


def test_a_misspelt_knob_is_refused(tiny_iso: Path, base: Path) -> None:
    vm = generate(live(tiny_iso), base)["vm1"]
    refused = vm.make("status", "V1ALPHA1_STOP_TIMOUT_SECS=1", check=False)
    assert refused.returncode != 0 and "V1ALPHA1_STOP_TIMOUT_SECS" in refused.stderr


def test_dry_run_changes_nothing(tiny_iso: Path, base: Path) -> None:
    vm = generate(live(tiny_iso), base)["vm1"]
    before = inventory(), sorted(vm.directory.rglob("*"))
    for target in ("up", "down", "delete-all", "clean-all", "ssh", "exec"):
        vm.make("-n", target)
    assert (inventory(), sorted(vm.directory.rglob("*"))) == before


def test_a_copied_directory_goes_on_working(tiny_iso: Path, base: Path, tmp_path: Path) -> None:
    vm = generate(live(tiny_iso), base)["vm1"]
    vm.make("up")
    copy = tmp_path / "on another machine"
    shutil.copytree(vm.directory, copy, ignore=shutil.ignore_patterns(".images", "domain.xml"))
    shutil.rmtree(vm.directory)
    vm.directory = copy
    assert vm.make("up").stderr == "vm1: is running\n"
    vm.make("delete-all")


def test_a_used_network_that_is_inactive_stops_up_before_anything_is_made(tiny_iso: Path, base: Path) -> None:
    vm = generate(live(tiny_iso), base)["vm1"]
    virsh("net-destroy", "default")
    try:
        before = inventory()
        refused = vm.make("up", check=False)
        assert refused.returncode != 0
        assert "net-start" in refused.stderr and "default" in refused.stderr
        assert inventory() == before
        vm.make("down")
    finally:
        virsh("net-start", "default")


def test_a_domain_of_the_same_name_that_is_not_ours_is_left_alone(tiny_iso: Path, base: Path) -> None:
    vm = generate(live(tiny_iso), base)["vm1"]
    foreign = base / "foreign.xml"
    foreign.write_text("<domain type='qemu'><name>vm1</name><memory>65536</memory><os><type>hvm</type></os></domain>")
    virsh("define", str(foreign))
    try:
        before = inventory()
        for target in ("up", "down", "stop", "delete-all"):
            refused = vm.make(target, check=False)
            assert refused.returncode != 0, target
            assert "vm1" in refused.stderr
        assert inventory() == before
    finally:
        virsh("undefine", "vm1")


NASTY = """a,b,,c "d" 'e' $HOME `id` $(id) %s & <f>&amp; back\\slash # ; * é 🐧"""


def test_texts_reach_the_domain_byte_for_byte(tiny_iso: Path, base: Path) -> None:
    registry = live(tiny_iso).replace(
        "          vcpus: 2",
        f"""          vcpus: 2
          metadata:
            - name: texts
              options:
                title: !raw {json.dumps(NASTY, ensure_ascii=False)}
                description: !raw {json.dumps(NASTY + chr(10) + "second line", ensure_ascii=False)}
          sysinfo:
            - name: smbios
              options:
                type: smbios
                system.serial: !raw {json.dumps(NASTY, ensure_ascii=False)}""",
    )
    vm = generate(registry, base)["vm1"]
    vm.make("create")
    domain = ElementTree.fromstring(virsh("dumpxml", "vm1"))
    assert domain.findtext("title") == NASTY
    assert domain.findtext("description") == NASTY + "\nsecond line"
    assert domain.findtext("sysinfo/system/entry[@name='serial']") == NASTY
    vm.make("delete-all")

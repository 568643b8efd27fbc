"""What others use or made is left alone, and targets can be run from nothing and twice."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest
from blank import blank, blank_image
from world import Vm, domain_state, generate, inventory, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

IMAGE = Path("/var/lib/libvirt/images/deaf.qcow2")


@pytest.fixture
def web(blank_images: Path, base: Path) -> Vm:
    return generate(blank(blank_image(blank_images, "deaf")), base)["web"]


def layer(path: Path, over: Path) -> Path:
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(over), "-F", "qcow2", str(path)]
    subprocess.run(command, check=True)
    return path


def disk(source: str, device: str = "disk", kind: str = "file") -> str:
    target = "<target dev='sda' bus='sata'/>"
    return f"<disk type='{kind}' device='{device}'><driver type='qcow2'/><source {source}/>{target}</disk>"


def define(devices: str, boot: str = "") -> None:
    xml = (
        "<domain type='qemu'><name>theirs</name><memory>65536</memory>"
        f"<os><type machine='q35'>hvm</type>{boot}</os><devices>{devices}</devices></domain>"
    )
    subprocess.run(["virsh", "-q", "define", "/dev/stdin"], input=xml, text=True, check=True)


def test_the_shared_image_stays_as_long_as_anybody_uses_it(web: Vm, tmp_path: Path) -> None:
    before = inventory()
    web.make("create")
    outside = tmp_path / "two  /blanks"
    outside.mkdir(parents=True)
    deep = layer(outside / "deep.qcow2", layer(outside / "layer.qcow2", IMAGE))
    uses = {
        "by path": (disk(f"file='{IMAGE}'"), ""),
        "by volume": (disk("pool='default' volume='deaf.qcow2'", kind="volume"), ""),
        "as a cdrom": (disk(f"file='{IMAGE}'", device="cdrom"), ""),
        "as a kernel": ("", f"<kernel>{IMAGE}</kernel>"),
        "as an initrd": ("", f"<kernel>/boot/vmlinuz</kernel><initrd>{IMAGE}</initrd>"),
        "below layers in no pool": (disk(f"file='{deep}'"), ""),
    }
    for use, (devices, boot) in uses.items():
        define(devices, boot)
        kept = web.make("delete-all")
        assert "kept volume default/deaf.qcow2" in kept.stderr, use
        assert IMAGE.exists(), use
        virsh("undefine", "theirs")
    define(disk(f"file='{deep}'"))
    virsh("start", "theirs")
    assert "kept volume default/deaf.qcow2: domain theirs uses it" in web.make("delete-all").stderr
    virsh("destroy", "theirs")
    virsh("undefine", "theirs")
    assert "deleted volume default/deaf.qcow2" in web.make("delete-all").stderr
    assert inventory() == before


def test_a_volume_of_ours_that_somebody_attached_stays_with_its_pool(web: Vm) -> None:
    before = inventory()
    web.make("up")
    define(disk("file='/var/lib/libvirt/images/web/boot.qcow2'"))
    down = web.make("down")
    assert "kept volume web/boot.qcow2: domain theirs uses it" in down.stderr
    assert "kept pool web: it holds boot.qcow2" in down.stderr
    virsh("undefine", "theirs")
    web.make("delete-all")
    assert inventory() == before


def test_when_the_definition_is_refused_only_what_this_run_has_made_goes_again(blank_images: Path, base: Path) -> None:
    before = inventory()
    registry = blank(blank_image(blank_images, "deaf")).replace("graphics: none", "graphics: type=nonsense")
    web = generate(registry, base)["web"]
    refused = web.make("up", check=False)
    assert refused.returncode != 0 and "nonsense" in refused.stderr
    assert "deleted pool web" in refused.stderr
    assert IMAGE.exists(), "it is to be retained"
    web.make("delete-all")
    assert inventory() == before


def test_an_operating_system_that_virt_install_does_not_know_is_refused_before_anything_is_made(
    blank_images: Path, base: Path
) -> None:
    before = inventory()
    registry = blank(blank_image(blank_images, "deaf")).replace("osinfo: linux2022", "osinfo: linux2023")
    web = generate(registry, base)["web"]
    refused = web.make("up", check=False)
    assert refused.returncode != 0 and "does not know the operating system 'linux2023'" in refused.stderr
    assert "it knows linux2022" in refused.stderr
    assert inventory() == before
    assert not (web.directory / ".." / "images of all" / IMAGE.name).exists(), "nothing is downloaded, either"


def test_an_image_file_that_another_vm_needs_stays_until_the_last_is_cleaned(blank_images: Path, base: Path) -> None:
    vms = "".join(f"  - {{name: {name}, template: blank}}\n" for name in ("web", "db"))
    made = generate(blank(blank_image(blank_images, "deaf"), vms), base)
    image = base / "images of all" / IMAGE.name
    for vm in made.values():
        vm.make("up")
    made["web"].make("down")
    assert "web: kept ../images of all/deaf.qcow2: db need" in made["web"].make("clean-all").stderr
    assert image.exists()
    made["db"].make("down", "delete-all", "clean-all")
    assert not image.parent.exists()


def test_a_domain_that_comes_while_the_guest_is_asked_to_shut_down_keeps_the_volume_that_it_uses(web: Vm) -> None:
    before = inventory()
    web.make("up")
    comes = threading.Timer(3, define, [disk("file='/var/lib/libvirt/images/web/boot.qcow2'")])
    comes.start()
    down = web.make("down", "V1ALPHA1_STOP_TIMEOUT_SECS=6")
    comes.join()
    assert "asking the guest to shut down" in down.stderr
    assert "kept volume web/boot.qcow2: domain theirs uses it" in down.stderr
    virsh("undefine", "theirs")
    web.make("delete-all")
    assert inventory() == before


TARGETS = [
    ("build", "gone"),
    ("create/pool", "gone"),
    ("create/volume", "gone"),
    ("create/domain", "shut off"),
    ("create", "shut off"),
    ("start/pool", "shut off"),
    ("start/domain", "running"),
    ("start", "running"),
    ("restart", "running"),
    ("up", "running"),
    ("kill", "shut off"),
    ("stop/domain", "shut off"),
    ("stop", "shut off"),
    ("stop/pool", "shut off"),
    ("stop-all", "shut off"),
    ("delete/domain", "gone"),
    ("delete/volume", "gone"),
    ("delete/pool", "gone"),
    ("delete", "gone"),
    ("down", "gone"),
    ("delete/volume-all", "gone"),
    ("delete/pool-all", "gone"),
    ("delete-all", "gone"),
    ("clean", "gone"),
    ("clean-all", "gone"),
]


def test_each_target_can_be_run_twice_and_changes_nothing_when_only_shown(web: Vm) -> None:
    start = inventory()
    for target, state in TARGETS:
        before = inventory(), sorted(web.directory.rglob("*"))
        web.make("-n", target)
        assert (inventory(), sorted(web.directory.rglob("*"))) == before, target
        web.make(target)
        assert domain_state() == state, target
        after = inventory()
        web.make(target)
        assert domain_state() == state, target
        if target != "restart":
            assert inventory() == after, target
    assert inventory() == start


NOTHING_TO_DO = ["start/pool", "kill", "stop", "stop/pool", "stop-all", "delete", "delete-all", "down", "clean-all"]
NEEDS_A_DOMAIN = ["start", "start/domain", "restart", "console", "status", "ip"]


def test_from_nothing_each_target_ends_or_says_what_is_missing(web: Vm) -> None:
    before = inventory()
    for target in NOTHING_TO_DO:
        assert web.make(target).stderr == "", target
    for target in NEEDS_A_DOMAIN:
        refused = web.make(target, check=False)
        assert refused.returncode != 0, target
        assert "not there" in refused.stdout or "no domain" in refused.stderr or "not exist" in refused.stderr, target
    assert inventory() == before

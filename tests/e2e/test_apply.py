"""`diff` and `apply`: each kind of change is said in words beforehand, and keeps every disk. The guests are blank."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blank import blank, blank_image
from changing import Changing, definition
from world import domain_state, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

LAN: dict[str, Any] = {"name": "lan", "options": {"network": "default", "model": "virtio"}}


@pytest.fixture
def web(blank_images: Path, base: Path) -> Iterator[Changing]:
    """A VM with room for more: 64 of 128 MiB, one of two vCPUs, one network card."""
    web = Changing(blank(blank_image(blank_images, "deaf")), base)
    web.options.update(memory="64,maxmemory=128", vcpus="1,maxvcpus=2", network=[dict(LAN)])
    web.write()
    yield web
    web.vm.make("kill", check=False)
    web.vm.make("delete-all", check=False)
    pools = virsh("pool-list", "--name").split()
    for name in virsh("vol-list", "web").split()[::2] if "web" in pools else []:
        virsh("vol-delete", name, "--pool", "web")
    web.vm.make("delete-all", check=False)


def disks(*options: str) -> list[str]:
    """Return the files of the disks, by their names in the domain."""
    found = definition("web", *options).iterfind("devices/disk")
    pairs = [(disk.find("target"), disk.find("source")) for disk in found]
    return [
        f"{target.get('dev')} {Path(source.get('file', '')).name}"
        for target, source in pairs
        if target is not None and source is not None
    ]


def memory_and_vcpus(*options: str) -> tuple[str | None, ...]:
    xml = definition("web", *options)
    vcpu = xml.find("vcpu")
    return (
        xml.findtext("memory"),
        xml.findtext("currentMemory"),
        *(() if vcpu is None else (vcpu.text, vcpu.get("current"))),
    )


@pytest.mark.parametrize("before", ["up", "create"])
def test_what_was_just_made_differs_in_nothing(web: Changing, before: str) -> None:
    web.vm.make(before)
    assert web.diff() == (0, [])
    assert web.apply() == ["is as the directory says"]
    done = web.vm.make("diff")
    assert (done.stdout, done.stderr) == ("", "web: is as the directory says\n")


def test_a_domain_that_is_not_there_is_a_difference_and_nothing_to_apply_to(web: Changing) -> None:
    assert web.diff() == (1, ["domain web: is not there with make up"])
    refused = web.vm.make("apply", check=False)
    assert refused.returncode == 2 and "there is no domain web\n  'make create' makes it" in refused.stderr
    assert domain_state() == "gone"


def test_trouble_is_told_from_a_difference(web: Changing) -> None:
    program = ["python3", "-I", "-S", str(web.vm.directory / "provisioner.py"), "diff"]
    environment = {"PATH": "/usr/bin:/bin", "V1ALPHA1_COMMAND_TIMEOUT_SECS": "soon"}
    done = subprocess.run(program, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert "V1ALPHA1_COMMAND_TIMEOUT_SECS is 'soon'" in done.stderr


@pytest.mark.parametrize(("memory", "kib"), [("96,maxmemory=256", "98304"), ("32,maxmemory=64", "32768")])
def test_memory_and_vcpus_of_a_vm_that_is_off_change_at_once(web: Changing, memory: str, kib: str) -> None:
    web.vm.make("create")
    before = definition()
    web.change(lambda web: web.options.update(memory=memory, vcpus="3,maxvcpus=4"))
    small, large = memory.split(",maxmemory=")
    lines = [f"memory 64 → {small}", f"memory maxmemory 128 → {large}", "vcpus 1 → 3", "vcpus maxvcpus 2 → 4"]
    assert web.diff() == (1, [f"{line} now" for line in lines])
    assert web.apply() == [f"{line}: done" for line in lines]
    assert memory_and_vcpus() == (str(int(large) * 1024), kib, "4", "3")
    assert web.diff() == (0, [])
    assert web.apply() == ["is as the directory says"]
    after = definition()
    for kept in ("uuid", "os/type", "devices/interface/mac", "devices/interface/address", "devices/disk/address"):
        old, new = before.find(kept), after.find(kept)
        assert old is not None and new is not None
        assert (old.text, old.attrib) == (new.text, new.attrib)


def test_vcpus_within_the_maximum_come_to_a_running_guest(web: Changing) -> None:
    web.vm.make("up")
    web.change(lambda web: web.options.update(vcpus="2,maxvcpus=2"))
    assert web.diff() == (1, ["vcpus 1 → 2 now"])
    assert web.apply() == ["vcpus 1 → 2: now"]
    assert memory_and_vcpus()[2:] == memory_and_vcpus("--inactive")[2:] == ("2", None)
    assert web.diff() == (0, [])
    assert web.vm.make("up").stderr == "web: is running\n"


def test_what_a_running_guest_cannot_be_given_waits_for_the_next_start(web: Changing) -> None:
    web.vm.make("up")
    web.change(lambda web: web.options.update(memory="64,maxmemory=256", vcpus="3,maxvcpus=4"))
    lines = ["memory maxmemory 128 → 256", "vcpus 1 → 3", "vcpus maxvcpus 2 → 4"]
    assert web.diff() == (1, [f"{line} at the next start" for line in lines])
    said = web.apply()
    assert said == [
        *[f"{line}: at the next start (libvirt cannot change it while the guest runs)" for line in lines],
        "'make restart' brings what waits",
    ]
    assert memory_and_vcpus() == ("131072", "131072", "2", "1")
    waiting = web.vm.make("diff")
    assert waiting.stdout == "" and waiting.stderr == "".join(
        f"web: waits for the next start: {line}\n" for line in lines
    )
    words = "some changes wait for the next start: 'make diff' lists them, 'make restart' does them"
    assert words in web.vm.make("up").stderr and words in web.vm.make("status").stderr
    assert web.apply() == said
    web.vm.make("restart")
    assert memory_and_vcpus() == ("262144", "262144", "4", "3")
    assert web.vm.make("diff").stderr == "web: is as the directory says\n"


def test_a_guest_that_does_not_follow_is_not_said_to(web: Changing) -> None:
    web.vm.make("up")
    web.change(lambda web: web.options.update(memory="96,maxmemory=128"))
    assert web.diff() == (1, ["memory 64 → 96 now"])
    assert web.apply()[0] == "memory 64 → 96: at the next start (the guest was asked, and has not done it)"
    assert "waits for the next start: memory 64 → 96" in web.vm.make("diff").stderr


def test_a_disk_is_added_and_removed_while_the_vm_is_off_and_its_volume_stays(web: Changing) -> None:
    web.vm.make("create")
    web.change(lambda web: web.add_disk("data"))
    assert web.diff() == (1, ["disk data: added now", "volume web/data.qcow2: added now"])
    assert web.apply() == [
        "created volume web/data.qcow2",
        "disk data: added: done",
    ]
    assert disks() == ["vda boot.qcow2", "vdb data.qcow2"]
    web.change(lambda web: web.remove_disk("data"))
    lines = ["volume web/data.qcow2: has left the definition, and stays", "disk data: removed"]
    assert web.diff() == (1, [f"{line} now" for line in lines])
    assert web.apply() == [lines[0], f"{lines[1]}: done"]
    assert disks() == ["vda boot.qcow2"]
    assert "data.qcow2" in virsh("vol-list", "web")


def test_disks_keep_their_names_and_addresses_whatever_comes_and_goes_before_them(web: Changing) -> None:
    web.add_disk("one")
    web.add_disk("two")
    web.write()
    web.vm.make("create")
    before = addresses()
    assert disks() == ["vda boot.qcow2", "vdb one.qcow2", "vdc two.qcow2"]
    web.change(lambda web: web.add_disk("new", place=0))
    web.change(lambda web: web.remove_disk("one"))
    web.apply()
    assert disks() == ["vda boot.qcow2", "vdb new.qcow2", "vdc two.qcow2"]
    assert (addresses()[0], addresses()[2]) == (before[0], before[2])


def addresses() -> list[dict[str, str]]:
    return [address.attrib for address in definition().iterfind("devices/disk/address")]


def test_a_disk_is_attached_to_a_running_vm_at_the_address_of_its_next_start(web: Changing) -> None:
    web.vm.make("up")
    web.change(lambda web: web.add_disk("data"))
    assert web.apply() == ["created volume web/data.qcow2", "disk data: added: now"]
    assert disks() == disks("--inactive") == ["vda boot.qcow2", "vdb data.qcow2"]
    now, later = [definition("web", *option).findall("devices/disk/address") for option in ((), ("--inactive",))]
    assert [address.attrib for address in now] == [address.attrib for address in later]
    assert web.diff() == (0, [])


def test_a_disk_that_the_guest_does_not_let_go_of_waits(web: Changing) -> None:
    web.add_disk("data")
    web.write()
    web.vm.make("up")
    web.change(lambda web: web.remove_disk("data"))
    said = web.apply()
    assert said[0] == "volume web/data.qcow2: has left the definition, and stays"
    assert said[1] == "disk data: removed: at the next start (the guest was asked for it, and has not let go of it)"
    assert (disks(), disks("--inactive")) == (["vda boot.qcow2", "vdb data.qcow2"], ["vda boot.qcow2"])
    assert "waits for the next start: disk data: removed" in web.vm.make("diff").stderr
    web.vm.make("restart")
    assert disks() == ["vda boot.qcow2"]


def test_the_disk_that_a_guest_boots_from_is_never_taken_from_it(web: Changing) -> None:
    web.add_disk("data")
    web.write()
    web.vm.make("up")
    web.change(lambda web: web.options.update(disk=web.options["disk"][1:]))
    assert "disk boot: removed at the next start" in web.diff()[1]
    web.apply()
    assert disks() == ["vda boot.qcow2", "vdb data.qcow2"]


def test_a_changed_disk_waits_for_the_next_start(web: Changing) -> None:
    web.add_disk("data")
    web.write()
    web.vm.make("up")
    web.change(lambda web: web.options["disk"][1]["options"].update(cache="none"))
    assert web.diff() == (1, ["disk data cache - → none at the next start"])
    web.apply()
    web.vm.make("restart")
    driver = definition().find("devices/disk[2]/driver")
    assert driver is not None and driver.get("cache") == "none"


def test_an_interface_comes_to_a_running_guest_and_is_reconnected(web: Changing) -> None:
    web.vm.make("up")
    second = {"name": "second", "options": {"network": "default", "model": "virtio"}}
    web.change(lambda web: web.options["network"].append(second))
    assert web.diff() == (1, ["network second: added now"])
    assert web.apply() == ["network second: added: now"]
    now, later = [definition("web", *option).findall("devices/interface/mac") for option in ((), ("--inactive",))]
    assert len(now) == 2 and [mac.attrib for mac in now] == [mac.attrib for mac in later]

    subprocess.run(["ip", "link", "add", "br-other", "type", "bridge"], check=True)
    try:
        web.change(lambda web: second.update(options={"bridge": "br-other", "model": "virtio"}))
        assert web.diff() == (1, ["network second bridge - → br-other now", "network second network default → - now"])
        web.apply()
        sources = [source.get("bridge") for source in definition().iterfind("devices/interface/source")]
        assert sources == ["virbr0", "br-other"]
        assert web.diff() == (0, [])
    finally:
        web.vm.make("kill")
        subprocess.run(["ip", "link", "delete", "br-other"], check=True)


def test_an_interface_of_another_model_waits_for_the_next_start(web: Changing) -> None:
    web.vm.make("up")
    web.change(lambda web: web.options["network"][0]["options"].update(model="e1000e"))
    assert web.diff() == (1, ["network lan model virtio → e1000e at the next start"])
    web.apply()
    web.vm.make("restart")
    model = definition().find("devices/interface/model")
    assert model is not None and model.get("type") == "e1000e"


def test_the_medium_of_a_drive_is_changed_while_the_guest_runs(web: Changing) -> None:
    one, two = Path("/var/lib/libvirt/images/one.iso"), Path("/var/lib/libvirt/images/two.iso")
    for medium in (one, two):  # elsewhere virt-install makes a pool
        medium.write_bytes(medium.name.encode() * 2048)
    drive = {"name": "drive", "options": {"path": str(one), "device": "cdrom", "bus": "sata"}}
    web.change(lambda web: web.options["disk"].append(drive))
    web.vm.make("up")
    web.change(lambda web: drive["options"].update(path=str(two)))  # type: ignore[attr-defined]
    assert web.diff()[1][0].endswith("two.iso now")
    assert web.apply()[0].endswith("two.iso: now")
    assert disks() == disks("--inactive") == ["vda boot.qcow2", "sda two.iso"]
    assert web.diff() == (0, [])
    one.unlink()
    two.unlink()


def test_boot_order_waits_for_the_next_start(web: Changing) -> None:
    web.vm.make("up")
    web.change(lambda web: web.options.update(boot="network,hd"))
    assert all(line.endswith("at the next start") for line in web.diff()[1])
    web.apply()
    assert [boot.get("dev") for boot in definition("web", "--inactive").iterfind("os/boot")] == ["network", "hd"]


def test_title_and_description_reach_a_running_domain(web: Changing) -> None:
    web.vm.make("up")
    title, text = "Web of it's $HOME", 'it "serves", <b> & more'
    web.options.update(metadata=[{"name": "title", "options": {"title": title}}], description=text)
    web.write()
    assert web.diff() == (1, ["metadata title: added now", f"description - → {text} now"])
    web.apply()
    for options in ((), ("--inactive",)):
        xml = definition("web", *options)
        assert (xml.findtext("title"), xml.findtext("description")) == (title, text)
    assert web.diff() == (0, [])


def test_autostart_follows_the_registry_and_what_it_never_asked_for_stays(web: Changing) -> None:
    web.vm.make("create")
    web.change(lambda web: web.options.update(autostart=True))
    assert web.diff() == (1, ["autostart off → on now"])
    web.apply()
    assert "enable" in virsh("dominfo", "web")
    web.change(lambda web: web.options.pop("autostart"))
    assert web.diff() == (1, ["autostart on → off now"])
    web.apply()
    assert web.diff() == (0, [])
    assert "web" not in virsh("list", "--all", "--name", "--autostart")
    virsh("autostart", "web")
    assert web.diff() == (0, [])
    assert web.apply() == ["is as the directory says"]
    assert "web" in virsh("list", "--all", "--name", "--autostart")


def test_what_is_only_called_otherwise_stays_in_the_guest(web: Changing) -> None:
    web.add_disk("data")
    web.write()
    web.vm.make("up")

    def rename(web: Changing) -> None:
        web.options["disk"][1]["name"] = "db"
        mac = definition().find("devices/interface/mac")
        assert mac is not None
        web.options["vcpus"] = "2,maxvcpus=2"
        web.options["network"] = [{"name": "wan", "options": {**LAN["options"], "mac": mac.get("address")}}]

    web.change(rename)
    assert web.diff() == (1, ["vcpus 1 → 2 now"])
    assert web.apply() == ["vcpus 1 → 2: now"]
    assert disks() == disks("--inactive") == ["vda boot.qcow2", "vdb data.qcow2"]
    assert len(definition().findall("devices/interface")) == 1
    assert web.diff() == (0, [])


def test_a_renamed_disk_that_is_changed_too_is_never_taken_from_the_guest(web: Changing) -> None:
    web.add_disk("data")
    web.write()
    web.vm.make("up")

    def rename(web: Changing) -> None:
        web.options["disk"][1]["name"] = "db"
        web.options["disk"][1]["options"]["serial"] = "x1"

    web.change(rename)
    web.apply()
    assert disks() == disks("--inactive") == ["vda boot.qcow2", "vdb data.qcow2"]


def test_a_change_that_is_taken_back_after_half_of_it_has_come_leaves_nothing(web: Changing) -> None:
    web.vm.make("up")

    def more(web: Changing) -> None:
        web.options.update(vcpus="2,maxvcpus=2", memory="64,maxmemory=256")

    web.change(more)
    web.apply()
    assert memory_and_vcpus()[2:] == ("2", None)
    web.change(lambda web: web.options.update(vcpus="1,maxvcpus=2", memory="64,maxmemory=128"))
    assert web.diff()[0] == 1
    assert "vcpus 2 → 1: at the next start (libvirt cannot change it while the guest runs)" in web.apply()
    assert "waits for the next start: vcpus 2 → 1" in web.vm.make("diff").stderr
    assert "some changes wait for the next start" in web.vm.make("up").stderr
    web.vm.make("restart")
    assert memory_and_vcpus() == ("131072", "131072", "2", "1")
    assert web.vm.make("diff").stderr == "web: is as the directory says\n"


def test_autostart_of_a_running_vm_waits_for_nothing(web: Changing) -> None:
    web.vm.make("up")
    web.change(lambda web: web.options.update(autostart=True))
    assert web.diff() == (1, ["autostart off → on now"])
    assert web.apply() == ["autostart off → on: done"]
    assert web.vm.make("diff").stderr == "web: is as the directory says\n"


def test_a_password_waits_also_when_something_else_comes_and_is_never_shown(web: Changing) -> None:
    web.options["graphics"] = [{"name": "vnc", "options": {"type": "vnc", "passwd": "first"}}]
    web.write()
    web.vm.make("up")

    def change(web: Changing) -> None:
        web.options["graphics"][0]["options"]["passwd"] = "second"
        web.options["description"] = "new"

    web.change(change)
    code, lines = web.diff()
    assert (code, lines) == (1, ["description - → new now", "a password of the domain: changed at the next start"])
    said = web.apply()
    assert said == [
        "description - → new: now",
        "a password of the domain: at the next start",
        "'make restart' brings what waits",
    ]
    assert "waits for the next start: a password of the domain" in web.vm.make("diff").stderr
    known = virsh("dumpxml", "web", "--inactive")
    assert "first" not in known and "second" not in known
    web.vm.make("restart")
    assert "passwd='second'" in virsh("dumpxml", "web", "--security-info")
    assert web.vm.make("diff").stderr == "web: is as the directory says\n"


def test_after_another_libvirt_its_own_changes_are_noted_and_a_disk_by_hand_is_not(web: Changing) -> None:
    web.vm.make("create")
    mark = " ".join(virsh("metadata", "web", "urn:vmp:v1alpha1", "--config").split("\n"))
    assert '"libvirt":"' in mark
    version = mark.split('"libvirt":"')[1].split('"')[0]
    other = mark.replace(f'"libvirt":"{version}"', '"libvirt":"1.2.3"')
    virsh("metadata", "web", "urn:vmp:v1alpha1", "--config", "--key", "vmp", "--set", other)
    virsh("attach-disk", "web", "/dev/null", "vdz", "--config")
    virsh("setmaxmem", "web", "256M", "--config")
    memory = f"changed by hand, or by libvirt, which was 1.2.3 and is {version}: memory is 262144 KiB"
    assert web.diff() == (1, ["changed by hand: disk vdz added with FORCE=yes", f"{memory} now"][::-1])
    assert "disk vdz added" in web.vm.make("apply", check=False).stderr
    virsh("detach-disk", "web", "vdz", "--config")
    assert web.apply() == [f"{memory}: noted as libvirt's own"]
    assert web.diff() == (0, [])


@pytest.mark.parametrize("before", ["up", "create"])
def test_a_volume_grows_while_the_vm_runs_and_while_it_is_off(web: Changing, before: str) -> None:
    web.vm.make(before)
    web.change(lambda web: web.libvirt["volumes"][1].update(capacity="20MiB"))
    assert web.diff() == (1, ["volume web/boot.qcow2: 8 MiB → 20MiB now"])
    assert web.apply()[0].startswith("grew volume web/boot.qcow2 to 20MiB: the guest sees it ")
    assert "20971520" in virsh("vol-dumpxml", "boot.qcow2", "--pool", "web")
    if before == "up":
        assert virsh("domblkinfo", "web", "vda").split()[:2] == ["Capacity:", "20971520"]
    assert web.diff() == (0, [])


def test_what_cannot_be_is_refused_whole_with_what_down_up_would_lose(web: Changing) -> None:
    web.add_disk("data", "16MiB")
    web.write()
    web.vm.make("create")
    before = virsh("dumpxml", "web")

    def change(web: Changing) -> None:
        web.options.update(memory="96,maxmemory=128", boot="uefi")
        web.add_disk("more")
        web.libvirt["volumes"][1]["backingVolume"]["name"] = "other.qcow2"
        web.libvirt["volumes"][2]["capacity"] = "8MiB"

    web.change(change)
    refused = web.vm.make("apply", check=False)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[:5] == [
        "web: error: what is there cannot become what the directory says, and nothing was changed",
        "  volume web/boot.qcow2: backing volume default/deaf.qcow2 → default/other.qcow2",
        "  volume web/data.qcow2: 16MiB → 8MiB, and a disk cannot shrink",
        "  boot - → uefi",
        "  'make down up' makes all anew; lost is then what is in web/boot.qcow2, web/data.qcow2, web/more.qcow2",
    ]
    assert sum(line.endswith("needs down up") for line in web.diff()[1]) == 3
    assert virsh("dumpxml", "web") == before
    assert "more.qcow2" not in virsh("vol-list", "web")


def test_another_image_and_another_format_are_refused(web: Changing, blank_images: Path) -> None:
    web.add_disk("data")
    web.write()
    web.vm.make("create")

    def change(web: Changing) -> None:
        web.registry["images"][0]["name"] = "other"
        web.registry["templates"][0]["image"] = "other"
        web.libvirt["volumes"][2]["format"] = "raw"

    web.change(change)
    assert web.diff() == (
        1,
        ["image blank:latest → other:latest needs down up", "volume web/data.qcow2: format qcow2 → raw needs down up"],
    )
    assert "nothing was changed" in web.vm.make("apply", check=False).stderr


def test_a_change_by_hand_is_named_and_only_undone_when_told_to(web: Changing) -> None:
    web.vm.make("create")
    virsh("setmaxmem", "web", "256M", "--config")
    virsh("attach-disk", "web", "/dev/null", "vdz", "--config")
    by_hand = ["changed by hand: memory is 262144 KiB", "changed by hand: disk vdz added"]
    assert web.diff() == (1, [f"{line} with FORCE=yes" for line in by_hand])
    web.change(lambda web: web.options.update(vcpus="2,maxvcpus=2"))
    before = virsh("dumpxml", "web")
    refused = web.vm.make("apply", check=False)
    assert refused.returncode == 2 and all(line in refused.stderr for line in by_hand)
    assert "let 'make apply FORCE=yes' undo it" in refused.stderr
    assert virsh("dumpxml", "web") == before
    assert web.vm.make("apply", "FORCE=perhaps", check=False).returncode == 2
    assert web.apply("FORCE=yes") == ["vcpus 1 → 2: done", *[f"{line}: undone" for line in by_hand]]
    assert (disks(), memory_and_vcpus()) == (["vda boot.qcow2"], ("131072", "65536", "2", None))
    assert web.diff() == (0, [])


def test_two_at_once_take_turns_and_agree(web: Changing, tmp_path: Path) -> None:
    web.vm.make("up")
    web.change(lambda web: web.add_disk("data"))
    web.change(lambda web: web.options.update(vcpus="2,maxvcpus=2"))
    runs = [
        subprocess.Popen(web.vm.command("apply"), stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
        for _ in range(2)
    ]
    said = [run.communicate(timeout=120)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert sum("is as the directory says" in words for words in said) == 1
    assert disks() == disks("--inactive") == ["vda boot.qcow2", "vdb data.qcow2"]
    assert web.diff() == (0, [])


def test_a_saved_guest_is_not_changed_beside_its_memory(web: Changing) -> None:
    web.vm.make("up")
    web.vm.make("save")
    web.change(lambda web: web.options.update(vcpus="2,maxvcpus=2"))
    refused = web.vm.make("apply", check=False)
    assert refused.returncode == 2 and "'make start apply' lets it go on, and changes it then" in refused.stderr
    web.vm.make("start")
    assert web.apply() == ["vcpus 1 → 2: now"]


def test_a_definition_that_libvirt_refuses_leaves_the_old_one(web: Changing) -> None:
    web.vm.make("create")
    before = virsh("dumpxml", "web")

    web.change(lambda web: web.options.update(xml=[{"name": "x", "options": {"./os/type/@arch": "nonsense"}}]))
    refused = web.vm.make("apply", check=False)
    assert refused.returncode == 2 and "libvirt refused the new definition of domain web" in refused.stderr
    assert virsh("dumpxml", "web") == before


def test_a_domain_of_an_earlier_version_learns_the_details_at_the_next_apply(web: Changing) -> None:
    web.vm.make("create")
    mark = virsh("metadata", "web", "urn:vmp:v1alpha1", "--config").splitlines()[0]
    element = f"{mark.rstrip('/>')}/>"
    virsh("metadata", "web", "urn:vmp:v1alpha1", "--config", "--key", "vmp", "--set", element)
    assert web.diff() == (0, [])
    web.change(lambda web: web.options.update(vcpus="2,maxvcpus=2"))
    assert web.diff() == (
        1,
        ["definition: changed; in what, is not known: an earlier version of vmp made the domain now"],
    )
    web.apply()
    web.change(lambda web: web.options.update(vcpus="1,maxvcpus=2"))
    assert web.diff() == (1, ["vcpus 2 → 1 now"])

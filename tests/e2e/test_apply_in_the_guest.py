"""`apply` as a guest sees it: disks, memory, network cards and media that come and go while it runs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from changing import Changing
from guest_registries import cloud
from world import virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

WEB = "  - {name: web, template: cloud}\n"


@pytest.fixture
def web(tiny_disk: Path, ssh_key: Path, base: Path) -> Iterator[Changing]:
    web = Changing(cloud(tiny_disk, ssh_key, WEB), base)
    web.options.update(memory="200,maxmemory=256", vcpus="1,maxvcpus=2")
    web.write()
    yield web
    clear(web)


def clear(web: Changing) -> None:
    web.vm.make("delete-all", "V1ALPHA1_STOP_TIMEOUT_SECS=0")
    if "web" in virsh("pool-list", "--name").split():
        for name in virsh("vol-list", "web").split()[::2]:
            virsh("vol-delete", name, "--pool", "web")
        web.vm.make("delete-all")


def disks(web: Changing) -> dict[str, int]:
    """Return the sizes of the guest's disks in MiB."""
    rows = [line.split() for line in web.vm.ssh("cat /proc/partitions").splitlines()[2:]]
    return {name: int(blocks) >> 10 for _, _, blocks, name in rows}


def memory(web: Changing) -> int:
    """Return the guest's memory in MiB."""
    return int(web.vm.ssh("grep MemTotal /proc/meminfo").split()[1]) >> 10


def interfaces(web: Changing) -> set[str]:
    return set(web.vm.ssh("ls /sys/class/net").split()) - {"lo"}


def test_a_running_guest_gets_and_loses_what_the_registry_says(web: Changing) -> None:
    web.vm.make("up")
    web.vm.make("wait-for-ready")
    before = memory(web)
    assert (set(disks(web)), interfaces(web)) == ({"vda", "vda1", "vdb"}, {"eth0"})

    def more(web: Changing) -> None:
        web.options.update(memory="250,maxmemory=256", vcpus="2,maxvcpus=2")
        web.add_disk("data", "20MiB")
        web.options["network"].append({"name": "second", "options": {"network": "default", "model": "virtio"}})
        web.libvirt["volumes"][1]["capacity"] = "2G"

    web.change(more)
    said = web.apply()
    assert said == [
        "created volume web/data.qcow2",
        "grew volume web/boot.qcow2 to 2G: the guest sees it now; its file system grows in the guest",
        "memory 200 → 250: now",
        "vcpus 1 → 2: now",
        "disk data: added: now",
        "network second: added: now",
    ]
    assert web.diff() == (0, [])
    sizes = disks(web)
    assert (sizes["vda"], sizes["vdc"], interfaces(web)) == (2048, 20, {"eth0", "eth1"})
    assert 40 < memory(web) - before < 60
    assert web.vm.ssh("ls -d /sys/devices/system/cpu/cpu1") == "/sys/devices/system/cpu/cpu1\n"

    def less(web: Changing) -> None:
        web.options.update(memory="180,maxmemory=256", vcpus="1,maxvcpus=2")
        web.remove_disk("data")
        web.options["network"].pop()

    web.change(less)
    assert web.apply() == [
        "volume web/data.qcow2: has left the definition, and stays",
        "memory 250 → 180: now",
        "vcpus 2 → 1: at the next start (libvirt cannot change it while the guest runs)",
        "disk data: removed: now",
        "network second: removed: now",
        "'make restart' brings what waits",
    ]
    assert (set(disks(web)), interfaces(web)) == ({"vda", "vda1", "vdb"}, {"eth0"})
    assert 10 < before - memory(web) < 30
    web.vm.make("restart")
    assert web.vm.make("diff").stderr == "web: is as the directory says\n"
    web.vm.make("wait-for-ready")
    assert web.vm.ssh("nproc") == "1\n"


def test_a_changed_seed_is_read_at_the_next_start_and_its_effect_is_foretold(web: Changing) -> None:
    data = web.registry["templates"][0]["cloudInit"]["noCloud"]["data"]
    web.vm.make("up")
    web.vm.make("wait-for-ready")
    web.change(lambda web: data["meta-data"].update({"local-hostname": "another"}))
    assert web.diff() == (1, ["seed: meta-data changed at the next start"])
    said = web.apply()
    assert said[-2:] == [
        "replaced the seed: the guest gets it at its next start; the instance-id is still 'web', with which cloud-init "
        "does next to nothing",
        "'make restart' brings what waits",
    ]
    assert web.diff() == (0, [])
    assert "waits for the next start: seed: meta-data" in web.vm.make("diff").stderr
    assert web.vm.ssh("hostname") == "host-of-web\n"
    web.vm.make("restart")
    web.vm.make("wait-for-ready")
    assert web.vm.ssh("hostname") == "another\n"
    assert web.vm.make("diff").stderr == "web: is as the directory says\n"
    web.change(lambda web: data["meta-data"].update({"instance-id": "second"}))
    web.vm.make("stop")
    assert "the instance-id is new ('second'), so cloud-init does everything once more" in "\n".join(web.apply())


def test_a_change_while_the_guest_reboots_comes_or_waits(web: Changing) -> None:
    web.vm.make("up")
    web.vm.make("wait-for-ready")
    web.vm.make("ssh", "CMD=sudo reboot || /sbin/reboot", check=False)
    web.change(lambda web: web.add_disk("data", "20MiB"))
    web.apply()
    web.vm.make("wait-for-ready")
    assert disks(web)["vdc"] == 20


def test_a_real_guest_grows_its_root_file_system_at_the_next_boot(
    debian_cloud: Path, ssh_key: Path, base: Path
) -> None:
    web = Changing(cloud(debian_cloud, ssh_key, WEB, memory=1024, capacity="3G"), base)
    web.vm.make("up")
    web.vm.make("wait-for-ready", timeout=700)
    before = int(web.vm.ssh("df --output=size -m / | tail -1"))

    def grow(web: Changing) -> None:
        web.libvirt["volumes"][1]["capacity"] = "5G"
        web.add_disk("data", "1GiB")

    web.change(grow)
    assert web.apply()[1].startswith("grew volume web/boot.qcow2 to 5G: the guest sees it now")
    found = web.vm.ssh("lsblk -nbdo NAME,SIZE").split()
    assert found[:2] == ["vda", str(5 << 30)] and found[-2:] == ["vdc", str(1 << 30)]
    assert int(web.vm.ssh("df --output=size -m / | tail -1")) == before
    web.change(lambda web: web.remove_disk("data"))
    assert "disk data: removed: now" in web.apply()
    assert "vdc" not in web.vm.ssh("lsblk -nbdo NAME")
    web.vm.make("ssh", "CMD=sudo reboot", check=False)
    subprocess.run(["sleep", "20"], check=True)
    web.vm.make("wait-for-ready", timeout=700)
    assert int(web.vm.ssh("df --output=size -m / | tail -1")) > before + 1900
    clear(web)

"""Snapshots: what was there comes back, on disk and in memory; and what cannot have one is refused before anything."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest
from blank import WEB, blank, blank_image, with_data
from guest_registries import cloud
from world import Vm, domain_state, generate, inventory, start_libvirtd, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

IMAGES = Path("/var/lib/libvirt/images")
BOOT = IMAGES / "web/boot.qcow2"
NVRAM = Path("/var/lib/libvirt/qemu/nvram")

UEFI = """
  - name: web
    template: blank
    libvirt:
      domain:
        virtInstall:
          memory: 128
          boot: uefi
"""
RETAINED = with_data("data.qcow2", "deletionPolicy: Retain")
RAW = with_data("data.raw", "format: raw")
RAW_READ_ONLY = with_data("data.raw", "format: raw", disk=", readonly: 'on'")


@pytest.fixture
def web(blank_images: Path, base: Path) -> Iterator[Vm]:
    web = generate(blank(blank_image(blank_images, "deaf")), base)["web"]
    yield web
    web.make("delete-all")


def machine(blank_images: Path, base: Path, vms: str, guest: str = "deaf") -> Vm:
    return generate(blank(blank_image(blank_images, guest), vms), base)["web"]


def listed() -> list[str]:
    """Return the names of the snapshots, as libvirt has them."""
    return virsh("snapshot-list", "web", "--name").split()


def in_disk(path: Path = BOOT) -> list[str]:
    """Return the names of the snapshots in a qcow2."""
    found = subprocess.run(
        ["qemu-img", "info", "-U", "--output=json", path], check=True, capture_output=True, text=True
    )
    return [each["name"] for each in json.loads(found.stdout).get("snapshots", [])]


def write(byte: int, path: Path = BOOT) -> None:
    subprocess.run(["qemu-io", "-c", f"write -P {byte} 65536 512", path], check=True, capture_output=True)


def written(path: Path = BOOT) -> int:
    done = subprocess.run(["qemu-io", "-c", "read -v 65536 1", path], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[1], 16)


def refused(vm: Vm, *words: str, environment: dict[str, str] | None = None) -> str:
    """Return what is said of a refusal, which must have changed nothing."""
    before = inventory(), domain_state(), listed() if domain_state() != "gone" else []
    done = vm.make(*words, check=False, environment=environment)
    assert done.returncode == 2, done.stderr
    assert (inventory(), domain_state(), listed() if domain_state() != "gone" else []) == before
    assert done.stderr.startswith("web: error: ")
    return done.stderr


# -- what comes back --


def test_a_running_guest_goes_on_from_where_it_was_with_its_files(tiny_disk: Path, ssh_key: Path, base: Path) -> None:
    vm = generate(cloud(tiny_disk, ssh_key, "  - {name: web, template: cloud}\n"), base)["web"]
    vm.make("up")
    vm.make("wait-for-ready")
    with vm.console() as console:
        console.expect("# ", timeout=60, nudge="\n")
        console.send("mkdir -m 777 /disk/of-all && echo sum=$((40 + 2))\n")
        console.expect("sum=42", timeout=30)
    vm.ssh("echo before | tee /disk/of-all/file >~/file; sync; sleep 10000 >/dev/null 2>&1 & echo $! >~/pid")
    made = vm.make("snapshot", "NAME=a_day.1", "DESCRIPTION=`before` $(all)")
    assert "made snapshot 'a_day.1' of the disks and the memory" in made.stderr
    assert vm.ssh("cat /disk/of-all/file") == "before\n", "the guest went on"
    vm.ssh("echo after | tee /disk/of-all/file >~/file; sync; kill $(cat ~/pid)")
    vm.make("kill")

    reverted = vm.make("revert", "NAME=a_day.1")
    assert "the guest runs, as it did then" in reverted.stderr
    assert domain_state() == "running"
    assert vm.ssh("cat /disk/of-all/file ~/file; kill -0 $(cat ~/pid) && echo alive") == "before\nbefore\nalive\n"
    line = vm.make("snapshots").stdout
    assert line.startswith("* a_day.1  20") and line.endswith("  running    `before` $(all)\n")
    vm.make("snapshot/delete", "NAME=a_day.1")
    assert (listed(), in_disk()) == ([], [])
    assert vm.ssh("cat /disk/of-all/file") == "before\n"
    vm.make("delete-all")


def test_a_guest_that_is_off_gets_its_disks_back_and_stays_off(web: Vm) -> None:
    web.make("create")
    write(1)
    assert web.make("snapshot", "NAME=one").stderr == "web: made snapshot 'one' of the disks\n"
    write(2)
    web.make("snapshot", "NAME=two")
    web.make("start")
    for name, byte in (("one", 1), ("two", 2)):
        assert "the guest is off, as it was then; 'make start' starts it" in web.make("revert", f"NAME={name}").stderr
        assert (domain_state(), written()) == ("shut off", byte)
    web.make("snapshot/delete", "NAME=one")
    assert (listed(), in_disk(), written()) == (["two"], ["two"], 2)


def test_a_suspended_guest_stands_still_again_after_revert(web: Vm) -> None:
    web.make("up", "suspend", "snapshot", "NAME=still")
    web.make("resume")
    assert "stands still, as it did then; 'make resume' lets it go on" in web.make("revert", "NAME=still").stderr
    assert domain_state() == "paused"


def test_all_disks_that_the_guest_writes_to_are_in_it(blank_images: Path, base: Path) -> None:
    vm = machine(blank_images, base, RETAINED)
    data = IMAGES / "web/data.qcow2"
    vm.make("up", "snapshot", "NAME=both")
    assert in_disk() == in_disk(data) == ["both"]
    vm.make("kill")
    for path in (BOOT, data):
        write(1, path)
    vm.make("snapshot", "NAME=off")
    for path in (BOOT, data):
        write(2, path)
    vm.make("revert", "NAME=off")
    assert (written(), written(data)) == (1, 1)
    vm.make("delete-all")


def test_the_definition_of_that_time_comes_back_and_status_says_that_it_is_another(
    blank_images: Path, base: Path
) -> None:
    vm = machine(blank_images, base, WEB)
    vm.make("create", "snapshot", "NAME=then")
    more = "  - name: web\n    template: blank\n    libvirt: {domain: {virtInstall: {memory: 96}}}\n"
    vm = machine(blank_images, base, more)
    # What `apply` will do: the same domain with another definition, snapshots and all.
    xml = virsh("dumpxml", "web").replace("65536", "98304")
    path = base / "new.xml"
    path.write_text(xml)
    virsh("define", str(path))
    assert listed() == ["then"]
    assert "the definition has changed since the domain was made" in vm.make("revert", "NAME=then").stderr
    assert "65536" in virsh("dumpxml", "web")
    assert "the definition has changed" in vm.make("status", check=False).stderr
    vm.make("delete-all")


# -- UEFI --


def variables() -> Path:
    (found,) = [path for path in NVRAM.iterdir() if path.name.endswith("_VARS.fd")]
    return found


def test_the_uefi_variables_of_a_guest_that_is_off_come_back_byte_for_byte(blank_images: Path, base: Path) -> None:
    vm = machine(blank_images, base, UEFI)
    vm.make("up", "kill")
    before = variables().read_bytes()
    write(1)
    vm.make("snapshot", "NAME=one")
    write(2)
    variables().write_bytes(os.urandom(len(before)))
    after = variables().read_bytes()
    vm.make("snapshot", "NAME=two")
    for name, content, byte in (("one", before, 1), ("two", after, 2), ("one", before, 1)):
        said = vm.make("revert", f"NAME={name}").stderr
        assert "UEFI" not in said
        assert (variables().read_bytes() == content, written()) == (True, byte)
    assert virsh("pool-list", "--all", "--name").split() == ["default", "web"]
    vm.make("start")
    vm.make("kill")
    vm.make("snapshot/delete", "NAME=one")
    assert sorted(path.name for path in NVRAM.iterdir()) == sorted([f"{vm.uuid}.two", variables().name])
    vm.make("down")
    assert not list(NVRAM.iterdir())
    vm.make("delete-all")


def test_a_running_uefi_guest_is_refused_with_the_reason(blank_images: Path, base: Path) -> None:
    vm = machine(blank_images, base, UEFI)
    vm.make("up")
    said = refused(vm, "snapshot", "NAME=x")
    assert "the guest boots by UEFI" in said and "only from 10.9 on while it runs" in said and " is 9.0.0" in said
    assert "'make stop snapshot start' makes one while the guest is off" in said
    vm.make("stop", "snapshot", "start", "NAME=x")
    assert (listed(), domain_state()) == (["x"], "running")
    vm.make("revert", "NAME=x")
    assert domain_state() == "shut off"
    vm.make("delete-all")


def test_variables_that_are_not_there_yet_are_no_obstacle(blank_images: Path, base: Path) -> None:
    vm = machine(blank_images, base, UEFI)
    vm.make("create", "snapshot", "NAME=new")
    assert not list(NVRAM.iterdir())
    vm.make("start", "kill")
    said = vm.make("revert", "NAME=new").stderr
    assert "the UEFI variables stay as they are: there is no copy of them with this snapshot" in said
    vm.make("delete-all")


@pytest.mark.parametrize("whose", ["left", "foreign"])
def test_another_pool_over_the_directory_of_the_variables_is_used(whose: str, blank_images: Path, base: Path) -> None:
    vm = machine(blank_images, base, UEFI)
    vm.make("up", "kill")
    name = f"vmp-nvram-{vm.uuid}" if whose == "left" else "somebody's"
    virsh("pool-create-as", name, "dir", "--target", str(NVRAM))
    vm.make("snapshot", "NAME=x")
    assert (NVRAM / f"{vm.uuid}.x").read_bytes() == variables().read_bytes()
    there = virsh("pool-list", "--name").splitlines()
    assert (name in map(str.strip, there)) == (whose == "foreign")
    vm.make("revert", "NAME=x")
    vm.make("down")
    assert not list(NVRAM.iterdir())
    if whose == "foreign":
        virsh("pool-destroy", name)
    vm.make("delete-all")


def test_an_inactive_pool_over_that_directory_is_not_started_but_named(blank_images: Path, base: Path) -> None:
    vm = machine(blank_images, base, UEFI)
    vm.make("up", "kill")
    virsh("pool-define-as", "theirs", "dir", "--target", str(NVRAM))
    said = refused(vm, "snapshot", "NAME=x")
    assert "pool 'theirs' has the UEFI variables in it, and is not active" in said and "pool-start theirs" in said
    vm.make("down")
    virsh("pool-undefine", "theirs")
    vm.make("delete-all")


# -- names --


@pytest.mark.parametrize("target", ["snapshot", "revert", "snapshot/delete"])
def test_a_name_is_asked_for_and_one_of_the_environment_is_not_meant(web: Vm, target: str) -> None:
    web.make("create")
    for words in ([], ["NAME="]):
        said = refused(web, target, *words, environment={"NAME": "my-host"})
        assert f"NAME is missing: it says which snapshot is meant\n  write 'make {target} NAME=before-upgrade'" in said


def test_without_make_the_name_comes_from_the_environment(web: Vm) -> None:
    web.make("create")
    environment = {**os.environ, "NAME": "here", "DESCRIPTION": "as given"}
    subprocess.run([web.directory / "provisioner.py", "snapshot"], check=True, env=environment)
    assert listed() == ["here"]
    assert web.make("exec", "CMD=echo $NAME", environment={"NAME": "mine"}).stdout == "mine\n"


NAMES = {
    "a/b": "it holds other characters than A-Z, a-z, 0-9, '-', '_' and '.', which QEMU does not take",
    "..": "it begins with a dot",
    ".x": "it begins with a dot",
    "a b": "it holds other characters",
    "x ": "it holds other characters",
    "it's": "it holds other characters",
    "$HOME": "it holds other characters",
    "$(touch vmp-canary)": "it holds other characters",
    "\u00fc": "it holds other characters",
    "a\nb": "it holds other characters",
    "a\x07b": "it holds other characters",
    "a\udcffb": "it holds other characters",
    "x" * 201: "it has more than 200 bytes",
    "2": "it is a number: QEMU may take it for the number that each snapshot has in a qcow2",
}


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_that_libvirt_qemu_or_a_file_cannot_have_is_refused(web: Vm, name: str) -> None:
    web.make("create")
    said = refused(web, "snapshot", f"NAME={name}")
    assert NAMES[name] in said and "write 'make snapshot NAME=before-upgrade', for instance" in said


ODD = ["-x", "--name", "a b", "it's", "$HOME", "$(touch vmp-canary)", "\u00fc, \u00f6: <&>", "%s\\n", "a#b"]
"""What QEMU of this node takes, and that of a newer libvirt does not."""


def test_names_of_somebody_and_descriptions_arrive_byte_for_byte(web: Vm) -> None:
    web.make("create")
    for number, name in enumerate(ODD):
        virsh("snapshot-create-as", "web", f"--name={name}")
        web.make("snapshot", f"NAME=own-{number}", f"DESCRIPTION={name}")
        xml = ElementTree.fromstring(virsh("snapshot-dumpxml", "web", f"own-{number}"))
        assert xml.findtext("description") == name
    shown = web.make("snapshots").stdout.splitlines()
    for number, name in enumerate(ODD):
        assert any(line[2:].startswith(f"{name} ") for line in shown)
        assert any(line[2:].startswith(f"own-{number} ") and line.endswith(f"  {name}") for line in shown)
        web.make("revert", f"NAME={name}")
        web.make("snapshot/delete", f"NAME={name}")
    assert listed() == sorted(f"own-{number}" for number in range(len(ODD)))
    assert "it is not one line of text" in refused(web, "snapshot", "NAME=x", "DESCRIPTION=a\nb")


@pytest.mark.parametrize("name", ["x" * 200, "20261130", "-", "A.b_c-1", "--help"])
def test_a_name_that_everything_takes_is_the_name(web: Vm, name: str) -> None:
    web.make("up", "snapshot", f"NAME={name}")
    assert virsh("snapshot-list", "web", "--name").strip() == name
    web.make("revert", f"NAME={name}")
    web.make("snapshot/delete", f"NAME={name}")
    assert (listed(), in_disk()) == ([], [])


def test_a_number_of_somebody_is_not_reverted_to(web: Vm) -> None:
    """QEMU would go back to `x`, which has this number in the qcow2."""
    web.make("create")
    virsh("snapshot-create-as", "web", "2")
    virsh("snapshot-create-as", "web", "x")
    assert "the name of snapshot '2' is a number" in refused(web, "revert", "NAME=2")
    web.make("snapshot/delete", "NAME=2")
    assert in_disk() == ["x"]


def test_a_name_that_is_taken_is_refused_with_its_time(web: Vm) -> None:
    web.make("create", "snapshot", "NAME=one")
    said = refused(web, "snapshot", "NAME=one")
    assert f"there is a snapshot 'one', made {time.strftime('%Y-%m-%d')}T" in said
    assert "delete it first: make snapshot/delete NAME=one\n" in said


@pytest.mark.parametrize("target", ["revert", "snapshot/delete"])
def test_an_unknown_name_is_refused_with_the_nearest(web: Vm, target: str) -> None:
    web.make("create")
    said = refused(web, target, "NAME=befor-upgrade")
    assert "there is no snapshot 'befor-upgrade' of web\n  there are none" in said
    for name in ("before-upgrade", "other"):
        web.make("snapshot", f"NAME={name}")
    said = refused(web, target, "NAME=befor-upgrade")
    assert "is it 'before-upgrade'?\n  'make snapshots' lists them" in said


# -- listing --


def test_snapshots_are_listed_with_those_of_others_the_oldest_first(web: Vm) -> None:
    web.make("create")
    empty = web.make("snapshots")
    assert (empty.stdout, "there are no snapshots" in empty.stderr) == ("", True)
    web.make("snapshot", "NAME=zero", "DESCRIPTION=the first")
    time.sleep(1.1)
    web.make("start")
    web.make("snapshot", "NAME=running")
    time.sleep(1.1)
    virsh("snapshot-create-as", "web", "layer", "two\nlines", "--disk-only")
    lines = web.make("snapshots").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["zero", "running", "*"]
    assert lines[0].startswith("  zero     20") and lines[0].endswith("+00:00  shut off   the first")
    assert lines[1].endswith("  running")
    assert lines[2].startswith("* layer  ") and lines[2].endswith("  disks only, external  two lines")


def test_an_external_snapshot_that_libvirt_cannot_revert_to_is_an_error(web: Vm) -> None:
    web.make("up")
    virsh("snapshot-create-as", "web", "layer", "--disk-only")
    said = refused(web, "revert", "NAME=layer")
    assert "could not revert to external snapshot 'layer'" in said and "the domain is running now" in said
    web.make("snapshot/delete", "NAME=layer")
    assert listed() == []


# -- what is refused --


def test_without_a_domain_they_say_so(web: Vm) -> None:
    for words in (["snapshot", "NAME=x"], ["snapshots"], ["revert", "NAME=x"], ["snapshot/delete", "NAME=x"]):
        assert "there is no domain web" in refused(web, *words)


def test_a_raw_disk_that_the_guest_writes_to_is_named(blank_images: Path, base: Path) -> None:
    vm = machine(blank_images, base, RAW)
    vm.make("up")
    for target in ("kill", "start"):
        said = refused(vm, "snapshot", "NAME=x")
        assert "disk vdb (web/data.raw) is raw, and can hold no snapshot" in said and "'format: qcow2'" in said
        vm.make(target)
    vm.make("delete-all")


def test_a_raw_disk_that_the_guest_only_reads_is_no_obstacle(blank_images: Path, base: Path) -> None:
    vm = machine(blank_images, base, RAW_READ_ONLY)
    vm.make("up", "snapshot", "NAME=x")
    vm.make("kill", "snapshot", "NAME=y")
    vm.make("revert", "NAME=x")
    assert domain_state() == "running"
    vm.make("delete-all")


def test_saved_memory_forbids_a_snapshot_and_is_dropped_by_revert(web: Vm) -> None:
    web.make("create", "snapshot", "NAME=off")
    web.make("start", "snapshot", "NAME=on")
    for name, state in (("off", "shut off"), ("on", "running")):
        web.make("start", "save")
        assert "'make start snapshot' makes one of both" in refused(web, "snapshot", "NAME=x")
        assert "dropped the saved memory" in web.make("revert", f"NAME={name}").stderr
        assert domain_state() == state
        assert virsh("list", "--all", "--with-managed-save", "--name").strip() == ""


def test_a_transient_domain_is_refused(web: Vm) -> None:
    web.make("up")
    virsh("undefine", "web")
    assert "domain web is transient" in refused(web, "snapshot", "NAME=x")


def test_a_guest_that_sleeps_or_has_crashed_is_refused(blank_images: Path, base: Path) -> None:
    vm = machine(blank_images, base, WEB, "sleepy")
    vm.make("up")
    time.sleep(1)
    virsh("shutdown", "web")
    wait_for_state("pmsuspended")
    assert "it sleeps: 'make resume snapshot' wakes it first" in refused(vm, "snapshot", "NAME=x")
    vm.make("resume", "snapshot", "NAME=x")
    vm.make("delete-all")
    vm = machine(blank_images, base, WEB, "panicky")
    vm.make("up")
    wait_for_state("crashed")
    assert "'make stop snapshot start'" in refused(vm, "snapshot", "NAME=x")
    vm.make("stop", "snapshot", "NAME=x")
    vm.make("delete-all")


def wait_for_state(state: str) -> None:
    deadline = time.monotonic() + 20
    while domain_state() != state:
        assert time.monotonic() < deadline, domain_state()
        time.sleep(0.1)


def test_another_domain_of_that_name_is_refused(web: Vm) -> None:
    path = web.directory / "foreign.xml"
    path.write_text("<domain type='qemu'><name>web</name><memory>1024</memory><os><type>hvm</type></os></domain>")
    virsh("define", str(path))
    for words in (["snapshot", "NAME=x"], ["snapshots"], ["revert", "NAME=x"], ["snapshot/delete", "NAME=x"]):
        assert "there is another domain 'web'" in refused(web, *words)
    virsh("undefine", "web")
    path.unlink()


@contextmanager
def small_pool(size: str) -> Iterator[None]:
    """The pool of the VM on a file system of that size, with what it holds."""
    held = IMAGES / "held"
    shutil.copytree(BOOT.parent, held)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", BOOT.parent], check=True)
    try:
        shutil.copytree(held, BOOT.parent, dirs_exist_ok=True)
        shutil.rmtree(held)
        yield
    finally:
        shutil.copytree(BOOT.parent, held)
        subprocess.run(["umount", "--lazy", BOOT.parent], check=True)
        shutil.copytree(held, BOOT.parent, dirs_exist_ok=True)
        shutil.rmtree(held)


def test_memory_for_which_there_is_no_room_is_refused_with_numbers(web: Vm) -> None:
    web.make("create")
    with small_pool("32m"):
        web.make("start")
        said = refused(web, "snapshot", "NAME=x")
        assert "no room for the guest's memory: it has 64 MiB, and pool web 31 MiB left" in said
        assert "or 'make stop snapshot start': a guest that is off needs none" in said
        web.make("stop", "snapshot", "NAME=x")
        assert in_disk() == ["x"]


def test_a_disk_that_is_full_in_the_midst_leaves_the_guest_running_and_nothing_else(web: Vm) -> None:
    web.make("create")
    with small_pool("1m"):
        subprocess.run(["fallocate", "-l", str(free(BOOT.parent) - 4096), BOOT.parent / "filler"], check=True)
        web.make("start")
        virsh("pool-destroy", "web")  # nobody can tell how much room there is
        done = web.make("snapshot", "NAME=x", check=False)
        assert (done.returncode, "could not make snapshot 'x'" in done.stderr) == (2, True)
        assert (domain_state(), listed(), in_disk()) == ("running", [], [])
        (BOOT.parent / "filler").unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", BOOT.parent], check=True)
        web.make("snapshot", "NAME=x")
        web.make("revert", "NAME=x")
        assert (domain_state(), listed(), in_disk()) == ("running", ["x"], ["x"])
        web.make("kill", "start/pool")


def free(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


# -- half done --


def kill_libvirtd() -> None:
    os.kill(int(Path("/run/libvirtd.pid").read_text()), signal.SIGKILL)
    time.sleep(0.2)
    start_libvirtd()


def test_what_a_dead_libvirtd_has_left_in_the_disks_is_made_anew(web: Vm) -> None:
    """It dies after QEMU has made the snapshot, and before libvirt has written down that there is one."""
    web.make("create")
    subprocess.run(["qemu-img", "snapshot", "-c", "x", BOOT], check=True)
    write(1)
    web.make("snapshot", "NAME=x")
    assert in_disk() == ["x"]
    write(2)
    web.make("revert", "NAME=x")
    assert written() == 1
    subprocess.run(["qemu-img", "snapshot", "-c", "y", BOOT], check=True)
    web.make("start", "snapshot", "NAME=y")
    assert sorted(in_disk()) == ["x", "y"]
    web.make("revert", "NAME=y")
    assert domain_state() == "running"


def test_a_guest_that_stands_still_since_then_goes_on(blank_images: Path, base: Path) -> None:
    much = "  - name: web\n    template: blank\n    libvirt: {domain: {virtInstall: {memory: 2048}}}\n"
    vm = machine(blank_images, base, much)
    vm.make("up")
    for _ in range(20):  # until libvirtd dies while QEMU writes
        process = subprocess.Popen(["virsh", "-q", "snapshot-create-as", "web", "x"], stderr=subprocess.DEVNULL)
        while process.poll() is None and reason() != "paused (saving)":
            pass
        kill_libvirtd()
        process.wait()
        if reason() == "paused (saving)":
            break
        if "x" in listed():
            virsh("snapshot-delete", "web", "x")
    else:
        pytest.fail("the guest never stood still")
    assert "it goes on" in vm.make("snapshot", "NAME=x").stderr
    assert (domain_state(), listed(), in_disk()) == ("running", ["x"], ["x"])
    vm.make("delete-all")


def reason() -> str:
    return virsh("domstate", "--reason", "web").strip()


def test_an_entry_that_a_killed_run_has_left_is_no_snapshot(web: Vm) -> None:
    web.make("create")
    path = web.directory / "entry.xml"
    time_ = "<creationTime>1</creationTime>"
    path.write_text(
        f"<domainsnapshot><name>x</name><state>shutoff</state>{time_}{virsh('dumpxml', 'web')}</domainsnapshot>"
    )
    virsh("snapshot-create", "web", "--redefine", "--xmlfile", str(path))
    path.unlink()
    assert "there are no snapshots" in web.make("snapshots").stderr
    assert "snapshot 'x' was never finished" in refused(web, "revert", "NAME=x")
    web.make("snapshot", "NAME=x")
    assert (listed(), in_disk()) == (["x"], ["x"])
    web.make("revert", "NAME=x")


# -- deletion --


@pytest.mark.parametrize("vms", [WEB, UEFI, RETAINED], ids=["bios", "uefi", "retained"])
@pytest.mark.parametrize("target", ["down", "delete"])
def test_down_and_delete_take_all_snapshots_along(target: str, vms: str, blank_images: Path, base: Path) -> None:
    before = inventory()
    vm = machine(blank_images, base, vms)
    vm.make("up", "kill", "snapshot", "NAME=off")
    vm.make("start")
    if vms != UEFI:
        vm.make("snapshot", "NAME=on")
    said = vm.make(target).stderr
    assert f"its snapshots went with it: off{'' if vms == UEFI else ', on'}\n" in said
    left = {line for line in set(inventory()) - set(before) if "deaf.qcow2" not in line}
    kept = (
        {"pool web active", "file web", "file web/data.qcow2", "file /etc/libvirt/storage/web.xml"}
        if vms == RETAINED
        else set()
    )
    assert left == kept
    vm.make("up")
    assert listed() == []
    vm.make("delete-all")
    assert inventory() == before


def test_uefi_machines_at_work_side_by_side_share_the_directory_of_their_variables(
    blank_images: Path, base: Path
) -> None:
    before = inventory()
    names = [f"u{number}" for number in range(5)]
    vms = "".join(UEFI.replace("web", name) for name in names)
    machines = generate(blank(blank_image(blank_images, "deaf"), vms), base, "--fleet")
    fleet = Vm(base)
    fleet.make("-j5", "up")
    for name in names:
        machines[name].make("kill")
    running = [subprocess.Popen(machines[name].command("snapshot", "NAME=x"), cwd="/") for name in names]
    assert [process.wait(60) for process in running] == [0] * len(names)
    assert {path.name for path in NVRAM.iterdir()} == {
        name for each in names for name in (f"{each}_VARS.fd", f"{machines[each].uuid}.x")
    }
    fleet.make("-j5", "down")
    assert not list(NVRAM.iterdir())
    assert "vmp-nvram" not in virsh("pool-list", "--all", "--name")
    for name in names:
        machines[name].make("delete-all")
    assert inventory() == before

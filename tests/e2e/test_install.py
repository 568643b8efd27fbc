"""`install`: a system is installed once, and only an installer that has turned its guest off has come to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest
from installing import WEB, installed, installer_image
from world import ENVIRONMENT, Vm, domain_state, generate, start_libvirtd, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

SYSTEM = Path("/var/lib/libvirt/images/web/system.qcow2")
SOON = "V1ALPHA1_INSTALL_TIMEOUT_SECS=2"


def make_vm(base: Path, how: str, vms: str = WEB, *, change: Callable[[str], str] = str) -> Vm:
    """Return a VM whose installer ends in this way."""
    return generate(change(installed(installer_image(base.parent, how), vms)), base)["web"]


def dumped(*options: str) -> Element:
    return ElementTree.fromstring(virsh("dumpxml", "web", *options))


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def phase() -> str | None:
    mark = dumped("--inactive").find("metadata/{urn:vmp:v1alpha1}provisioner")
    assert mark is not None
    return mark.get("phase")


def begin(vm: Vm) -> None:
    """Begin an installation that does not end, and let go of it."""
    waited = vm.make("up", SOON, check=False)
    assert "not installed after 2 seconds" in waited.stderr
    assert domain_state() == "running"


def shuts_down() -> bool:
    """Ask the guest to shut down, as long as it boots; of those here only what was installed listens."""
    subprocess.run(["virsh", "-q", "shutdown", "web"], capture_output=True, env=ENVIRONMENT, check=False)
    return domain_state() == "shut off"


def begin_up(vm: Vm) -> subprocess.Popen[str]:
    """Begin `make up` in a process group of its own."""
    return subprocess.Popen(
        vm.command("up"),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    )


def fleet(base: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = ["make", "-C", str(base), *arguments]
    return subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT, check=False)


@pytest.mark.parametrize("how", ["reboots", "powers off"])
def test_up_installs_and_starts_what_was_installed(base: Path, how: str) -> None:
    vm = make_vm(base, how)
    ran = vm.make("up")
    said = [line for line in ran.stderr.splitlines() if "domain" in line or "installed" in line]
    assert said == [
        "web: created domain web, to be installed",
        "web: started domain web",
        "web: is installed",
        "web: started domain web",
    ]
    root = dumped()
    assert root.findtext("memory") == str(64 << 10)
    assert root.findtext("on_reboot") == "restart"
    assert [disk.get("file") for disk in root.iterfind("devices/disk/source")] == [str(SYSTEM)]
    assert phase() is None
    wait_until(shuts_down)
    assert "is as the directory says" in vm.make("diff").stderr
    assert "is installed" in vm.make("install").stderr
    vm.make("up", "down")


def test_the_system_finds_the_machine_that_it_was_installed_on(base: Path) -> None:
    vm = make_vm(base, "reboots")
    vm.make("create")
    before = dumped("--inactive")
    vm.make("up")
    after = dumped("--inactive")
    for root in (before, after):
        assert root.findtext("uuid") == vm.uuid
    assert before.find("os/type").get("machine") == after.find("os/type").get("machine")  # type: ignore[union-attr]
    for device in ("interface/mac", "interface/address", "disk/address", "disk/target"):
        one, other = [root.find(f"devices/{device}") for root in (before, after)]
        assert one is not None and other is not None
        assert one.attrib == other.attrib
    vm.make("down")


def test_create_stops_before_the_first_start_and_install_before_the_second(base: Path) -> None:
    vm = make_vm(base, "reboots")
    vm.make("create")
    assert (domain_state(), phase()) == ("shut off", "defined")
    assert "shut off, to be installed" in vm.make("status", check=False).stdout
    vm.make("create")
    assert phase() == "defined"
    vm.make("install")
    assert (domain_state(), phase()) == ("shut off", None)
    vm.make("up", "down")


def test_what_needs_an_installed_system_names_the_way_to_it(base: Path) -> None:
    vm = make_vm(base, "never ends")
    vm.make("create")
    for target in ("start", "restart", "apply", "snapshot"):
        ran = vm.make(target, "NAME=one", check=False)
        assert ran.returncode != 0
        assert "its system is still to be installed\n  'make up' installs and starts it, or says why not" in ran.stderr
    begin(vm)
    assert "running, installing" in vm.make("status", check=False).stdout
    differs = vm.make("diff", check=False)
    assert differs.stdout == "installation: has not ended  with make up\n"
    for target in ("start", "restart", "apply", "snapshot"):
        ran = vm.make(target, "NAME=one", check=False)
        assert "its system is being installed\n  'make up' waits for the end, and starts it" in ran.stderr
    assert "nothing is installed in this VM" not in vm.make("down").stderr


def test_an_installer_that_does_not_end_in_time_goes_on_and_is_waited_for_again(base: Path) -> None:
    vm = make_vm(base, "never ends")
    waited = vm.make("up", SOON, check=False)
    assert "not installed after 2 seconds" in waited.stderr
    assert "'make console' shows it, 'make up' waits for it again" in waited.stderr
    assert (domain_state(), phase()) == ("running", "begun")
    assert "started domain" not in vm.make("up", SOON, check=False).stderr
    vm.make("down")


BROKEN_OFF: dict[str, Callable[[Vm], object]] = {
    "plug pulled": lambda vm: virsh("destroy", "web"),
    "stopped": lambda vm: vm.make("stop"),
    "killed": lambda vm: os.kill(int(Path("/run/libvirt/qemu/web.pid").read_text()), signal.SIGKILL),
}


@pytest.mark.parametrize("how", BROKEN_OFF)
def test_an_installation_that_was_broken_off_is_none_and_begins_again_on_fresh_volumes(base: Path, how: str) -> None:
    data = """
  - name: web
    template: installed
    libvirt:
      domain:
        virtInstall:
          disk: [{name: data, options: {vol: web/data.qcow2, bus: virtio}}]
      volumes:
        - {name: data.qcow2, poolName: web, capacity: 8M, deletionPolicy: Retain}
"""
    vm = make_vm(base, "never ends", data)
    begin(vm)
    BROKEN_OFF[how](vm)
    wait_until(lambda: domain_state() in ("shut off", "crashed"))
    inodes = {path.name: path.stat().st_ino for path in SYSTEM.parent.iterdir()}
    for target in ("up", "create", "status"):
        ran = vm.make(target, SOON, check=False)
        if target == "up":
            assert "the installation was broken off: the domain is shut off (" in ran.stderr
            assert "'make install' begins it again, on fresh volumes" in ran.stderr
    assert {path.name: path.stat().st_ino for path in SYSTEM.parent.iterdir()} == inodes
    again = vm.make("install", SOON, check=False)
    assert "the installation begins again, on fresh volumes" in again.stderr
    assert "deleted volume web/system.qcow2" in again.stderr
    assert "kept volume web/data.qcow2 as it is: it is to be retained" in again.stderr
    assert (domain_state(), phase()) == ("running", "begun")
    vm.make("down", "delete/volume-all", "delete/pool")


def test_a_misspelt_word_deletes_nothing(base: Path) -> None:
    vm = make_vm(base, "never ends")
    begin(vm)
    virsh("destroy", "web")
    inode = SYSTEM.stat().st_ino
    for target in ("install", "up"):
        assert "FORCE is '1', neither yes nor no" in vm.make(target, "FORCE=1", check=False).stderr
    assert SYSTEM.stat().st_ino == inode
    vm.make("down")


def test_a_pool_that_is_stopped_is_no_empty_disk(base: Path) -> None:
    vm = make_vm(base, "reboots")
    vm.make("up", "V1ALPHA1_INSTALL_TIMEOUT_SECS=0", check=False)
    wait_until(lambda: domain_state() == "shut off")
    inode = SYSTEM.stat().st_ino
    virsh("pool-destroy", "web")
    assert "web: is installed" in vm.make("install").stderr
    assert SYSTEM.stat().st_ino == inode
    vm.make("down")


def test_what_was_never_started_is_made_as_the_directory_says_now(base: Path) -> None:
    make_vm(base, "reboots", change=lambda text: text.replace("memory: 96", "memory: 95")).make("create")
    vm = make_vm(base, "reboots")
    ran = vm.make("install")
    assert (
        "the directory has changed since the domain was made, and it was never started: it is made anew" in ran.stderr
    )
    assert "is installed" in ran.stderr
    vm.make("down")


def test_what_has_changed_while_the_system_was_installed_is_a_difference_afterwards(base: Path) -> None:
    vm = make_vm(base, "reboots")
    vm.make("up", "V1ALPHA1_INSTALL_TIMEOUT_SECS=0", check=False)
    vm = make_vm(base, "reboots", change=lambda text: text.replace("capacity: 64M", "capacity: 96M"))
    vm.make("up")
    assert "volume web/system.qcow2: 64 MiB → 96M" in vm.make("diff", check=False).stdout
    vm.make("apply")
    assert "is as the directory says" in vm.make("diff").stderr
    vm.make("down")


def test_an_installer_whose_memory_was_saved_goes_on(base: Path) -> None:
    vm = make_vm(base, "never ends")
    begin(vm)
    vm.make("save")
    assert "shut off, to be installed, saved" in vm.make("status", check=False).stdout
    ran = vm.make("up", SOON, check=False)
    assert "started domain web" in ran.stderr and "not installed after" in ran.stderr
    vm.make("suspend")
    assert "resumed domain web" in vm.make("up", SOON, check=False).stderr
    assert domain_state() == "running"
    vm.make("down")


def test_an_installer_is_not_taken_for_the_system(base: Path) -> None:
    vm = make_vm(
        base,
        "never ends",
        change=lambda text: text.replace("    libvirt:\n      domain", "    ssh: {}\n    libvirt:\n      domain"),
    )
    begin(vm)
    ran = vm.make("wait-for-ready", check=False)
    assert "its system is being installed" in ran.stderr
    vm.make("down")


def test_a_panic_is_no_end(base: Path) -> None:
    vm = make_vm(base, "panics")
    ran = vm.make("up", check=False)
    assert "the installation was broken off: the domain is shut off (crashed)" in ran.stderr
    vm.make("down")


def test_a_guest_that_turns_itself_off_and_has_written_nothing_has_installed_nothing(base: Path) -> None:
    vm = make_vm(base, "does nothing")
    for target in ("up", "up", "install"):
        ran = vm.make(target, check=False)
        assert ran.returncode != 0
        assert "nothing is installed" in ran.stderr
    assert phase() == "begun"
    forced = vm.make("up", "FORCE=yes")
    assert "is installed" in forced.stderr
    assert (domain_state(), phase()) == ("running", None)
    vm.make("down")


def test_an_end_that_nobody_saw_is_not_taken_for_one(base: Path) -> None:
    """libvirt forgets how a domain has ended when it is started anew."""
    vm = make_vm(base, "never ends")
    begin(vm)
    virsh("destroy", "web")
    subprocess.run(["pkill", "-x", "libvirtd"], check=True)
    wait_until(lambda: subprocess.run(["pgrep", "-x", "libvirtd"], check=False).returncode != 0)
    start_libvirtd()
    ran = vm.make("up", check=False)
    assert "nobody saw how the installation ended" in ran.stderr
    assert "'make up FORCE=yes' takes what is on the disks for an installed system" in ran.stderr
    vm.make("up", "FORCE=yes")
    assert (domain_state(), phase()) == ("running", None)
    vm.make("down")


def test_other_targets_need_not_wait_for_the_installer(base: Path) -> None:
    vm = make_vm(base, "never ends")
    waiting = begin_up(vm)
    wait_until(lambda: "web" in virsh("list", "--name") and phase() == "begun")
    down = vm.make("down")
    assert "waiting for another run" not in down.stderr
    _, said = waiting.communicate(timeout=60)
    assert waiting.returncode != 0
    assert "there is no domain web" in said


def test_a_run_that_was_killed_while_it_waited_is_gone_on_with(base: Path) -> None:
    vm = make_vm(base, "reboots")
    waiting = begin_up(vm)
    wait_until(lambda: "web" in virsh("list", "--name"))
    os.killpg(waiting.pid, signal.SIGKILL)
    waiting.communicate()
    ran = vm.make("up")
    assert "is installed" in ran.stderr
    assert (domain_state(), phase()) == ("running", None)
    vm.make("down")


def test_uefi_variables_that_the_installer_wrote_stay(base: Path) -> None:
    vm = make_vm(
        base, "never ends", change=lambda text: text.replace("memory: 64\n", "memory: 128\n          boot: uefi\n")
    )
    begin(vm)
    variables = Path(str(dumped().findtext("os/nvram")))
    virsh("destroy", "web")
    written = variables.read_bytes()[:-8] + b"written!"
    variables.write_bytes(written)
    vm.make("up", "FORCE=yes")
    assert dumped().findtext("os/nvram") == str(variables)
    assert variables.read_bytes()[-8:] == b"written!"
    vm.make("down")
    assert not variables.exists()


def test_a_domain_that_is_still_to_be_installed_does_not_start_with_its_node(base: Path) -> None:
    vm = make_vm(base, "reboots", change=lambda text: text.replace("osinfo:", "autostart: true\n          osinfo:"))
    vm.make("create", "create")
    assert virsh("list", "--all", "--autostart", "--name").strip() == ""
    vm.make("install")
    assert virsh("list", "--all", "--autostart", "--name").strip() == "web"
    vm.make("down")


def test_a_fleet_says_what_is_being_installed(base: Path) -> None:
    text = installed(installer_image(base.parent, "never ends"))
    vm = generate(text, base, "--fleet")["web"]
    begin(vm)
    status = subprocess.run(
        ["make", "-C", base, "status"], capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    assert status.returncode != 0
    assert "web  localhost  installing" in status.stdout
    vm.make("down")


def test_a_fleet_installs_several(base: Path) -> None:
    names = ["web", "db"]
    vms = "".join([f"  - {{name: {name}, template: installed}}\n" for name in names])
    generate(installed(installer_image(base.parent, "reboots"), vms), base, "--fleet")
    assert fleet(base, "-j2", "up").returncode == 0
    assert sorted(virsh("list", "--name").split()) == sorted(names)
    assert fleet(base, "diff").returncode == 0
    assert fleet(base, "down").returncode == 0

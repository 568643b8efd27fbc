"""Domains in every state that libvirt knows, and what each target makes of them."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from between import install
from blank import blank, blank_image, with_data
from world import ENVIRONMENT, domain_state, generate, inventory, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")


def wait_for(wanted: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while (state := domain_state()) != wanted:
        assert time.monotonic() < end, f"the domain is {state}, not {wanted}, after {seconds} s"
        time.sleep(0.1)


def pid_of(path: str) -> int:
    return int(Path(path).read_text())


def listing(kind: str) -> str:
    return virsh(f"{kind}-list", "--domain", "web", "--name").strip()


COPY = Path("/var/lib/libvirt/copy of web")  # of a block job: in no pool


# How a running domain gets into each state.


def stay_running() -> None:
    pass


def pause() -> None:
    virsh("suspend", "web")


def shut_off() -> None:
    virsh("destroy", "web")


def save() -> None:
    virsh("managedsave", "web")
    assert list(Path("/var/lib/libvirt/qemu/save").iterdir())


def snapshot() -> None:
    virsh("snapshot-create-as", "web")


def snapshot_and_save() -> None:
    snapshot()
    save()


def checkpoint() -> None:
    virsh("checkpoint-create-as", "web")


def autostart() -> None:
    virsh("autostart", "web")
    assert Path("/etc/libvirt/qemu/autostart/web.xml").is_symlink()


def become_transient() -> None:
    virsh("undefine", "web")


def be_created_transient() -> None:
    """As by `virsh create` of another client: never defined."""
    xml = virsh("dumpxml", "web", "--inactive")
    virsh("destroy", "web")
    virsh("undefine", "web", *(["--keep-nvram", "--keep-tpm"] if "firmware='efi'" in xml else []))
    subprocess.run(["virsh", "-q", "create", "/dev/stdin"], input=xml, text=True, check=True)


def be_in_a_block_job() -> None:
    COPY.unlink(missing_ok=True)
    virsh("blockcopy", "web", "vda", str(COPY), "--transient-job", "--bandwidth", "1", "--bytes")
    assert "<mirror" in virsh("dumpxml", "web")


def crash() -> None:
    wait_for("crashed")


def suspend_to_memory() -> None:
    while domain_state() != "pmsuspended":  # the firmware does not hear the button yet
        subprocess.run(["virsh", "-q", "shutdown", "web"], check=False, capture_output=True)
        time.sleep(0.5)


# State, guest, how it comes about, and for each target the state that it ends in, and what it says.
Result = tuple[str, str]
PLUG = "stopped domain web (the plug was pulled)"
STATES: dict[str, tuple[str, Callable[[], None], dict[str, Result]]] = {
    "running": (
        "deaf",
        stay_running,
        {
            "stop": ("shut off", PLUG),
            "kill": ("shut off", PLUG),
            "restart": ("running", "started domain web"),
        },
    ),
    "paused": (
        "deaf",
        pause,
        {
            "start": ("running", "resumed domain web"),
            "stop": ("shut off", PLUG),
            "restart": ("running", "started domain web"),
        },
    ),
    "shut off": (
        "deaf",
        shut_off,
        {
            "start": ("running", "started domain web"),
            "stop": ("shut off", ""),
            "restart": ("running", "started domain web"),
        },
    ),
    "crashed": (
        "panicky",
        crash,
        {
            "start": ("running", "started domain web"),
            "stop": ("shut off", PLUG),
            "restart": ("running", "started domain web"),
        },
    ),
    "saved": (
        "deaf",
        save,
        {
            "up": ("running", "started domain web"),
            "stop": ("shut off", ""),
        },
    ),
    "transient": (
        "deaf",
        become_transient,
        {
            "up": ("running", "is running"),
            "stop": ("gone", PLUG),
        },
    ),
    "created transient": (
        "deaf",
        be_created_transient,
        {
            "up": ("running", "is running"),
            "stop": ("gone", PLUG),
        },
    ),
    "with a snapshot": ("deaf", snapshot, {"restart": ("running", "started domain web")}),
    "with a snapshot and saved": ("deaf", snapshot_and_save, {"start": ("running", "started domain web")}),
    "with a checkpoint": ("deaf", checkpoint, {"restart": ("running", "started domain web")}),
    "autostarted": ("deaf", autostart, {"restart": ("running", "started domain web")}),
    "in a block job": ("deaf", be_in_a_block_job, {"restart": ("running", "started domain web")}),
    "suspended to memory": (
        "sleepy",
        suspend_to_memory,
        {
            "start": ("running", "woke domain web up"),
            "stop": ("shut off", PLUG),
        },
    ),
}


@pytest.mark.parametrize("state", STATES)
def test_each_target_does_what_it_says_from_every_state(state: str, blank_images: Path, base: Path) -> None:
    guest, get_there, targets = STATES[state]
    before = inventory()
    vm = generate(blank(blank_image(blank_images, guest)), base)["web"]
    for target, (result, words) in targets.items():
        vm.make("kill", "up")
        get_there()
        done = vm.make(target, check=False)
        assert done.returncode == 0, done.stderr
        assert domain_state() == result, target
        assert words in done.stderr, target
    for target in ("delete", "down"):
        vm.make("kill", "up")
        get_there()
        done = vm.make(target)
        assert "deleted domain web" in done.stderr
        assert domain_state() == "gone"
        assert set(inventory()) - set(before) == {f"file {guest}.qcow2"}, f"{target} leaves the retained image alone"
    vm.make("delete-all")


def begin_shutdown() -> int:
    """The guest turns itself off, but its QEMU, which is returned, does not end: it is stopped before that."""
    libvirtd = pid_of("/run/libvirtd.pid")
    while domain_state() == "running":
        qemu = pid_of("/run/libvirt/qemu/web.pid")
        virsh("shutdown", "web")
        try:
            os.kill(libvirtd, signal.SIGSTOP)
            time.sleep(5)
            os.kill(qemu, signal.SIGSTOP)
        finally:
            os.kill(libvirtd, signal.SIGCONT)
        time.sleep(1)
        if domain_state() == "running":
            os.kill(qemu, signal.SIGCONT)
    assert domain_state() == "in shutdown"
    return qemu


def test_a_domain_that_is_shutting_down_is_waited_for(blank_images: Path, base: Path) -> None:
    vm = generate(blank(blank_image(blank_images, "button")), base)["web"]
    vm.make("up")
    time.sleep(1)
    qemu = begin_shutdown()
    refused = vm.make("up", "V1ALPHA1_STOP_TIMEOUT_SECS=1", check=False)
    assert refused.returncode != 0
    assert "'make kill start' pulls the plug and starts it again" in refused.stderr
    assert domain_state() == "in shutdown"
    threading.Timer(2, os.kill, (qemu, signal.SIGCONT)).start()
    restarted = vm.make("start", "V1ALPHA1_STOP_TIMEOUT_SECS=60")
    assert "started domain web" in restarted.stderr
    assert domain_state() == "running"
    time.sleep(1)
    qemu = begin_shutdown()
    threading.Timer(1, os.kill, (qemu, signal.SIGCONT)).start()
    vm.make("down")
    assert domain_state() == "gone"
    vm.make("delete-all")


# Guest, seconds that it gets, what is done to it before, what `stop` says.
STOPS = {
    "a guest that obeys": ("button", 60, pause, "the guest shut down after"),
    "a guest that hears nothing": ("deaf", 2, stay_running, "did not shut down within 2 seconds: pulling the plug"),
    "a guest that sleeps": ("sleepy", 2, suspend_to_memory, "did not shut down within 2 seconds: pulling the plug"),
}


@pytest.mark.parametrize("case", STOPS)
def test_stop_asks_the_guest_and_says_which_way_it_went(case: str, blank_images: Path, base: Path) -> None:
    guest, seconds, prepare, words = STOPS[case]
    vm = generate(blank(blank_image(blank_images, guest)), base)["web"]
    vm.make("up")
    time.sleep(1)
    prepare()
    stopped = vm.make("stop", f"V1ALPHA1_STOP_TIMEOUT_SECS={seconds}")
    assert words in stopped.stderr
    assert (PLUG in stopped.stderr) == ("plug" in words)
    assert domain_state() == "shut off"
    assert vm.make("stop").stderr == ""
    vm.make("delete-all")


FIRMWARE = """
  - name: web
    template: blank
    libvirt:
      domain:
        virtInstall:
          memory: 128
          boot: uefi
          tpm: "backend.type=emulator,backend.version=2.0,model=tpm-crb"
"""


def test_firmware_variables_and_tpm_state_go_with_the_domain(blank_images: Path, base: Path) -> None:
    before = inventory()
    vm = generate(blank(blank_image(blank_images, "deaf"), FIRMWARE), base)["web"]
    for get_there in (stay_running, shut_off, save, be_created_transient):
        vm.make("up")
        assert Path("/var/lib/libvirt/qemu/nvram/web_VARS.fd").exists()
        assert any(Path("/var/lib/libvirt/swtpm").glob("*/tpm2/tpm2-00.permall"))
        if get_there is stay_running:
            with vm.console() as console:
                console.expect("BdsDxe", timeout=120)
        get_there()
        vm.make("down")
        assert set(inventory()) - set(before) == {"file deaf.qcow2"}, get_there.__name__
    vm.make("delete-all")


DATA = with_data("data.qcow2", "deletionPolicy: Retain")


def external_snapshot(name: str, *disks: str) -> None:
    wanted = {disk: f"{disk},snapshot=external" for disk in disks}
    specs = [f"--diskspec={wanted.get(disk, disk + ',snapshot=no')}" for disk in ("vda", "vdb")]
    virsh("snapshot-create-as", "web", name, "--disk-only", *specs)


@pytest.mark.parametrize("get_there", [stay_running, shut_off], ids=lambda how: how.__name__)
def test_layers_of_external_snapshots_go_with_the_volume_that_they_are_over(
    get_there: Callable[[], None], blank_images: Path, base: Path
) -> None:
    before = inventory()
    vm = generate(blank(blank_image(blank_images, "deaf"), DATA), base)["web"]
    vm.make("up")
    external_snapshot("first", "vda")
    external_snapshot("second", "vda")
    assert Path("/var/lib/libvirt/images/web/boot.second").exists()
    get_there()
    assert vm.make("start").returncode == 0
    get_there()
    down = vm.make("down")
    for volume in ("boot.second", "boot.first", "boot.qcow2"):
        assert f"deleted volume web/{volume}" in down.stderr
    assert "kept pool web: it holds data.qcow2" in down.stderr
    vm.make("delete-all")
    assert inventory() == before


def test_the_layer_of_a_retained_volume_is_retained_and_said_to_be(blank_images: Path, base: Path) -> None:
    before = inventory()
    vm = generate(blank(blank_image(blank_images, "deaf"), DATA), base)["web"]
    vm.make("up")
    external_snapshot("first", "vda", "vdb")
    down = vm.make("down")
    assert "deleted volume web/boot.first" in down.stderr
    assert "kept volume web/data.first" in down.stderr
    assert "kept pool web: it holds data.first, data.qcow2" in down.stderr
    assert Path("/var/lib/libvirt/images/web/data.first").exists()
    vm.make("up", "down")
    kept = vm.make("delete-all")
    assert "kept volume web/data.qcow2: volume /var/lib/libvirt/images/web/data.first uses it" in kept.stderr
    virsh("vol-delete", "--pool=web", "data.first")
    vm.make("delete-all")
    assert inventory() == before


def test_delete_all_takes_the_layer_of_a_retained_volume_along(blank_images: Path, base: Path) -> None:
    before = inventory()
    vm = generate(blank(blank_image(blank_images, "deaf"), DATA), base)["web"]
    vm.make("up")
    external_snapshot("first", "vda", "vdb")
    vm.make("delete-all")
    assert inventory() == before


def test_a_renamed_domain_is_still_this_vm(blank_images: Path, base: Path) -> None:
    before = inventory()
    vm = generate(blank(blank_image(blank_images, "deaf")), base)["web"]
    vm.make("create")
    virsh("domrename", "web", "other")
    started = vm.make("up")
    assert "called 'other' now" in started.stderr
    assert domain_state("other") == "running"
    assert domain_state("web") == "gone"
    assert vm.make("status").returncode == 0
    vm.make("down")
    vm.make("delete-all")
    assert inventory() == before


def interpose(directory: Path, command: str) -> dict[str, str]:
    """Return an environment in which another client runs a command just before virsh is told to act on the domain."""
    script = f"""
case $1 in
    start|resume|shutdown|destroy|undefine)
        [ -e '{directory}/log' ] || ({command}) >>'{directory}/log' 2>&1 </dev/null
        ;;
esac
"""
    return install(directory, script, directory / "commands", ENVIRONMENT["PATH"])


VIRSH = "/usr/bin/virsh"
# State before, target, what another client does between its look and its act, then: exit code, state, words.
RACES: dict[str, tuple[Callable[[], None], str, str, int, str, str]] = {
    "start, undefined": (shut_off, "start", f"{VIRSH} undefine web", 2, "gone", "could not"),
    "start, started": (shut_off, "start", f"{VIRSH} start web", 0, "running", ""),
    "start, resumed": (pause, "start", f"{VIRSH} resume web", 0, "running", ""),
    "start, destroyed": (pause, "start", f"{VIRSH} destroy web", 2, "shut off", "not running"),
    "stop, destroyed": (stay_running, "stop", f"{VIRSH} destroy web", 0, "shut off", ""),
    "stop, gone": (stay_running, "stop", f"{VIRSH} destroy web; {VIRSH} undefine web", 0, "gone", ""),
    "kill, gone": (stay_running, "kill", f"{VIRSH} destroy web; {VIRSH} undefine web", 0, "gone", ""),
    "delete, gone": (stay_running, "delete", f"{VIRSH} destroy web; {VIRSH} undefine web", 0, "gone", "deleted"),
    "delete, started": (shut_off, "delete", f"{VIRSH} start web", 0, "gone", "deleted domain web"),
    "delete, destroyed": (stay_running, "delete", f"{VIRSH} destroy web", 0, "gone", "deleted domain web"),
}


def test_another_client_may_act_between_look_and_act(blank_images: Path, base: Path, tmp_path: Path) -> None:
    vm = generate(blank(blank_image(blank_images, "deaf")), base)["web"]
    for case, (get_there, target, command, code, state, words) in RACES.items():
        vm.make("kill", "up")
        get_there()
        shim = tmp_path / case
        done = vm.make(target, check=False, environment=interpose(shim, command))
        assert "failed" not in (shim / "log").read_text(), f"{case}: the other client did what it should"
        assert (done.returncode, domain_state()) == (code, state), case + done.stderr
        assert words in done.stderr, case
    vm.make("delete-all")


def test_a_managed_save_that_cannot_be_restored_is_named_with_the_way_out(blank_images: Path, base: Path) -> None:
    vm = generate(blank(blank_image(blank_images, "deaf")), base)["web"]
    vm.make("up")
    save()
    (saved,) = Path("/var/lib/libvirt/qemu/save").iterdir()
    saved.write_bytes(b"LibvirtQemudSave" + bytes(4096))
    for target in ("start", "up"):
        refused = vm.make(target, check=False)
        assert refused.returncode != 0 and "not yet on its disks is then lost" in refused.stderr
        (way,) = [line.strip() for line in refused.stderr.splitlines() if "managedsave-remove" in line]
    subprocess.run(way, shell=True, check=True, capture_output=True)
    assert "started domain web" in vm.make("up").stderr
    vm.make("delete-all")


def test_a_domain_made_anew_keeps_its_volumes_and_has_the_new_definition(blank_images: Path, base: Path) -> None:
    registry = blank(blank_image(blank_images, "deaf"))
    vm = generate(registry, base)["web"]
    vm.make("up")
    volume = Path("/var/lib/libvirt/images/web/boot.qcow2")
    before = volume.stat().st_ino
    generate(registry.replace("memory: 64", "memory: 80").replace("vcpus: 1", "vcpus: 2"), base)
    assert "'make apply' brings it to the domain and keeps every disk" in vm.make("up").stderr
    vm.make("stop", "delete/domain", "up")
    assert "<memory unit='KiB'>81920<" in virsh("dumpxml", "web") and volume.stat().st_ino == before
    assert vm.make("up").stderr == "web: is running\n"
    vm.make("delete-all")

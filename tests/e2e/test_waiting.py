"""wait-for-ready: it ends before its deadline, whatever hangs, and says what it waited for and what it saw."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from guest_registries import cloud
from world import ENVIRONMENT, Vm, generate, inventory, remove_all, virsh

GUESTS = """
  - name: web
    template: cloud
  - name: blank
    template: cloud
    libvirt:
      volumes:
        - name: boot.qcow2
          $patch: replace
          poolName: "{VM_NAME}"
          format: qcow2
          capacity: 1M
      domain: {virtInstall: {memory: 64}}
  - name: logged
    template: cloud
    libvirt:
      domain:
        virtInstall:
          network: none
          serial:
            - name: console
              options: {pty: true, log.file: "/var/log/libvirt/qemu/console of it's.log"}
  - name: filed
    template: cloud
    libvirt:
      domain:
        virtInstall:
          serial:
            - name: console
              options: {file: true, path: /var/log/libvirt/qemu/console.log}
"""

LATE = 10
"""How many seconds after its deadline a run may end."""


@pytest.fixture(scope="module")
def guests(
    default_pool: None, tiny_disk: Path, ssh_key: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Vm]]:
    """Guests that run while the module's tests do: booting takes longer than most of the tests."""
    before = inventory()
    base = tmp_path_factory.mktemp("waiting") / "vms of it's $HOME"
    vms = generate(cloud(tiny_disk, ssh_key, GUESTS), base)
    for vm in vms.values():
        vm.make("up")
    yield vms
    for vm in vms.values():
        vm.make("delete-all", "V1ALPHA1_STOP_TIMEOUT_SECS=0")
    after = inventory()
    if after != before:
        remove_all()
    assert after == before


@pytest.fixture(scope="module")
def ready(guests: dict[str, Vm]) -> Vm:
    """The guest that answers."""
    guests["web"].make("wait-for-ready")
    return guests["web"]


@pytest.fixture
def shim(tmp_path: Path) -> Callable[[str, str], dict[str, str]]:
    """Put a program of the test's in place of another one, for one run."""

    def make(name: str, script: str) -> dict[str, str]:
        path = tmp_path / "shims" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return {"PATH": f"{path.parent}:{ENVIRONMENT['PATH']}"}

    return make


def wait(
    vm: Vm, *knobs: str, seconds: int = 5, target: str = "wait-for-ready", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Wait with a deadline, and see to it that it is kept."""
    begin = time.monotonic()
    done = vm.make(
        target,
        f"V1ALPHA1_WAIT_FOR_READY_TIMEOUT_SECS={seconds}",
        *knobs,
        check=False,
        timeout=seconds + 10 * LATE,
        environment=environment,
    )
    assert time.monotonic() - begin < seconds + LATE, done.stderr
    return done


def given_up(vm: Vm, *knobs: str, stage: str, **options: int | str | dict[str, str]) -> str:
    """Return what is said when the deadline passes in this stage."""
    done = wait(vm, *knobs, **options)  # type: ignore[arg-type]
    assert done.returncode != 0, done.stderr
    assert f"waiting for: {stage}\n" in done.stderr, done.stderr
    return done.stderr


def mac(vm: Vm) -> str:
    return virsh("domiflist", vm.uuid).split()[4]


# Without an address.


def test_without_an_address_each_source_is_named_with_its_answer_for_each_mac(guests: dict[str, Vm]) -> None:
    vm = guests["blank"]
    virsh("attach-interface", "blank", "network", "default", "--model", "virtio", "--live")
    macs = [line.split()[4] for line in virsh("domiflist", "blank").splitlines()]
    assert len(macs) == 2
    said = given_up(vm, stage="an address", seconds=4)
    for address in macs:
        assert f"lease: nothing known of MAC address {address}" in said
        assert f"arp: nothing known of MAC address {address}" in said, said
    assert "agent: Guest agent is not responding" in said
    assert "the console shows nothing" in said and "log.file" in said
    assert said.count("waiting for an address (") == 1, "no flood"
    virsh("detach-interface", "blank", "network", "--mac", macs[1], "--live")


def test_a_command_that_gives_no_address_is_bounded_and_named(guests: dict[str, Vm]) -> None:
    vm = guests["blank"]
    commands = {
        "sleep 1000; echo 192.168.122.99": "V1ALPHA1_IP_CMD took longer than",
        "exit 3": "V1ALPHA1_IP_CMD failed with exit code 3",
        "echo 192.168.122.99; exit 4": "V1ALPHA1_IP_CMD failed with exit code 4",
        "true": "V1ALPHA1_IP_CMD printed nothing",
    }
    with ThreadPoolExecutor() as at_once:
        said = at_once.map(
            lambda command: given_up(vm, f"V1ALPHA1_IP_CMD={command}", stage="an address", seconds=1), commands
        )
        for (command, reason), words in zip(commands.items(), said, strict=True):
            assert reason in words, command


def test_a_virsh_that_hangs_is_bounded(guests: dict[str, Vm], shim: Callable[[str, str], dict[str, str]]) -> None:
    said = given_up(guests["blank"], stage="an address", seconds=1, environment=shim("virsh", "exec sleep 1000"))
    assert "virsh took longer than" in said


def test_a_libvirt_that_is_not_there_is_named(
    guests: dict[str, Vm], shim: Callable[[str, str], dict[str, str]]
) -> None:
    environment = shim("virsh", "exec /usr/bin/virsh -q -c 'qemu+unix:///system?socket=/nonexistent' ")
    said = given_up(guests["blank"], stage="an address", seconds=1, environment=environment)
    assert "/nonexistent" in said


def test_a_domain_without_a_network_interface_has_no_address(guests: dict[str, Vm]) -> None:
    assert "the domain has no network interface" in given_up(guests["logged"], stage="an address", seconds=1)


@pytest.mark.parametrize(("name", "log"), [("logged", "console of it's.log"), ("filed", "console.log")])
def test_the_end_of_the_consoles_log_is_shown(guests: dict[str, Vm], name: str, log: str) -> None:
    path = Path("/var/log/libvirt/qemu") / log
    deadline = time.monotonic() + 120
    while "vmp test guest" not in path.read_text(errors="replace"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    with path.open("a") as file:
        file.write("\x1b[31mred\x1b[0m\x07\n")
    said = given_up(guests[name], "V1ALPHA1_IP_CMD=false", stage="an address", seconds=1)
    assert f"the end of the console ({path}):" in said
    assert "Welcome to the vmp test guest" in said and "red\n" in said
    assert "\x1b" not in said and "\x07" not in said


# Without SSH.


def test_without_ssh_its_last_words_and_the_console_are_shown(ready: Vm) -> None:
    reasons = {
        "-oPort=2": "Connection refused",
        "-oUser=nobody": "Permission denied",
        "-oPubkeyAuthentication=no": "Permission denied",
    }
    address = ready.make("ip").stdout.strip()
    with ThreadPoolExecutor() as at_once:
        said = list(
            at_once.map(
                lambda option: given_up(ready, f"V1ALPHA1_SSH_EXTRA_OPTS={option}", stage="SSH", seconds=6), reasons
            )
        )
    for reason, words in zip(reasons.values(), said, strict=True):
        assert f"address {address}: " in words and reason in words
        assert f"lease: {mac(ready)} has {address}" in words
        assert "waiting for SSH (" in words
    shown = [words for words in said if "the console, after Enter was pressed on it:" in words]
    assert shown and all("host-of-web#" in words for words in shown), "one at a time has the console"


def test_a_wrong_password_is_an_ssh_error_that_shows_no_password(ready: Vm) -> None:
    options = "-oPubkeyAuthentication=no -oPreferredAuthentications=password -oNumberOfPasswordPrompts=1"
    password = ready.directory / "ssh-password"
    plan = ready.directory / "vm.json"
    facts = plan.read_text()
    plan.write_text(json.dumps({**json.loads(facts), "ssh": {**json.loads(facts)["ssh"], "password": True}}))
    password.write_text("wrong password")
    try:
        said = given_up(ready, f"V1ALPHA1_SSH_EXTRA_OPTS={options}", stage="SSH")
    finally:
        plan.write_text(facts)
        password.unlink()
    assert "Permission denied" in said and "wrong password" not in said


def test_an_ssh_port_behind_a_firewall_is_bounded(ready: Vm) -> None:
    address = ready.make("ip").stdout.strip()
    rule = ["OUTPUT", "-d", address, "-p", "tcp", "--dport", "22", "-j", "DROP"]
    subprocess.run(["iptables", "-I", *rule], check=True)
    try:
        said = given_up(ready, "V1ALPHA1_WAIT_FOR_READY_SSH_CONNECT_TIMEOUT_SECS=1", stage="SSH")
    finally:
        subprocess.run(["iptables", "-D", *rule], check=True)
    assert "timed out" in said.lower()


def test_an_ssh_that_hangs_is_bounded(ready: Vm, shim: Callable[[str, str], dict[str, str]]) -> None:
    said = given_up(ready, stage="SSH", environment=shim("ssh", "exec sleep 1000"))
    assert "ssh took longer than" in said


def test_a_virsh_that_hangs_does_not_hold_up_the_diagnosis(
    ready: Vm, shim: Callable[[str, str], dict[str, str]], tmp_path: Path
) -> None:
    """Libvirt answers once, then never again."""
    script = f'[ ! -e "{tmp_path}/asked" ] || exec sleep 1000; : >"{tmp_path}/asked"; exec /usr/bin/virsh "$@"'
    given_up(ready, "V1ALPHA1_SSH_EXTRA_OPTS=-oPort=2", stage="SSH", environment=shim("virsh", script))


def test_another_host_key_fails_at_once(ready: Vm, tmp_path: Path) -> None:
    known = ready.directory / "known_hosts"
    kept = known.read_text()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    name, kind, _ = kept.splitlines()[0].split()[:3]
    known.write_text(f"{name} {kind} {(tmp_path / 'other.pub').read_text().split()[1]}\n")
    begin = time.monotonic()
    done = wait(ready, seconds=60)
    known.write_text(kept)
    assert done.returncode != 0 and time.monotonic() - begin < 20
    assert "host key" in done.stderr and "delete known_hosts" in done.stderr


def test_a_console_that_somebody_uses_stays_theirs(ready: Vm) -> None:
    with ready.console() as console:
        console.expect("host-of-web#", timeout=20, nudge="\n")
        said = given_up(ready, "V1ALPHA1_SSH_EXTRA_OPTS=-oPort=2", stage="SSH")
        assert "somebody else is attached to it" in said
        console.send("echo still-$((40+2))\n")
        console.expect("still-42")


# Without cloud-init.


def set_status(vm: Vm, word: str) -> None:
    vm.ssh(f"echo {word} >/run/cloud-init-status")


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        ("done", 0, ["web: ready at"]),
        ("recoverable", 0, ["warning: cloud-init is done, but had to recover", "asked for a warning", "web: ready at"]),
        ("disabled", 0, ["warning: cloud-init is disabled", "web: ready at"]),
        ("error", 2, ["cloud-init failed in the guest", "asked for an error", "the seed of host-of-web was read"]),
        ("missing", 2, ["cloud-init is not installed in the guest"]),
    ],
)
def test_what_cloud_init_says_decides_at_once(ready: Vm, status: str, code: int, words: list[str]) -> None:
    set_status(ready, status)
    begin = time.monotonic()
    done = wait(ready, seconds=60)
    assert done.returncode == code and time.monotonic() - begin < 20, done.stderr
    assert all(word in done.stderr for word in words), done.stderr


@pytest.mark.parametrize(("status", "reason"), [("running", "status: running"), ("hang", "ssh took longer than")])
def test_a_cloud_init_that_never_ends_is_bounded(ready: Vm, status: str, reason: str) -> None:
    set_status(ready, status)
    said = given_up(ready, "V1ALPHA1_WAIT_FOR_READY_INTERVAL_SECS=0", stage="cloud-init", seconds=6)
    assert reason in said
    assert said.count("waiting for cloud-init (") <= 1, "no flood, however often it looks"
    assert (status == "running") == ("of 6 seconds): status: running" in said)
    assert "the seed of host-of-web was read" in said, "the end of its output"
    assert "host-of-web#" in said, "the console"
    set_status(ready, "done")


# While something happens to the guest.


def test_a_paused_domain_is_named(ready: Vm) -> None:
    virsh("suspend", "web")
    try:
        said = given_up(ready, stage="SSH")
    finally:
        virsh("resume", "web")
    assert "the domain is paused; 'make start' resumes it" in said


class Waiting:
    """A run that waits, with what it says."""

    def __init__(self, vm: Vm, *knobs: str) -> None:
        self.said = ""
        self.run = subprocess.Popen(
            vm.command("wait-for-ready", *knobs),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
            env=ENVIRONMENT,
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.run.stderr
        for line in self.run.stderr:
            self.said += line

    def until_it_says(self, words: str) -> None:
        deadline = time.monotonic() + 60
        while words not in self.said:
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)

    def end(self, seconds: float) -> int:
        code = self.run.wait(seconds)
        self._thread.join()
        return code


def test_a_guest_that_reboots_meanwhile_is_waited_for(ready: Vm) -> None:
    set_status(ready, "running")
    waiting = Waiting(ready, "V1ALPHA1_WAIT_FOR_READY_SSH_CONNECT_TIMEOUT_SECS=1")
    waiting.until_it_says("waiting for cloud-init")
    virsh("reset", "web")
    assert waiting.end(200) == 0, waiting.said
    assert waiting.said.splitlines()[-1].startswith("web: ready at")


@pytest.mark.parametrize("given", ["", "V1ALPHA1_SSH_HOST=192.168.122.250"])
def test_a_domain_that_goes_off_meanwhile_ends_the_waiting(ready: Vm, given: str) -> None:
    """The last test here: the guest is off afterwards."""
    if virsh("domstate", "web").strip() != "running":
        virsh("start", "web")
    waiting = Waiting(ready, "V1ALPHA1_SSH_EXTRA_OPTS=-oPort=2 -oConnectTimeout=1", *([given] if given else []))
    waiting.until_it_says("waiting for")
    virsh("destroy", "web")
    begin = time.monotonic()
    assert waiting.end(60) != 0
    assert time.monotonic() - begin < LATE
    assert "the domain is shut off" in waiting.said and "make up" in waiting.said

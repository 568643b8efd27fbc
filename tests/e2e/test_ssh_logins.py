"""Logging in: a password beside an agent with many keys, and a guest that refuses to go on."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from guest_registries import cloud
from world import Vm, generate, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

PORT = 2299
FAST = "V1ALPHA1_STOP_TIMEOUT_SECS=0"
PASSWORD = """
  - name: web
    template: cloud
    ssh:
      password: 'pass "word" $HOME'
      options: {IdentityFile: null, IdentitiesOnly: null}
"""


@contextmanager
def agent(directory: Path, keys: int) -> Iterator[dict[str, str]]:
    """An agent with so many keys, none of which the guest knows."""
    socket = directory / "agent"
    server = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            assert server.poll() is None
        environment = {"SSH_AUTH_SOCK": str(socket)}
        for number in range(keys):
            key = directory / f"key-{number}"
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
            subprocess.run(["ssh-add", "-q", key], check=True, env={**os.environ, **environment})
        yield environment
    finally:
        server.terminate()
        server.wait()


@contextmanager
def impatient_sshd(directory: Path) -> Iterator[None]:
    """OpenSSH's server, which counts each key that is offered as a try; the guest's dropbear does not."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / "host-key"], check=True)
    config = directory / "sshd_config"
    config.write_text(
        f"Port {PORT}\nListenAddress 127.0.0.1\nHostKey {directory}/host-key\nMaxAuthTries 3\nUsePAM no\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", config], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        server.terminate()
        server.wait()


def test_ssh_waits_a_moment_for_a_guest_whose_memory_was_just_restored(
    tiny_disk: Path, ssh_key: Path, base: Path
) -> None:
    vm: Vm = generate(cloud(tiny_disk, ssh_key, "  - {name: web, template: cloud}\n"), base)["web"]
    vm.make("up", "wait-for-ready")
    virsh("managedsave", "web")
    vm.make("up")
    tap = virsh("domiflist", "web").split()[0]
    for command in (f"ip link set {tap} down", "ip neigh flush dev virbr0"):  # as long as the guest is not yet awake
        subprocess.run(command.split(), check=True)
    awake = threading.Timer(5, subprocess.run, [f"ip link set {tap} up".split()])
    awake.start()
    assert vm.make("ssh", "CMD=whoami").stdout == "admin\n"
    awake.join()
    vm.make("delete-all", FAST)


def test_with_a_password_no_keys_of_an_agent_are_offered_unless_asked_for(
    tiny_disk: Path, ssh_key: Path, base: Path, tmp_path: Path
) -> None:
    vm: Vm = generate(cloud(tiny_disk, ssh_key, PASSWORD), base)["web"]
    with agent(tmp_path, 12) as environment:
        vm.make("up")
        vm.make("wait-for-ready", environment=environment)
        assert vm.make("ssh", "CMD=whoami", environment=environment).stdout == "admin\n"
        with impatient_sshd(tmp_path):
            others = f"-oPort={PORT} -oUserKnownHostsFile=/dev/null -oStrictHostKeyChecking=no"
            keys = f"V1ALPHA1_SSH_EXTRA_OPTS=-oPubkeyAuthentication=yes {others}"
            here = ["V1ALPHA1_SSH_HOST=127.0.0.1", keys]
            refused = vm.make("wait-for-ready/ssh", *here, check=False, environment=environment, timeout=60)
            assert refused.returncode != 0 and "more keys than it takes" in refused.stderr, refused.stderr
        own = f"V1ALPHA1_SSH_EXTRA_OPTS=-oIdentityFile={ssh_key} -oIdentitiesOnly=yes"
        assert vm.make("ssh", "CMD=whoami", own, environment=environment).stdout == "admin\n"
    vm.make("delete-all", FAST)

"""A node behind 50 ms of latency each way and a link that breaks: real sshd, real libvirt, few connections."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest_registries import cloud
from link import Link
from remote_node import ADDRESS, RemoteNode, remote_node, wait_until
from world import Vm, generate

DELAY = 0.05
FAST = "V1ALPHA1_STOP_TIMEOUT_SECS=0"
VOLUMES = Path("/var/lib/libvirt/images")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, ssh_key: Path) -> Iterator[RemoteNode]:
    with remote_node(tmp_path_factory.mktemp("node"), ssh_key) as node:
        yield node


@pytest.fixture
def link(node: RemoteNode) -> Iterator[Link]:
    with Link((ADDRESS, 22), delay=DELAY) as link:
        yield link
    node.connections()


def registry(image: Path, key: Path, uri: str, vms: str = "  - name: web\n    template: cloud\n") -> str:
    return cloud(image, key, vms, memory=128).replace('uri: "qemu:///system"', f'uri: "{uri}"')


def left_on(node: RemoteNode) -> list[str]:
    """What the node has: domains, pools, volumes."""
    domains = node.run("virsh", "-q", "list", "--all", "--name").split()
    pools = node.run("virsh", "-q", "pool-list", "--all", "--name").split()
    files = node.run("find", str(VOLUMES), "-mindepth", "1").split()
    return sorted([*domains, *pools, *files])


def end_sharing(vm: Vm) -> None:
    """End the connection that runs share, so that the next one begins from nothing."""
    for socket in vm.directory.glob(".node-ssh-*"):
        # by its name alone: the whole path is too long for a socket
        command = ["ssh", "-S", socket.name, "-O", "exit", "node"]
        subprocess.run(command, check=True, capture_output=True, cwd=vm.directory)
        wait_until(lambda socket=socket: not socket.exists(), "the end of the shared connection")  # type: ignore[misc]


def test_a_whole_life_on_a_slow_link_takes_few_connections(
    node: RemoteNode, link: Link, tiny_disk: Path, ssh_key: Path, base: Path
) -> None:
    before = left_on(node)
    vm = generate(registry(tiny_disk, ssh_key, f"qemu+ssh://root@127.0.0.1:{link.port}/system"), base)["web"]
    first = vm.make("up")
    assert "created domain web" in first.stderr
    full = node.connections()
    assert 1 <= full <= 2, "a full up: at most two connections"
    assert "running" in node.run("virsh", "domstate", "web")

    end_sharing(vm)
    begin = time.monotonic()
    assert vm.make("up").stderr == "web: is running\n"
    took = time.monotonic() - begin
    assert node.connections() == 1, "a no-op up: one connection"

    vm.make("wait-for-ready")
    assert vm.ssh("whoami") == "admin\n"
    address = vm.make("ip").stdout.strip()
    assert address.startswith("192.168.122.")
    assert "running" in vm.make("status").stdout
    with vm.console() as console:
        console.expect("# ", timeout=60, nudge="\n")
        console.send("echo sum=$((40 + 2))\n")
        console.expect("sum=42", timeout=20)
        console.send("\x1d")
        assert console.wait() == 0
    assert "the guest shut down after" in vm.make("stop").stderr
    vm.make("start")
    vm.make("down", FAST)
    vm.make("delete-all", "clean-all")
    assert left_on(node) == before
    print(f"remote: a full up {full} SSH connections, a no-op up 1 in {took:.2f} s at {DELAY * 1000:g} ms each way")


def test_user_port_ipv6_literal_and_key_file_of_the_uri_reach_node_and_guest(
    node: RemoteNode, link: Link, tiny_disk: Path, ssh_key: Path, base: Path, tmp_path: Path
) -> None:
    own_key = tmp_path / "it's a + key"
    own_key.write_bytes(ssh_key.read_bytes())
    own_key.chmod(0o600)
    spelled = str(own_key).replace("'", "%27").replace(" ", "%20")
    uri = f"qemu+ssh://root@[::1]:{link.port}/system?keyfile={spelled}&no_verify=1"
    link.delay = 0.002
    empty = tmp_path / "ssh_config"
    empty.write_text(f"UserKnownHostsFile {tmp_path}/known_hosts\nStrictHostKeyChecking yes\n")
    subprocess.run(["mount", "--bind", empty, "/etc/ssh/ssh_config"], check=True)
    try:
        vm = generate(registry(tiny_disk, ssh_key, uri), base)["web"]
        vm.make("up")
        vm.make("wait-for-ready")
        assert vm.ssh("whoami") == "admin\n"
        vm.make("delete-all", FAST)
    finally:
        subprocess.run(["umount", "/etc/ssh/ssh_config"], check=True)


PASSWORD = """\
  - name: web
    template: cloud
    ssh:
      password: 'pass "word" $HOME'
      options: {IdentityFile: null, IdentitiesOnly: null}
"""


def test_a_password_is_for_the_guest_and_not_for_the_node_before_it(
    node: RemoteNode, link: Link, tiny_disk: Path, ssh_key: Path, base: Path
) -> None:
    link.delay = 0.002
    vm = generate(registry(tiny_disk, ssh_key, f"qemu+ssh://root@127.0.0.1:{link.port}/system", PASSWORD), base)["web"]
    vm.make("up", "wait-for-ready")
    assert vm.make("ssh", "CMD=whoami").stdout == "admin\n"
    node.run("virsh", "managedsave", "web")
    assert vm.make("up", "ssh", "CMD=whoami").stdout == "admin\n", "it waits a moment for a guest just restored"
    vm.make("delete-all", FAST)


def contents(node: RemoteNode, path: str) -> str:
    return node.run("sha256sum", path).split()[0]


@pytest.mark.parametrize(
    "stage", [500, 12_000, 8_000_000, "created volume web/boot.qcow2"], ids=["hello", "question", "upload", "domain"]
)
def test_a_connection_that_drops_is_a_clear_error_and_the_next_run_repairs(
    node: RemoteNode, link: Link, tiny_disk: Path, ssh_key: Path, base: Path, stage: int | str
) -> None:
    link.delay = 0.002
    vm = generate(registry(tiny_disk, ssh_key, f"qemu+ssh://root@127.0.0.1:{link.port}/system"), base)["web"]
    if isinstance(stage, int):
        link.cut_after = stage
    broken = subprocess.Popen(vm.command("up"), stderr=subprocess.PIPE, text=True, cwd="/")
    said = ""
    for line in broken.stderr or ():
        said += line
        if str(stage) in line:
            link.cut_after = 1000
    assert broken.wait() != 0, said
    assert "error: " in said
    vm.make("up")
    assert "running" in node.run("virsh", "domstate", "web")
    assert contents(node, f"{VOLUMES}/{tiny_disk.name}") == hashlib.sha256(tiny_disk.read_bytes()).hexdigest()
    vm.make("down", FAST)
    vm.make("delete-all")
    assert left_on(node) == ["default"]


def test_a_node_that_cannot_be_reached_is_named_with_what_ssh_said(
    node: RemoteNode, tiny_disk: Path, ssh_key: Path, base: Path
) -> None:
    vm = generate(registry(tiny_disk, ssh_key, "qemu+ssh://root@127.0.0.1:1/system"), base)["web"]
    for target in ("up", "down", "status"):
        refused = vm.make(target, check=False)
        assert refused.returncode != 0
        assert "127.0.0.1" in refused.stderr and "Connection refused" in refused.stderr, refused.stderr


def test_the_users_own_sharing_of_connections_is_not_used(
    node: RemoteNode, link: Link, tiny_disk: Path, ssh_key: Path, base: Path, tmp_path: Path
) -> None:
    """OpenSSH's names for sockets do not tell apart two nodes that have one address behind different jump hosts."""
    config = tmp_path / "ssh_config"
    own = "ControlMaster auto\nControlPath /run/own-%C\nControlPersist 60\n"  # a longer path is too long for a socket
    config.write_text(own + Path("/etc/ssh/ssh_config").read_text())
    subprocess.run(["mount", "--bind", config, "/etc/ssh/ssh_config"], check=True)
    try:
        uri = f"qemu+ssh://root@127.0.0.1:{link.port}/system"
        vm = generate(registry(tiny_disk, ssh_key, uri), base)["web"]
        vm.make("status", check=False)
        assert list(vm.directory.glob(".node-ssh-*"))
        assert not list(Path("/run").glob("own-*"))
    finally:
        subprocess.run(["umount", "/etc/ssh/ssh_config"], check=True)


def test_a_tcp_uri_passes_through_untouched(tiny_disk: Path, ssh_key: Path, base: Path, default_pool: None) -> None:
    """`qemu+tcp` is libvirt's own protocol without encryption: here to this lab's libvirtd."""
    with Link("/run/libvirt/libvirt-sock") as link:
        uri = f"qemu+tcp://127.0.0.1:{link.port}/system"
        vm = generate(registry(tiny_disk, ssh_key, uri), base)["web"]
        vm.make("up")
        assert link.connections >= 2
        vm.make("down", FAST)
        vm.make("delete-all")


@pytest.mark.parametrize(
    "uri", ["qemu+tls://node.example:16514/system?no_verify=1&pkipath=/a%20b", "qemu+tcp://n/session"]
)
def test_uris_of_other_transports_reach_virsh_as_they_are_spelled(
    uri: str, tiny_disk: Path, ssh_key: Path, base: Path, tmp_path: Path
) -> None:
    vm = generate(registry(tiny_disk, ssh_key, uri), base)["web"]
    recorder = tmp_path / "bin" / "virsh"
    recorder.parent.mkdir()
    recorder.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >"{tmp_path}/words"\nexit 1\n')
    recorder.chmod(0o755)
    vm.make("up", check=False, environment={"PATH": f"{recorder.parent}:{os.environ['PATH']}"})
    assert uri in (tmp_path / "words").read_text().splitlines()


SESSION = """
nodes:
  - name: here
    libvirt: {connection: {uri: "qemu:///session"}}
images:
  - {name: none, tags: [{pattern: latest, url: "file:///dev/null", volumeName: none}]}
vms:
  - name: mine
    provisioner: v1alpha1
    nodeName: here
    image: none
    libvirt:
      domain:
        name: mine
        virtInstall:
          osinfo: linux2022
          memory: 64
          graphics: none
          network: [{name: user, options: {type: user}}]
          disk: [{name: blank, options: {vol: mine/blank.qcow2}}]
      pools: [{name: mine, directory: {path: DIRECTORY/pool}}]
      volumes: [{name: blank.qcow2, poolName: mine, capacity: 1M}]
"""


def test_a_users_own_session_works_without_root(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = Path(
        subprocess.run(
            ["mktemp", "-d", "/tmp/session.XXXXXX"], check=True, capture_output=True, text=True
        ).stdout.strip()
    )
    vm = generate(SESSION.replace("DIRECTORY", str(home)), home / "vms")["mine"]
    subprocess.run(["chown", "-R", "65534:65534", home], check=True)
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(home), "LANG": "C.UTF-8"}

    def make(*targets: str) -> str:
        command = [*as_nobody, "make", "--no-print-directory", "-C", str(vm.directory), *targets]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd="/", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    try:
        assert "started domain mine" in make("up")
        assert "is running" in make("up")
        make("down", FAST)
        left = subprocess.run(
            [*as_nobody, "virsh", "-q", "-c", "qemu:///session", "list --all --name; pool-list --all --name"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert left.stdout.split() == []
    finally:
        for path in home.rglob("*.pid"):
            print("session daemon", path, file=sys.stderr)


ON_LAB = """  - name: web
    template: cloud
    libvirt:
      domain: {virtInstall: {network: [{name: default, $patch: replace, options: {network: lab, model: virtio}}]}}
      networks:
        - name: lab
          ips: [{address: 10.20.0.1, prefix: 24}]
          dns: {hosts: [{ip: 10.20.0.9, hostnames: [db]}]}
          deletionPolicy: Delete
      reservations: [{network: lab, interface: default, address: 10.20.0.11}]
"""


def test_a_network_and_a_known_address_on_a_remote_node(
    node: RemoteNode, link: Link, tiny_disk: Path, ssh_key: Path, base: Path
) -> None:
    vm = generate(registry(tiny_disk, ssh_key, f"qemu+ssh://root@127.0.0.1:{link.port}/system", ON_LAB), base)["web"]
    vm.make("up", "wait-for-ready")
    assert vm.make("ip").stdout == "10.20.0.11\n"
    assert " 10.20.0.11/24 " in vm.ssh("ip -4 -o addr show dev eth0")
    assert "name='web' ip='10.20.0.11'" in node.run("virsh", "net-dumpxml", "--inactive", "lab")
    assert vm.make("up").stderr == "web: is running\n"
    vm.make("delete-all", FAST)
    assert node.run("virsh", "-q", "net-list", "--all", "--name").split() == ["default"]

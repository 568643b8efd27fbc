"""Shared SSH connections: two VMs and two nodes that have one address stay two, whatever the user's ssh shares."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from guest_registries import cloud
from remote_node import ADDRESS, RemoteNode, remote_node
from world import generate, remove_all, virsh

GUEST = "192.168.122.77"
"""The address of both guests, each on its node's own network."""

FAST = "V1ALPHA1_STOP_TIMEOUT_SECS=0"

LOCAL_SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey {node}/host-key
AuthorizedKeysFile {key}.pub
StrictModes no
UsePAM no
PidFile none
"""

SSH = """
Host node-a
  ProxyCommand busybox nc {address} 22
Host node-b
  ProxyCommand busybox nc 127.0.0.1 {port}
Host node-a node-b
  HostName 10.0.0.1
  UserKnownHostsFile {node}/known_hosts
Host direct
  HostName {address}
Host node-a node-b direct {address}
  IdentityFile {key}
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
Host *
  ControlMaster auto
  ControlPath /run/own-{control}
  ControlPersist 60
"""
"""Of a user who shares all connections, and whose nodes have one address behind two other hosts."""

SSHD_PORT = 2222


def registry(image: Path, key: Path, prod: str, scratch: str) -> str:
    """Two nodes at these URIs, and a VM on each."""
    nodes = f'nodes:\n  - name: b\n    libvirt: {{connection: {{uri: "{scratch}"}}}}\n'
    nodes += f'  - name: a\n    libvirt: {{connection: {{uri: "{prod}"}}}}\n'
    vms = "  - {name: prod, template: cloud, nodeName: a}\n  - {name: scratch, template: cloud, nodeName: b}\n"
    return cloud(image, key, vms, memory=128).replace("nodes:\n", nodes, 1)


@pytest.fixture(scope="module")
def node(
    tmp_path_factory: pytest.TempPathFactory, tiny_disk: Path, ssh_key: Path, default_pool: None
) -> Iterator[RemoteNode]:
    """The node of `prod`; `scratch` is on this one. Both run."""
    with remote_node(tmp_path_factory.mktemp("node"), ssh_key) as node:
        with users_configuration(node, ssh_key, "%r@%h:%p"):
            text = registry(tiny_disk, ssh_key, "qemu+ssh://root@direct/system", "qemu:///system")
            vms = generate(text, tmp_path_factory.mktemp("both"))
            for vm, run in ((vms["prod"], node.run), (vms["scratch"], lambda *words: virsh(*words[1:]))):
                vm.make("create")
                mac = run("virsh", "domiflist", vm.uuid).split("virtio")[1].split()[0]
                host = f"<host mac='{mac}' ip='{GUEST}'/>"
                run("virsh", "net-update", "default", "add-last", "ip-dhcp-host", host, "--live", "--config")
                vm.make("start")
            for vm in vms.values():
                vm.make("wait-for-ready", f"V1ALPHA1_SSH_EXTRA_OPTS=-o ControlPath={vm.directory}/m")
        yield node
        with users_configuration(node, ssh_key, "%r@%h:%p"):
            vms["scratch"].make("delete-all", FAST)
            virsh("net-update", "default", "delete", "ip-dhcp-host", host, "--live", "--config")
    remove_all()


@contextmanager
def users_configuration(node: RemoteNode, key: Path, control: str) -> Iterator[None]:
    """Have ssh configured like that, and a server of this node's; end all that is shared afterwards."""
    directory = node.directory
    config, sshd = directory / "shared_config", directory / "local_sshd"
    config.write_text(SSH.format(address=ADDRESS, port=SSHD_PORT, node=directory, key=key, control=control))
    sshd.write_text(LOCAL_SSHD.format(port=SSHD_PORT, node=directory, key=key))
    Path("/run/sshd").mkdir(exist_ok=True)
    subprocess.run(["mount", "--bind", config, "/etc/ssh/ssh_config"], check=True)
    server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", sshd], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        for socket in Path("/run").glob("own-*"):
            subprocess.run(["ssh", "-S", socket, "-O", "exit", "x"], check=False, capture_output=True)
        server.terminate()
        server.wait()
        subprocess.run(["umount", "/etc/ssh/ssh_config"], check=True)


@pytest.mark.parametrize("control", ["%r@%h:%p", "%C"])
@pytest.mark.parametrize("first", ["prod", "scratch"])
@pytest.mark.parametrize(
    ("prod", "scratch"),
    [("direct", ""), ("node-a", "node-b")],
    ids=["a node and this host", "two nodes of one address"],
)
def test_guests_of_two_nodes_that_have_one_address_are_not_confused(
    node: RemoteNode,
    tiny_disk: Path,
    ssh_key: Path,
    base: Path,
    control: str,
    first: str,
    prod: str,
    scratch: str,
) -> None:
    local = f"qemu+ssh://root@{scratch}/system" if scratch else "qemu:///system"
    vms = generate(registry(tiny_disk, ssh_key, f"qemu+ssh://root@{prod}/system", local), base)
    with users_configuration(node, ssh_key, control):
        for name in (first, "prod", "scratch", first):
            assert vms[name].make("ip").stdout == f"{GUEST}\n"
            assert vms[name].ssh("hostname") == f"host-of-{name}\n"
            given = vms[name].make("ssh", "CMD=hostname", f"V1ALPHA1_SSH_HOST={GUEST}")
            assert given.stdout == f"host-of-{name}\n", given.stderr


def test_a_vm_that_boots_is_not_ready_because_another_one_answers_at_its_address(
    node: RemoteNode, tiny_disk: Path, ssh_key: Path, base: Path
) -> None:
    vms = generate(registry(tiny_disk, ssh_key, "qemu+ssh://root@direct/system", "qemu:///system"), base)
    with users_configuration(node, ssh_key, "%r@%h:%p"):
        assert vms["prod"].ssh("hostname") == "host-of-prod\n"
        vms["scratch"].make("kill", "start")
        early = vms["scratch"].make("wait-for-ready", "V1ALPHA1_WAIT_FOR_READY_TIMEOUT_SECS=2", check=False)
        assert early.returncode != 0 and "not ready after" in early.stderr
        vms["scratch"].make("wait-for-ready")
        assert vms["scratch"].ssh("hostname") == "host-of-scratch\n"


@pytest.mark.parametrize("control", ["%r@%h:%p", "%C"])
def test_libvirt_is_asked_on_the_node_that_was_named(
    node: RemoteNode, tiny_disk: Path, ssh_key: Path, base: Path, control: str
) -> None:
    vms = generate(registry(tiny_disk, ssh_key, "qemu+ssh://root@node-a/system", "qemu+ssh://root@node-b/system"), base)
    wrong = generate(
        registry(tiny_disk, ssh_key, "qemu+ssh://root@node-b/system", "qemu+ssh://root@node-a/system"), base / "wrong"
    )
    with users_configuration(node, ssh_key, control):
        for _ in range(2):
            for name in ("prod", "scratch"):
                assert "running" in vms[name].make("status").stdout
                assert "not there" in wrong[name].make("status", check=False).stdout


def test_a_vm_that_moves_to_another_node_does_not_use_the_connection_to_the_old_one(
    node: RemoteNode, tiny_disk: Path, ssh_key: Path, base: Path
) -> None:
    with users_configuration(node, ssh_key, "%C"):
        for uri, state in (("node-a", "running"), ("node-b", "not there"), ("node-a", "running")):
            text = registry(tiny_disk, ssh_key, f"qemu+ssh://root@{uri}/system", "qemu:///system")
            assert state in generate(text, base)["prod"].make("status", check=False).stdout


def test_a_controlpath_of_the_registry_is_used(node: RemoteNode, tiny_disk: Path, ssh_key: Path, base: Path) -> None:
    text = registry(tiny_disk, ssh_key, "qemu+ssh://root@direct/system", "qemu:///system")
    own = "        ControlMaster: auto\n        ControlPath: /run/own-registry\n        ControlPersist: 60\n"
    vm = generate(
        text.replace("      options:\n        IdentityFile", f"      options:\n{own}        IdentityFile"), base
    )
    with users_configuration(node, ssh_key, "%C"):
        assert vm["scratch"].ssh("hostname") == "host-of-scratch\n"
        assert Path("/run/own-registry").is_socket()

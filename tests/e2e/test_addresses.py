"""The address of a guest is found where libvirt's DHCP does not know it, and a guest without a link is seen."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from guest_registries import cloud
from world import Vm, generate, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

FAST = "V1ALPHA1_STOP_TIMEOUT_SECS=0"


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def guest(image: Path, key: Path, base: Path, network: str) -> Vm:
    """Return a VM with one interface."""
    options = f"{{domain: {{virtInstall: {{network: [{{name: default, $patch: replace, options: {network}}}]}}}}}}"
    return generate(cloud(image, key, f"  - name: web\n    template: cloud\n    libvirt: {options}\n"), base)["web"]


@contextmanager
def foreign_bridge(directory: Path) -> Iterator[None]:
    """A bridge with a DHCP server that libvirt knows nothing of."""
    ip("link", "add", "br-foreign", "type", "bridge")
    ip("addr", "add", "10.77.0.1/24", "dev", "br-foreign")
    ip("link", "set", "br-foreign", "up")
    server = subprocess.Popen(
        [
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--interface=br-foreign",
            "--bind-interfaces",
            "--except-interface=lo",
            "--port=0",
            "--dhcp-range=10.77.0.10,10.77.0.20",
            "--no-ping",
            "--user=root",
            f"--dhcp-leasefile={directory}/leases",
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        server.terminate()
        server.wait()
        ip("link", "delete", "br-foreign")


def test_a_guest_on_a_bridge_with_a_foreign_dhcp_server_is_found(
    tiny_disk: Path, ssh_key: Path, base: Path, tmp_path: Path
) -> None:
    with foreign_bridge(tmp_path):
        vm = guest(tiny_disk, ssh_key, base, "{bridge: br-foreign, model: virtio}")
        vm.make("up", "wait-for-ready")
        assert vm.make("ip").stdout.startswith("10.77.0.")
        assert vm.ssh("hostname") == "host-of-web\n"
        vm.make("delete-all", FAST)


IPV6_ONLY = """
<network><name>six</name><bridge name='br-six' stp='off'/>
  <ip family='ipv6' address='fd00:6::1' prefix='64'/>
</network>
"""


def test_a_guest_that_has_ipv6_alone_is_found(tiny_disk: Path, ssh_key: Path, base: Path, tmp_path: Path) -> None:
    (tmp_path / "six.xml").write_text(IPV6_ONLY)
    virsh("net-define", str(tmp_path / "six.xml"))
    virsh("net-start", "six")
    try:
        vm = guest(tiny_disk, ssh_key, base, "{network: six, model: virtio}")
        vm.make("up", "wait-for-ready/ip", "V1ALPHA1_WAIT_FOR_READY_TIMEOUT_SECS=100")
        assert vm.make("ip").stdout.startswith("fd00:6::")
        vm.make("wait-for-ready/ssh")
        vm.make("delete-all", FAST)
    finally:
        virsh("net-destroy", "six")
        virsh("net-undefine", "six")


@contextmanager
def bridge_helper(home: Path) -> Iterator[None]:
    """QEMU's helper, which puts a user's guest on a bridge that root allows; only this lab sees it."""
    Path("/etc/qemu").mkdir(exist_ok=True)
    (allowed := Path("/etc/qemu/bridge.conf")).write_text("allow virbr0\n")
    helper = Path("/usr/lib/qemu/qemu-bridge-helper")
    (own := home / "helper").write_bytes(helper.read_bytes())
    own.chmod(0o4755)
    tun = Path("/dev/net/tun")  # open to all, as everywhere but in some containers
    os.mknod(home / "tun", 0o600 | stat.S_IFCHR, tun.stat().st_rdev)
    (home / "tun").chmod(0o666)
    subprocess.run(["mount", "--bind", own, helper], check=True)
    subprocess.run(["mount", "--bind", home / "tun", tun], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", helper, tun], check=True)
        allowed.unlink()


def test_a_guest_of_a_session_on_the_systems_bridge_is_found(tiny_disk: Path, ssh_key: Path) -> None:
    """The session's libvirt has no networks: the system's knows the lease."""
    home = Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))  # the paths of its sockets must be short
    image = home / tiny_disk.name
    shutil.copyfile(tiny_disk, image)
    text = cloud(image, ssh_key, "  - name: web\n    template: cloud\n").replace("qemu:///system", "qemu:///session")
    text = text.replace('{network: "{DEFAULT_NETWORK_NAME}", model: virtio}', "{bridge: virbr0, model: virtio}")
    text = text.replace("    vars:\n", f"    vars:\n      DEFAULT_POOL_PATH: {home}/pools\n")
    (home / "pools").mkdir()
    with bridge_helper(home):
        vm = generate(text, home / "vms")["web"]
        subprocess.run(["chown", "-R", "65534:65534", home / "vms", home / "pools", image], check=True)
        os.chown(home, 65534, 65534)
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(home), "LANG": "C.UTF-8"}

        def run(*command: str) -> str:
            done = subprocess.run([*nobody, *command], env=environment, capture_output=True, text=True, cwd="/")
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        def make(*targets: str) -> str:
            return run("make", "--no-print-directory", "-C", str(vm.directory), *targets)

        session = ["virsh", "-q", "-c", "qemu:///session"]
        run(*session, "pool-define-as", "default", "dir", "--target", f"{home}/pools")
        run(*session, "pool-start", "default")
        make("up")
        make("wait-for-ready/ip", "V1ALPHA1_WAIT_FOR_READY_TIMEOUT_SECS=100")
        assert make("ip").startswith("192.168.122.")
        make("delete-all", FAST)
    shutil.rmtree(home, ignore_errors=True)


def test_of_two_leases_without_an_end_the_later_one_is_in_use(tiny_disk: Path, ssh_key: Path, base: Path) -> None:
    vm = guest(tiny_disk, ssh_key, base, "{network: default, model: virtio}")
    vm.make("up", "wait-for-ready/ip")
    leases = Path("/var/lib/libvirt/dnsmasq/virbr0.status")
    mac = virsh("domiflist", "web").split()[4]
    numbers = (201, 202, 203)
    try:
        for _ in range(10):
            current = json.loads(leases.read_text())
            mine = next(lease for lease in current if lease["mac-address"] == mac)
            endless = [{**mine, "ip-address": f"192.168.122.{number}", "expiry-time": 0} for number in numbers]
            changed = json.dumps([lease for lease in current if lease["mac-address"] != mac] + endless)
            leases.write_text(changed)
            found = vm.make("ip").stdout
            if leases.read_text() == changed:
                break  # else dnsmasq has written its lease again meanwhile
        assert found == "192.168.122.203\n"
    finally:
        leases.write_text(json.dumps(current))
    vm.make("delete-all", FAST)


def test_a_guest_whose_network_was_stopped_under_it_is_told_of_until_it_is_restarted(
    tiny_disk: Path, ssh_key: Path, base: Path
) -> None:
    vm = guest(tiny_disk, ssh_key, base, "{network: default, model: virtio}")
    vm.make("up", "wait-for-ready/ip")
    virsh("net-destroy", "default")
    try:
        refused = vm.make("up", check=False)
        assert refused.returncode != 0 and "net-start default" in refused.stderr
        assert "has lost its link" in refused.stderr and "make restart" in refused.stderr
    finally:
        virsh("net-start", "default")
    said = vm.make("up").stderr
    assert "is running" in said and "is on no bridge" in said and "'make restart' connects it again" in said
    assert "is on no bridge" in vm.make("status").stderr
    begin = time.monotonic()
    waited = vm.make("wait-for-ready/ssh", "V1ALPHA1_WAIT_FOR_READY_TIMEOUT_SECS=6", check=False)
    assert waited.returncode != 0 and "is on no bridge" in waited.stderr and time.monotonic() - begin < 30
    vm.make("restart", FAST)
    assert "is on no bridge" not in vm.make("up").stderr
    vm.make("wait-for-ready/ssh")
    vm.make("delete-all", FAST)

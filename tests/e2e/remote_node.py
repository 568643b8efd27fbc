"""A second libvirt in namespaces of its own, with a real sshd: a remote node, reached over one network link."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from world import ROOT

ADDRESS = "10.99.0.2"
"""Of the node, on a link that only this lab has."""

_SSHD = """
ListenAddress {address}
HostKey {directory}/host-key
AuthorizedKeysFile {key}.pub
StrictModes no
UsePAM no
PidFile none
LogLevel VERBOSE
"""

_SSH = """
Host 127.0.0.1 ::1
  IdentityFile {key}
  UserKnownHostsFile {directory}/known_hosts
  StrictHostKeyChecking accept-new
"""


class RemoteNode:
    """A node as its administrator has it at hand."""

    def __init__(self, directory: Path, process: subprocess.Popen[bytes]) -> None:
        self.directory = directory
        self.process = process
        self.log = directory / "sshd.log"
        self._counted = 0

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command on the node, not through SSH, and return what it prints."""
        enter = ["nsenter", "--target", str(self.pid), "--net", "--mount", "--"]
        return subprocess.run([*enter, *command], check=check, capture_output=True, text=True).stdout

    @property
    def pid(self) -> int:
        """The first process inside the node's namespaces; those below it come and go."""
        ours = os.readlink("/proc/self/ns/net")
        todo = [self.process.pid]
        while todo:
            pid = todo.pop()
            if os.readlink(f"/proc/{pid}/ns/net") != ours:
                return pid
            todo += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        raise AssertionError("the node is not there")

    def connections(self) -> int:
        """How many SSH connections were accepted since the last call."""
        accepted = self.log.read_text(errors="replace").count("Accepted publickey for")
        new, self._counted = accepted - self._counted, accepted
        return new


def wait_until(condition: Callable[[], object], what: str, seconds: float = 30) -> None:
    """Poll until it is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)


@contextmanager
def remote_node(directory: Path, key: Path) -> Iterator[RemoteNode]:
    """Start the node, and make the SSH of this lab know how to log in there."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / "host-key"], check=True)
    (directory / "sshd_config").write_text(_SSHD.format(address=ADDRESS, directory=directory, key=key))
    (directory / "ssh_config").write_text(_SSH.format(directory=directory, key=key))
    (directory / "sshd.log").touch()
    script = f"""
        set -eu
        virsh -q pool-define-as default dir --target /var/lib/libvirt/images
        virsh -q pool-start default
        mkdir -p /run/sshd
        touch {directory}/up
        until ip -4 addr | grep -q {ADDRESS}; do sleep 0.1; done
        /usr/sbin/sshd -f {directory}/sshd_config -E {directory}/sshd.log
        touch {directory}/ready
        exec sleep 100000
    """
    process = subprocess.Popen(
        [ROOT / "tests/lab/lab", directory / "lab", "sh", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        stderr=sys.stderr,
    )
    node = RemoteNode(directory, process)
    _ip("link", "add", "to-node", "type", "veth", "peer", "name", "from-node")
    try:
        wait_until((directory / "up").exists, "the node's libvirt", 60)
        _ip("link", "set", "from-node", "netns", str(node.pid))
        _ip("addr", "add", "10.99.0.1/24", "dev", "to-node")
        _ip("link", "set", "to-node", "up")
        node.run("ip", "link", "set", "from-node", "up")
        node.run("ip", "addr", "add", f"{ADDRESS}/24", "dev", "from-node")
        wait_until((directory / "ready").exists, "the node's sshd")
        subprocess.run(["mount", "--bind", directory / "ssh_config", "/etc/ssh/ssh_config"], check=True)
        try:
            yield node
        finally:
            subprocess.run(["umount", "/etc/ssh/ssh_config"], check=True)
    finally:
        process.terminate()
        process.wait()
        subprocess.run(["ip", "link", "delete", "to-node"], check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)

"""This host once more, as a node that is reached by ssh and downloads images itself."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PORT = 22022

_SSHD = """
ListenAddress 127.0.0.1:{port}
HostKey {directory}/host-key
AuthorizedKeysFile {directory}/key.pub
StrictModes no
UsePAM no
PidFile none
SetEnv XDG_CACHE_HOME={directory}/cache
"""
_SSH = """
Host 127.0.0.1
  IdentityFile {directory}/key
  UserKnownHostsFile {directory}/known_hosts
  StrictHostKeyChecking accept-new
  LogLevel ERROR
"""


class Node:
    """The node, whose directory for downloads is not that of this host."""

    def __init__(self, directory: Path) -> None:
        self.cache = directory / "cache"

    def clear(self) -> None:
        """Wait until nothing runs there for a VM, and remove what was put there."""
        deadline = time.monotonic() + 30
        while subprocess.run(["pgrep", "-f", "provisioner.py create/volume"], capture_output=True).returncode == 0:
            assert time.monotonic() < deadline, "the node goes on"
            time.sleep(0.05)
        shutil.rmtree(self.cache, ignore_errors=True)


@contextmanager
def node_here(directory: Path) -> Iterator[Node]:
    """Start its sshd, and make the SSH of this lab know how to log in there."""
    directory.mkdir()
    for key in ("host-key", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / key], check=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    (config := directory / "sshd_config").write_text(_SSHD.format(port=PORT, directory=directory))
    (directory / "ssh_config").write_text(_SSH.format(directory=directory))
    server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", config], stderr=subprocess.DEVNULL)
    subprocess.run(["mount", "--bind", directory / "ssh_config", "/etc/ssh/ssh_config"], check=True)
    try:
        yield Node(directory)
    finally:
        subprocess.run(["umount", "/etc/ssh/ssh_config"], check=True)
        server.terminate()
        server.wait()

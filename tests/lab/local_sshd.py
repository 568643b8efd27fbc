"""An sshd on loopback, and an ssh that knows how to log in there: a node that is this host once more."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_SSHD = """
ListenAddress 127.0.0.1:{port}
HostKey {directory}/host-key
AuthorizedKeysFile {directory}/key.pub
StrictModes no
UsePAM no
PidFile none
{options}
"""
_SSH = """
Host 127.0.0.1
  IdentityFile {directory}/key
  UserKnownHostsFile {directory}/known_hosts
  StrictHostKeyChecking accept-new
  LogLevel ERROR
"""


@contextmanager
def local_sshd(directory: Path, ports: Iterable[int], options: str = "") -> Iterator[None]:
    """Start one for each port, with keys and configuration in a new directory; all take the key of this lab's ssh."""
    directory.mkdir()
    for key in ("host-key", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / key], check=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    (directory / "ssh_config").write_text(_SSH.format(directory=directory))
    with ExitStack() as stack:
        for port in ports:
            (config := directory / f"sshd-{port}").write_text(
                _SSHD.format(port=port, directory=directory, options=options)
            )
            server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", config], stderr=subprocess.DEVNULL)
            stack.callback(server.wait)
            stack.callback(server.terminate)
        subprocess.run(["mount", "--bind", directory / "ssh_config", "/etc/ssh/ssh_config"], check=True)
        stack.callback(subprocess.run, ["umount", "/etc/ssh/ssh_config"], check=True)
        yield

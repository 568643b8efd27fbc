"""The way to the node: its URI, and its shell where it is remote. All connections of a run share one SSH connection.

To share it, libvirt is told to run this file as its ssh (https://libvirt.org/uri.html, parameter `command`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zlib
from collections.abc import Sequence

from .facts import SOCKET, Vm
from .programs import Ended, environment, need, run_program
from .say import Problem


def connection(vm: Vm) -> str:
    """Return the URI that virsh and virt-install get."""
    if not shares(vm):
        return vm.uri
    from urllib.parse import quote as percent  # only remote nodes pay for it

    return f"{vm.uri}{'&' if '?' in vm.uri else '?'}command={percent(_program(vm))}"


def _program(vm: Vm) -> str:
    return os.path.abspath(vm.file("provisioner.py"))


def shares(vm: Vm) -> bool:
    """Tell whether connections share one; not from a file system whose programs may not be run."""
    return vm.gateway.shared and os.access(_program(vm), os.X_OK)


def is_here(vm: Vm) -> bool:
    """Tell whether the node is this host. A socket that the URI names may lead to another one."""
    return ":///" in vm.uri and "?" not in vm.uri


def node_ssh(vm: Vm, command: str, *options: str) -> list[str]:
    """Return the command that runs another one on the node, over the connection that libvirt's are on."""
    first, *words = jump_words(vm)
    return [first, "-T", *_ALIVE, *options, *words, "--", vm.gateway.host, command]


_ALIVE = ("-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3")


def host_key_options(vm: Vm) -> list[str]:
    """Return ssh's options for the node's host key, where libvirt's URI has something to say about it."""
    words = ["-o", f"StrictHostKeyChecking={vm.gateway.verify}"] if vm.gateway.verify else []
    if vm.gateway.known_hosts:
        path = vm.gateway.known_hosts.replace("%", "%%")
        words += ["-o", f'UserKnownHostsFile="{path}"']  # ssh splits it at spaces
    return words


def ask_node(vm: Vm, command: str) -> Ended:
    """Run a command in a shell of the node, within four seconds, and with no question asked."""
    if is_here(vm):
        return run_program(["sh", "-c", command], 4)
    if not vm.gateway.host:
        return Ended(127, "", "the node is not reached by ssh", False)
    return run_program(node_ssh(vm, command, "-o", "BatchMode=yes"), 4, cwd=vm.directory)


def as_ssh(arguments: Sequence[str]) -> None:
    """Be ssh to the node: share a connection, which ends 30 seconds after its last use.

    Its socket is in the directory of this machine and has the node in its name, so it never leads to another node. The
    user's own sharing is not used: two nodes can have one address behind different jump hosts, and OpenSSH's names for
    sockets do not tell them apart. What the user's configuration says of keepalives and the connect timeout counts.
    """
    asked = subprocess.run(["ssh", "-G", *arguments], capture_output=True, text=True, check=False).stdout.splitlines()
    settings = {line.partition(" ")[0]: line.partition(" ")[2] for line in asked}
    way = " ".join([settings.get(key, "") for key in ("host", "user", "hostname", "port", "proxyjump", "proxycommand")])
    socket = f"{SOCKET}-{zlib.crc32(way.encode(errors='surrogateescape')):08x}"
    words = ["-o", "ControlMaster=auto", "-o", f"ControlPath={socket}", "-o", "ControlPersist=30"]
    if settings.get("serveraliveinterval") == "0":
        words += _ALIVE
    if settings.get("connecttimeout") == "none":
        words += ["-o", "ConnectTimeout=30"]
    if PATIENT in os.environ and "-W" in arguments:
        _wait_for_greeting(["ssh", *words, *arguments])
    os.execvp("ssh", ["ssh", *words, *arguments])


TRIES = 4
"""How often `make ssh` tries to connect, a second apart: a guest that was just started or resumed needs a moment."""
PATIENT = "VMP_PATIENT"
"""In the environment of a ProxyCommand: it is to try so often, as ssh itself does where it needs no ProxyCommand."""


def _wait_for_greeting(words: Sequence[str]) -> None:
    """Connect until the guest's sshd greets. It speaks first, so nothing need be sent to it."""
    for _ in range(TRIES - 1):
        ended = run_program(words, 10, errors=subprocess.DEVNULL)
        if ended.output.startswith("SSH-"):
            return
        time.sleep(1)


def jump_words(vm: Vm) -> list[str]:
    """Return the ssh that goes to the node, without the host: over the shared connection, or one of its own."""
    gateway = vm.gateway
    words = [_program(vm)] if shares(vm) else [gateway.command or "ssh", *NOT_SHARED]
    words += ["-l", gateway.user] if gateway.user else []
    words += ["-p", gateway.port] if gateway.port else []
    words += host_key_options(vm)
    return [*words, *(["-i", gateway.keyfile] if gateway.keyfile else [])]


NOT_SHARED = ("-o", "ControlMaster=no", "-o", "ControlPath=none")
"""ssh's options for a connection that is shared with nobody, whatever the user's configuration says."""


def need_for_node(vm: Vm) -> None:
    """The node's shell is needed where the node downloads the image itself."""
    need(f"reach node {vm.node}", vm.gateway.command or "ssh")


def send_to_node(vm: Vm, script: str, data: bytes, *words: str) -> int:
    """Run a script by sh on the node, whatever the user's own shell is there, with data on its input.

    The script is one line without single quotes, backslashes and exclamation marks, and the words are plain, which all
    shells read alike. It may take as long as it likes: each command there has its own deadline, and ssh finds out when
    the connection is dead.
    """
    assert not set(script) & set("'\\!\n"), script
    prefix = 'unset CDPATH; cache="${XDG_CACHE_HOME:-$HOME/.cache}/vmp"; '
    command = node_ssh(vm, f"exec sh -c '{prefix}{script}' sh {' '.join(words)}")
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=sys.stderr, env=environment(), cwd=vm.directory)
    try:
        process.communicate(data)
    except BaseException:
        process.kill()
        raise
    return process.returncode


def check_node_answer(vm: Vm, code: int, what: str) -> None:
    """Raise a Problem for the exit code of a script on the node."""
    if code == 127:
        raise Problem(
            f"python3 is not installed on node {vm.node}, or is older than 3.9; the node needs it to download images",
            "install it there, or leave imageDownload out of the registry: then this host downloads them",
        )
    if code == 255:
        raise Problem(
            f"the SSH connection to node {vm.node} failed, or what ran there was killed",
            "if it goes on there, the next run waits for it",
        )
    if code:
        raise Problem(f"node {vm.node} {what} (exit code {code})")

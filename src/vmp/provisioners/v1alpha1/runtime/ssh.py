"""SSH to the guest, by OpenSSH alone.

The first value of an option wins in ssh. So V1ALPHA1_SSH_EXTRA_OPTS come first, then V1ALPHA1_SSH_OPTS or else the
registry's options, then the defaults below.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence

from .facts import SSH_PASSWORD, Vm
from .node import NOT_SHARED, jump_words
from .programs import environment, need
from .say import Problem

_ASKPASS_FOR = "VMP_ASKPASS_FOR"
"""In the environment of ssh: whose password this file gives when ssh runs it to ask for one."""


def check_ssh(vm: Vm) -> None:
    """Refuse where the registry has no ssh."""
    if vm.ssh is None:
        raise Problem("the registry has no ssh: for this VM")
    need("reach the VM", "ssh")


def ssh_command(vm: Vm, address: str, command: str, *options: str) -> tuple[list[str], dict[str, str]]:
    """Return the words and the environment of ssh; with command '' it gives a shell."""
    assert vm.ssh
    words = ["ssh", *options, *vm.knobs.ssh_extra_opts.split()]
    words += vm.knobs.ssh_opts.split() or vm.ssh.options
    words += ["-o", "UserKnownHostsFile=known_hosts", "-o", "StrictHostKeyChecking=accept-new"]
    words += ["-o", f"HostKeyAlias={vm.domain.uuid}", "-o", "CheckHostIP=no", "-o", "LogLevel=ERROR"]
    words += NOT_SHARED
    words += _jump(vm)
    if vm.knobs.ssh_user:
        words += ["-l", vm.knobs.ssh_user]
    more = {}
    if vm.ssh.password:
        more = {
            "SSH_ASKPASS": os.path.abspath(vm.file("provisioner.py")),
            "SSH_ASKPASS_REQUIRE": "force",
            _ASKPASS_FOR: _who([*words, "--", address]),
        }
        words += ["-o", "NumberOfPasswordPrompts=1"]
        if not _asks_for_keys(words):
            # An agent with many keys would use up the tries that the guest's sshd allows before the password comes.
            words += ["-o", "PubkeyAuthentication=no"]
    words += ["--", address, *([command] if command else [])]
    return words, {**environment(), **more}


def _who(words: Sequence[str]) -> str:
    """Return whose password ssh will ask for, as its question names it: user@host."""
    lines = subprocess.run(["ssh", "-G", *words[1:]], capture_output=True, text=True, check=False).stdout.splitlines()
    found = {line.partition(" ")[0]: line.partition(" ")[2] for line in lines}
    return f"{found.get('user', '')}@{found.get('hostkeyalias') or found.get('hostname', '')}"


def _jump(vm: Vm) -> list[str]:
    """Return the option by which ssh goes through a remote node: a ProxyCommand that does what libvirt's URI says."""
    if not vm.gateway.host:
        return []
    words = [word.replace("%", "%%") for word in [*jump_words(vm), "-W"]]
    host = shlex.quote(vm.gateway.host.replace("%", "%%"))
    # The keyfile goes through two programs that expand percent signs: this ssh, and the one that it runs.
    if vm.gateway.keyfile:
        words[words.index(vm.gateway.keyfile.replace("%", "%%"))] = vm.gateway.keyfile.replace("%", "%%%%")
    return ["-o", f"ProxyCommand={' '.join(map(shlex.quote, words))} '[%h]:%p' -- {host}"]


_KEYS = ("pubkeyauthentication", "identityfile", "identityagent", "certificatefile", "preferredauthentications")


def _asks_for_keys(words: Sequence[str]) -> bool:
    """Tell whether options of ssh say with which keys it logs in."""
    named = [re.split("[= ]", word.removeprefix("-o").strip(), maxsplit=1)[0].lower() for word in words]
    return any(name in _KEYS or word.startswith("-i") for name, word in zip(named, words))


def as_askpass(question: str) -> int:
    """Be ssh's askpass: answer for the machine itself; what else ssh asks goes to the user's terminal."""
    who = re.escape(os.environ[_ASKPASS_FOR])
    if re.fullmatch(rf"{who}'s password: |\({who}\) .*[Pp]assword.*", question, re.DOTALL):
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), SSH_PASSWORD), encoding="utf-8") as file:
            sys.stdout.write(file.read())
        return 0
    prompt = os.environ.get("SSH_ASKPASS_PROMPT", "")
    try:
        with open("/dev/tty", "r+", encoding="utf-8", errors="replace", buffering=1, newline="\n") as terminal:
            if prompt == "none":
                terminal.write(question)
                return 0
            if prompt == "confirm" or "(yes/no" in question:
                terminal.write(question)
                answer = terminal.readline()
            else:
                import getpass

                answer = getpass.getpass(question, stream=terminal) + "\n"
    except (OSError, EOFError, KeyboardInterrupt):
        return 1  # without a terminal there is no answer
    sys.stdout.write(answer)
    return 0


def is_askpass() -> bool:
    """Tell whether ssh runs this file to ask for a password."""
    return _ASKPASS_FOR in os.environ

"""Passwords: in no argument, no output, no log and no repository, and from their first byte in files of their owner."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from guest_registries import cloud
from recorders import Recorder
from world import ENVIRONMENT, Vm, generate, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

SSH_PASSWORD = 'pass "word" $HOME'
CONSOLE_PASSWORD = "a'b&<\",%"
TOKEN = "token-in-user-data"
SECRETS = (SSH_PASSWORD, CONSOLE_PASSWORD, TOKEN)

VM = """
  - name: web
    template: cloud
    libvirt:
      domain:
        virtInstall:
          graphics:
            - name: console
              options: {vnc: true, listen: 127.0.0.1, passwd: "a'b&<\\",%"}
      volumes:
        - name: "{IMAGE_VOLUME_NAME}"
          uploadFile: {path: "cache/of [all]*/{IMAGE_VOLUME_NAME}.raw "}
        - name: seed.iso
          uploadFile: {path: "cloud/seed #1.img"}
    cloudInit:
      noCloud:
        seed: {path: "cloud/seed #1.img"}
        data:
          user-data:
            write_files:
              - path: /etc/token
                content: token-in-user-data
    ssh:
      password: 'pass "word" $HOME'
      options:
        IdentityFile: null
        PreferredAuthentications: password
        PubkeyAuthentication: "no"
"""

_WATCH = """
import os, select, sys
secrets = [secret.encode() for secret in sys.stdin.readline().split("\\0")[:-1]]
print("ready", flush=True)
rounds, seen = 0, set()
while not select.select([0], [], [], 0.01)[0]:
    rounds += 1
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as stream:
                words = stream.read()
        except OSError:
            continue
        if any(secret in words for secret in secrets):
            seen.add(words)
print(rounds, *seen, sep="\\n")
"""
"""Reads the arguments of all processes, over and over, until its standard input ends."""


@contextmanager
def process_list() -> Iterator[list[str]]:
    """Give the arguments in which a secret was seen meanwhile; the list is filled at the end."""
    watcher = subprocess.Popen([sys.executable, "-c", _WATCH], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert watcher.stdin and watcher.stdout
    watcher.stdin.write("".join(f"{secret}\0" for secret in SECRETS) + "\n")
    watcher.stdin.flush()
    assert watcher.stdout.readline() == "ready\n"
    found: list[str] = []
    yield found
    watcher.stdin.close()
    rounds, *seen = watcher.stdout.read().splitlines()
    watcher.wait()
    assert int(rounds) > 20, "the list of processes was read too seldom to say anything"
    found += seen


class Watch:
    """Tells of every file in a directory (and below) that was created, and of every change of permissions (inotify)."""

    _CREATE, _MOVED_TO, _ATTRIB, _ISDIR = 0x100, 0x80, 0x4, 0x40000000

    def __init__(self, directory: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK)
        self._directories: dict[int, Path] = {}
        for path in [directory, *[path for path in directory.rglob("*") if path.is_dir()]]:
            self._add(path)

    def _add(self, directory: Path) -> None:
        mask = self._CREATE | self._MOVED_TO | self._ATTRIB
        watch = self._libc.inotify_add_watch(self._descriptor, os.fsencode(directory), mask)
        assert watch >= 0
        self._directories[watch] = directory

    def take(self) -> tuple[set[Path], set[Path]]:
        """Return the files that have come since the last time, and those of which attributes were changed."""
        come: set[Path] = set()
        changed: set[Path] = set()
        try:
            data = os.read(self._descriptor, 1 << 20)
        except BlockingIOError:
            data = b""
        while data:
            watch, mask, _, length = struct.unpack_from("iIII", data)
            name = data[16 : 16 + length].rstrip(b"\0")
            path = self._directories[watch] / os.fsdecode(name)
            data = data[16 + length :]
            if mask & self._ISDIR:
                continue
            (changed if mask & self._ATTRIB and name else come).add(path)
        return come, changed


def mode(path: Path) -> int:
    """Return the permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def open_umask() -> Iterator[None]:
    """The umask of a careless user."""
    before = os.umask(0)
    yield
    os.umask(before)


def files_with(text: str, *roots: Path) -> list[Path]:
    """Return the files that hold a text."""
    files = [path for root in roots for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if text.encode() in path.read_bytes()]


def check_modes(vm: Vm, watch: Watch) -> None:
    """Everything that has come is the owner's alone, and was so when it came: nobody has changed it since."""
    come, changed = watch.take()
    assert come, "nothing was seen"
    for path in come:
        assert not path.exists() or mode(path) == 0o600, path
        assert path not in changed, f"{path} was made with other permissions"


def test_passwords_are_seen_nowhere_and_belong_to_their_owner_alone(
    tiny_disk: Path, ssh_key: Path, base: Path, tmp_path: Path
) -> None:
    registry = cloud(tiny_disk, ssh_key, VM)
    (home := tmp_path / "home").mkdir()
    recorder = Recorder(tmp_path / "recorder")
    environment = {**recorder.environment, "HOME": str(home)}
    output = ""
    with open_umask(), process_list() as seen:
        vm = generate(registry, base)["web"]
        for name in ("secrets.json", "ssh-password", "cloud/seed #1.img.d/user-data", "cloud/seed #1.img.d/meta-data"):
            assert mode(vm.directory / name) == 0o600, name
        (vm.directory / "cache").mkdir()
        (vm.directory / "cache/of [all]*").mkdir()
        watch = Watch(vm.directory)
        for target in ("up", "wait-for-ready", "status", "up"):
            done = vm.make(target, environment=environment)
            output += done.stdout + done.stderr
        check_modes(vm, watch)
        assert vm.make("ssh", "CMD=whoami", environment=environment).stdout == "admin\n"
        repository(vm)
    assert seen == []
    for call in recorder.take():
        assert not any(secret in word for secret in SECRETS for word in call.arguments), call
    assert not any(secret in output for secret in SECRETS)
    for secret in SECRETS:
        assert files_with(secret, home, Path("/var/log/libvirt")) == []
    domain = virsh("dumpxml", "--security-info", "web")
    assert """passwd='a&apos;b&amp;&lt;&quot;,%'""" in domain
    assert [path.name for path in files_with("a'b&amp;&lt;", vm.directory)] == ["domain.xml"]

    (vm.directory / "ssh-password").write_text("wrong")
    assert vm.make("ssh", "CMD=true", check=False).returncode != 0
    watch = Watch(vm.directory)
    with open_umask():
        generate(registry.replace('passwd: "a', 'passwd: "b'), base)
    check_modes(vm, watch)
    assert "the definition has changed" in vm.make("up").stderr
    (vm.directory / "secrets.json").unlink()
    assert "secrets.json" in vm.make("up", check=False).stderr
    generate(registry, base)
    vm.make("delete-all", "V1ALPHA1_STOP_TIMEOUT_SECS=0")


def repository(vm: Vm) -> None:
    """What vmp wrote is for a repository; what the targets made, and passwords, are not."""
    git = ["git", "-C", str(vm.directory.parent), "-c", "init.defaultBranch=main"]
    environment = {**ENVIRONMENT, "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run([*git, "init", "--quiet"], check=True, env=environment)
    subprocess.run([*git, "add", "-A"], check=True, env=environment)
    listed = subprocess.run(
        [*git, "ls-files", "-z"], check=True, capture_output=True, text=True, env=environment
    ).stdout
    found = {path.removeprefix(f"{vm.directory.name}/") for path in listed.split("\0")[:-1]}
    manifest = (vm.directory / "MANIFEST").read_text().splitlines()
    wrote = {line for line in manifest if line and not line.startswith("#")}
    assert found == {*wrote, "MANIFEST"} - {"ssh-password", "secrets.json"}
    subprocess.run(["rm", "-rf", vm.directory.parent / ".git"], check=True)

"""A provisioner as its user has it, and libvirt as it looks from outside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from console import Console

ROOT = Path(__file__).parent.parent.parent

# The checkout, and with it vmp and its Python environment, is covered by an empty file system: a provisioner
# must not notice. virt-install brings the Python of the system along.
OUT_OF_REACH = ["unshare", "--mount", "--", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(ROOT)]

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/nonexistent",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
}


# Where libvirt keeps what belongs to a domain (NVRAM, TPM state, managed saves, snapshots, sockets) or defines it.
LIBVIRT_STATE = ["/var/lib/libvirt/qemu", "/var/lib/libvirt/swtpm", "/etc/libvirt/qemu", "/etc/libvirt/storage"]


def build_guest(name: str) -> Path:
    """Return the image of a guest of tests/lab/guests, building it if it is not in the cache."""
    found = subprocess.run([ROOT / "tests/lab/guests" / name], check=True, capture_output=True, text=True)
    return Path(found.stdout.strip())


def virsh(*arguments: str) -> str:
    """Return what virsh prints."""
    return subprocess.run(["virsh", "-q", *arguments], check=True, capture_output=True, text=True).stdout


def domain_state(name: str = "web") -> str:
    """Return the state of a domain, or `gone`."""
    found = subprocess.run(["virsh", "-q", "domstate", "--domain", name], capture_output=True, text=True)
    return found.stdout.strip() or "gone"


def start_libvirtd(environment: Mapping[str, str] | None = None) -> None:
    """Start libvirtd as the lab does, after a test has ended it."""
    subprocess.run(["libvirtd", "--daemon"], check=True, env={**os.environ, **(environment or {})})
    deadline = time.monotonic() + 60
    while subprocess.run(["virsh", "-q", "version"], check=False, capture_output=True).returncode:
        assert time.monotonic() < deadline, "libvirtd does not start again"
        time.sleep(0.1)


def inventory() -> list[str]:
    """Return all that libvirt has, and the directories of its pools, as comparable lines."""
    lines = [f"domain {line}" for line in virsh("list", "--all", "--uuid", "--name").splitlines() if line.strip()]
    active = set(map(str.strip, virsh("pool-list", "--name").splitlines()))
    pools = filter(None, map(str.strip, virsh("pool-list", "--all", "--name").splitlines()))
    lines += [f"pool {pool} {'active' if pool in active else 'inactive'}" for pool in pools]
    lines += networks()
    images = Path("/var/lib/libvirt/images")
    lines += [f"file {path.relative_to(images)}" for path in sorted(images.rglob("*"))]
    for state in LIBVIRT_STATE:
        lines += [f"file {path}" for path in Path(state).rglob("*") if not path.is_dir()]
    return sorted(lines)


def network_names(*options: str) -> list[str]:
    """Return the names of networks: of all, or those that `net-list` tells with its options."""
    return [
        name.rstrip() for name in virsh("net-list", "--name", *(options or ("--all",))).splitlines() if name.strip()
    ]


def networks() -> list[str]:
    """Return what libvirt has of networks: their states, and who has an address reserved or a name in their DNS."""
    inactive, starting = network_names("--inactive"), network_names("--all", "--autostart")
    lines = []
    for name in network_names():
        state = "inactive" if name in inactive else "active"
        lines.append(f"network {name} {state}{' autostart' if name in starting else ''}")
        for kind in ("", "--inactive"):
            xml = ElementTree.fromstring(virsh("net-dumpxml", "--network", name, *filter(None, [kind])))
            for host in [*xml.iterfind("ip/dhcp/host"), *xml.iterfind("dns/host")]:
                names = " ".join([found.text or "" for found in host.iterfind("hostname")])
                lines.append(f"host of network {name} {kind} {sorted(host.items())} {names}")
    return lines


def remove_networks() -> None:
    """Delete every network but `default`, and what is reserved in that."""
    for name in network_names():
        if name != "default":
            subprocess.run(["virsh", "-q", "net-destroy", "--network", name], check=False, capture_output=True)
            subprocess.run(["virsh", "-q", "net-undefine", "--network", name], check=False, capture_output=True)
    for kind, flag in (("", "--live"), ("--inactive", "--config")):
        xml = ElementTree.fromstring(virsh("net-dumpxml", "default", *filter(None, [kind])))
        for host in xml.iterfind("ip/dhcp/host"):
            entry = ElementTree.tostring(host, encoding="unicode").strip()
            words = ["virsh", "-q", "net-update", "default", "delete", "ip-dhcp-host", entry, flag]
            subprocess.run(words, check=False, capture_output=True)


def remove_all() -> None:
    """Delete every domain, every network and every pool but `default`, and empty that."""
    for uuid in virsh("list", "--all", "--uuid").split():
        subprocess.run(["virsh", "-q", "destroy", uuid], check=False, capture_output=True)
        flags = ["--nvram", "--tpm", "--managed-save", "--snapshots-metadata", "--checkpoints-metadata"]
        subprocess.run(["virsh", "-q", "undefine", uuid, *flags], check=False, capture_output=True)
    remove_networks()
    for pool in filter(None, map(str.strip, virsh("pool-list", "--all", "--name").splitlines())):
        if pool != "default":
            subprocess.run(["virsh", "-q", "pool-destroy", pool], check=False, capture_output=True)
            subprocess.run(["virsh", "-q", "pool-undefine", pool], check=False, capture_output=True)
    for path in Path("/var/lib/libvirt/images").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    virsh("pool-refresh", "default")


class Vm:
    """The directory of one VM, used through make alone."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def command(self, *arguments: str) -> list[str]:
        """Return the command that runs targets of this VM with vmp out of reach."""
        return [*OUT_OF_REACH, "make", "--no-print-directory", "-C", str(self.directory), *arguments]

    def make(
        self, *arguments: str, check: bool = True, timeout: float = 300, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run targets, and expect them to go well unless told otherwise."""
        done = subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd="/",
            env={**ENVIRONMENT, **(environment or {})},
            stdin=subprocess.DEVNULL,
        )
        if check:
            assert done.returncode == 0, f"make {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def ssh(self, command: str) -> str:
        """Return what a command prints in the guest."""
        return self.make("ssh", f"CMD={command}").stdout

    def console(self) -> Console:
        """Return `make console` on a terminal of its own."""
        return Console(self.command("console"), cwd=Path("/"), env={**ENVIRONMENT})

    @property
    def uuid(self) -> str:
        """Return the UUID of the domain."""
        found: str = json.loads((self.directory / "vm.json").read_text())["domain"]["uuid"]
        return found


def generate(registry: str, base: Path, *options: str) -> dict[str, Vm]:
    """Compile a registry through the command line, and then throw the registry away."""
    base.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "vmp", "gen", "--base-dir", str(base), *options],
        input=registry,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stderr
    makefiles = [line.removeprefix("Generated ") for line in done.stderr.splitlines()]
    return {Path(makefile).parent.name: Vm(Path(makefile).parent) for makefile in makefiles}

"""kcli, the tool that ours is measured beside: in a scratch environment, and told of the lab's libvirtd alone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from vms import PATH

POOL = "peer"
"""Of kcli's volumes, and of the image that they are based on."""

_LIBVIRT = "import libvirt"
_SYSTEM_PYTHON = "/usr/bin/python3"
"""The one whose libvirt bindings the distribution packages (python3-libvirt): those of PyPI need a compiler."""

_CONFIGURATION = f"""\
default:
  client: lab
lab:
  type: kvm
  host: 127.0.0.1
  pool: {POOL}
"""


def install_peer() -> Path | str:
    """Return where kcli is, installing it from PyPI when it is not in the cache; or why there is none."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    environment = cache / "vmp" / "kcli"
    kcli = environment / "bin" / "kcli"
    if kcli.exists() and not _run([kcli, "version"]):
        return kcli
    # Debian and Ubuntu bring the bindings with virt-install, which the provisioner needs anyway.
    bindings = [] if not _run([_SYSTEM_PYTHON, "-c", _LIBVIRT]) else ["libvirt-python"]
    commands: list[list[str | Path]] = [
        [_SYSTEM_PYTHON, "-m", "venv", "--clear", "--system-site-packages", environment],
        [environment / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "kcli", *bindings],
        [kcli, "version"],
    ]
    for command in commands:
        if failure := _run(command):
            return failure
    return kcli


def describe_peer(found: Path | str) -> str:
    """Return its name and version for people, or why there is none."""
    if isinstance(found, str):
        return f"none: {found}"
    version = subprocess.run([found, "version"], capture_output=True, text=True).stdout.split()
    package = subprocess.run(
        [found.parent / "pip", "--disable-pip-version-check", "show", "kcli"], capture_output=True, text=True
    ).stdout
    number = next((line.split()[1] for line in package.splitlines() if line.startswith("Version:")), "?")
    commit = version[version.index("commit:") + 1] if "commit:" in version else "?"
    return f"kcli {number} (commit {commit}) from PyPI"


class Peer:
    """The commands of kcli for blank VMs: those of the same disk, memory and seed as ours."""

    def __init__(self, kcli: Path, home: Path) -> None:
        self._kcli = str(kcli)
        self.home = home
        (home / ".kcli").mkdir(parents=True)
        (home / ".kcli/config.yml").write_text(_CONFIGURATION)
        self.environment: Mapping[str, str] = {
            "PATH": PATH,
            "HOME": str(home),
            "LANG": "C.UTF-8",
        }

    def create(self, name: str, image: str) -> list[str]:
        """Make and start one VM."""
        parameters = ("memory=64", "numcpus=1", "disks=[1]", "nets=[default]", "cloudinit=true", "machine=q35")
        given = [word for parameter in parameters for word in ("-P", parameter)]
        return [self._kcli, "create", "vm", "-i", image, *given, name]

    def info(self, name: str) -> list[str]:
        """Say whether there is such a VM, and what it is."""
        return [self._kcli, "info", "vm", name]

    def list_all(self) -> list[str]:
        """Say which VMs there are."""
        return [self._kcli, "list", "vm"]

    def delete(self, name: str) -> list[str]:
        """Remove one VM with its volumes."""
        return [self._kcli, "delete", "vm", "--yes", name]

    def write_plan(self, names: Sequence[str], image: str) -> None:
        """Write the file of the plan of many VMs."""
        (self.home / "plan.yml").write_text(
            "".join(
                f"{name}:\n  image: {image}\n  memory: 64\n  numcpus: 1\n  disks: [1]\n  nets: [default]\n"
                "  cloudinit: true\n  machine: q35\n"
                for name in names
            )
        )

    def create_plan(self) -> list[str]:
        """Make and start what the plan lists and is not there."""
        return [self._kcli, "create", "plan", "--inputfile", "plan.yml", "fleet"]

    def delete_plan(self) -> list[str]:
        """Remove what the plan has made."""
        return [self._kcli, "delete", "plan", "--yes", "fleet"]


def _run(command: Sequence[str | Path]) -> str:
    """Run a command; return '' when it went well, else the last line of what it said."""
    try:
        done = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]}: {error}"
    lines = (done.stderr or done.stdout).strip().splitlines()
    return "" if done.returncode == 0 else f"{Path(command[0]).name}: {lines[-1] if lines else done.returncode}"

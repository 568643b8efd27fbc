"""The static files of a generated directory and of a fleet, as they are shipped in ``files/`` and ``fleet_files/``."""

from __future__ import annotations

import os
from functools import cache

from vmp.tree import File, Tree

STATIC_NAMES = (
    ".gitignore",
    "Makefile",
    "lib/address.sh",
    "lib/alike.sh",
    "lib/askpass",
    "lib/command.sh",
    "lib/console.sh",
    "lib/definition.sh",
    "lib/domain-xml.sh",
    "lib/domain.sh",
    "lib/fill.sh",
    "lib/foresee.sh",
    "lib/image.sh",
    "lib/libvirt.sh",
    "lib/lock.sh",
    "lib/main.sh",
    "lib/node-ssh",
    "lib/node.sh",
    "lib/pool.sh",
    "lib/say.sh",
    "lib/seed.sh",
    "lib/ssh.sh",
    "lib/status.sh",
    "lib/targets.sh",
    "lib/users.sh",
    "lib/virsh.sh",
    "lib/volume.sh",
    "lib/wait.sh",
    "lib/whole.sh",
)
"""The paths of a VM's, in order."""

FLEET_NAMES = (".fleet/.gitignore", ".fleet/fleet.sh", ".fleet/nodes.sh", ".fleet/vms.mk", "Makefile")
"""The paths of a fleet's, in order."""

_PROGRAMS = ("lib/askpass", "lib/node-ssh")
"""What ssh and libvirt run."""


@cache
def static_files() -> Tree:
    """Return the static files of a VM; read once, however many VMs are compiled."""
    return {name: File(_read("files", name), 0o755 if name in _PROGRAMS else 0o644) for name in STATIC_NAMES}


def fleet_files() -> Tree:
    """Return the static files of a fleet."""
    return {name: File(_read("fleet_files", name)) for name in FLEET_NAMES}


def _read(directory: str, name: str) -> bytes:
    loader = __spec__.loader  # also reads from a zip archive, without the cost of importlib.resources
    data: bytes = loader.get_data(os.path.join(os.path.dirname(__file__), directory, name))  # type: ignore[union-attr]
    return data

"""The static files of a generated directory, as they are shipped in ``files/``."""

from __future__ import annotations

import os
from functools import cache

from vmp.tree import File, Tree

STATIC_NAMES = (
    ".gitignore",
    "Makefile",
    "lib/address.sh",
    "lib/askpass",
    "lib/command.sh",
    "lib/console.sh",
    "lib/domain.sh",
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
    "lib/volume.sh",
    "lib/wait.sh",
)
"""Their paths, in order."""

_PROGRAMS = ("lib/askpass", "lib/node-ssh")
"""What ssh and libvirt run."""


@cache
def static_files() -> Tree:
    """Return the static files; read once, however many VMs are compiled."""
    loader = __spec__.loader  # also reads from a zip archive, without the cost of importlib.resources
    here = os.path.join(os.path.dirname(__file__), "files")
    return {
        name: File(loader.get_data(os.path.join(here, name)), 0o755 if name in _PROGRAMS else 0o644)  # type: ignore[union-attr]
        for name in STATIC_NAMES
    }

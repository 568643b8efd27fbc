"""This host once more, as a node that is reached by ssh and downloads images itself."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local_sshd import local_sshd

PORT = 22022


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
    """Start its sshd."""
    with local_sshd(directory, [PORT], f"SetEnv XDG_CACHE_HOME={directory}/cache"):
        yield Node(directory)

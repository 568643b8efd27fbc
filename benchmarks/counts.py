"""What a run costs apart from time: connections to libvirtd, processes, programs."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_CLONE = re.compile(r"\b(clone3?|v?fork)\(")


class Started(NamedTuple):
    """What a command has started, itself included; what libvirtd starts (QEMU) is not among it."""

    processes: int
    programs: int


def count_connections(run: Callable[[], object]) -> int:
    """Return how many connections libvirtd has accepted during a run, whoever opened them."""
    before = _newest_client()
    run()
    return _newest_client() - before - 1  # one is the second question's own


def _newest_client() -> int:
    """Return the number of the newest client of libvirtd, which counts them: a client of our own."""
    with subprocess.Popen(["virsh", "-q"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as virsh:
        assert virsh.stdin and virsh.stdout
        virsh.stdin.write("uri\n")
        virsh.stdin.flush()
        while "qemu:///" not in virsh.stdout.readline():
            if virsh.poll() is not None:
                raise RuntimeError("virsh does not answer")
        listed = subprocess.run(
            ["virt-admin", "-q", "client-list", "libvirtd"], check=True, capture_output=True, text=True
        )
        virsh.stdin.close()
        virsh.stdout.read()
    return max(int(line.split()[0]) for line in listed.stdout.splitlines() if line.strip())


def count_started(command: Sequence[str], environment: Mapping[str, str], cwd: Path) -> Started | None:
    """Return what a run has started, or None without strace. It is run for this alone: tracing makes it slow."""
    if shutil.which("strace") is None:
        return None
    with tempfile.NamedTemporaryFile("r", errors="replace") as trace:
        options = ["-f", "-qq", "-e", "trace=clone,clone3,fork,vfork,execve", "-e", "signal=none", "-o", trace.name]
        subprocess.run(
            ["strace", *options, "--", *command],
            check=True,
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        lines = trace.read().splitlines()
    # A call that another process has interrupted is two lines, of which only the first has the parenthesis.
    clones = [line for line in lines if _CLONE.search(line) and "CLONE_THREAD" not in line and "= -1 " not in line]
    # An interrupted execve has its result in its second line.
    programs = [line for line in lines if "execve" in line and line.endswith("= 0")]
    return Started(1 + len(clones), len(programs))

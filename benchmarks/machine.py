"""On what the figures were measured, and when."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from figures import Table


def describe_machine() -> Table:
    """Return what the figures depend on."""
    return Table(
        title="Machine",
        header=("", ""),
        rows=(
            ("date", datetime.date.today().isoformat()),
            ("processor", f"{_field('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores"),
            ("memory", f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.0f} GiB"),
            ("kernel", platform.release()),
            (
                "file system of the figures",
                _first_line(["stat", "--file-system", "--format=%T", tempfile.gettempdir()]),
            ),
            ("guests", _acceleration()),
            ("libvirt", _first_line(["virsh", "--version"])),
            ("QEMU", _first_line(["qemu-system-x86_64", "--version"]).removeprefix("QEMU emulator version ")),
            ("virt-install", _first_line(["virt-install", "--version"])),
            ("Python of vmp", platform.python_version()),
        ),
    )


def describe_load() -> str:
    """Return how busy the machine is: figures of a machine that does something else are no figures."""
    one, five, _ = os.getloadavg()
    now = datetime.datetime.now().strftime("%Y-%m-%d %H:%M")
    return f"Measured from {now} on; load average before: {one:.1f} (1 minute), {five:.1f} (5 minutes)."


def _acceleration() -> str:
    """Return whether guests run natively; the lab's do so only on machines that can nest."""
    flags = _field("/proc/cpuinfo", "flags").split()
    if Path("/dev/kvm").exists() and {"vmx", "svm"} & set(flags):
        return "KVM"
    return "emulated (TCG): QEMU and the firmware of guests take processor time that KVM would not"


def _field(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "0 unknown"


def _first_line(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "not installed"
    return done.stdout.partition("\n")[0].strip()

"""The life cycle of VMs with nothing but what one Debian release has. Run inside a lab with the root of that release.

    life.py BASE CONSOLE

BASE holds the directories that vmp wrote elsewhere: live, cloud, uefi and fleet. CONSOLE is the folder of console.py.
It ends with 0 when all was as it should be, and prints the versions of what it used.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

FAST = "V1ALPHA1_STOP_TIMEOUT_SECS=0"


def run(*words: str) -> str:
    """Return what a command prints, which must go well."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"{words} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def virsh(*words: str) -> str:
    """Return what virsh prints."""
    return run("virsh", "-q", *words)


def state(name: str) -> str:
    """Return the state of a domain, or `gone`."""
    return virsh("domstate", name).strip() if name in virsh("list", "--all", "--name").split() else "gone"


def expect(found: str, *wanted: str) -> None:
    """Fail unless all words are in what was found."""
    for words in wanted:
        assert words in found, f"there is no {words!r} in:\n{found}"


class Vm:
    """One directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def make(self, *words: str) -> str:
        """Return what the targets say."""
        return run("make", "--no-print-directory", "-C", str(self.directory), *words)


def live(base: Path, console: Path) -> None:
    """A live ISO: from nothing to a shell on its console, and a shutdown by itself."""
    sys.path.insert(0, str(console))
    from console import Console  # type: ignore[import-not-found, unused-ignore]

    vm = Vm(base / "live/vm1")
    expect(run(str(vm.directory / "provisioner.py"), "--version"), "vmp ", "sha256:")
    expect(vm.make("help"), "make up", "V1ALPHA1_IP_CMD")
    expect(vm.make("up"), "created domain vm1", "started domain vm1")
    with Console(["make", "--no-print-directory", "-C", str(vm.directory), "console"]) as screen:
        screen.expect("# ", timeout=120, nudge="\n")
        screen.send("echo sum=$((40 + 2))\n")
        screen.expect("sum=42", timeout=20)
        screen.send("\x1d")
        assert screen.wait() == 0
    expect(vm.make("stop"), "the guest shut down after")
    expect(vm.make("down"), "deleted domain vm1")
    vm.make("delete-all", "clean-all")


def cloud(base: Path) -> None:
    """A cloud VM: reached by SSH, stopped in each way, made again."""
    vm = Vm(base / "cloud/web")
    said = vm.make("up", "V=1")
    expect(said, "created domain web", "started domain web", "+ virsh ", "+ virt-install ", "+ curl ")
    assert vm.make("up") == "web: is running\n"
    vm.make("wait-for-ready")
    expect(vm.make("ssh", "CMD=hostname"), "host-of-web")
    assert vm.make("ip").startswith("192.168.122.")
    expect(vm.make("status"), "running", "active", "192.168.122.")
    expect(vm.make("stop"), "the guest shut down after")
    expect(vm.make("start"), "started domain web")
    virsh("managedsave", "web")
    expect(vm.make("up"), "started domain web")
    expect(vm.make("ssh", "CMD=whoami"), "admin")
    virsh("suspend", "web")
    expect(vm.make("up"), "resumed domain web")
    expect(vm.make("restart", FAST), "started domain web")
    vm.make("kill")
    assert state("web") == "shut off"
    expect(vm.make("down"), "deleted domain web", "deleted pool web")
    expect(vm.make("up"), "created domain web")
    expect(vm.make("delete-all"), "deleted domain web")
    vm.make("clean-all")
    assert state("web") == "gone"


def uefi(base: Path) -> None:
    """A VM with UEFI, whose variables come and go with its domain."""
    vm = Vm(base / "uefi/efi")
    vm.make("up")
    xml = ElementTree.fromstring(virsh("dumpxml", "efi"))
    store = xml.find("os/varstore")  # since libvirt 12
    nvram = xml.findtext("os/nvram") if store is None else store.get("path")
    assert nvram and Path(nvram).exists(), f"there are no UEFI variables: {nvram}"
    assert state("efi") == "running"
    expect(vm.make("kill"), "stopped domain efi")
    vm.make("start")
    expect(vm.make("down", FAST), "deleted domain efi")
    assert not Path(nvram).exists() and state("efi") == "gone"
    vm.make("delete-all", "clean-all")


def fleet(base: Path) -> None:
    """Three VMs at once."""
    vms = Vm(base / "fleet")
    names = vms.make("list").split()
    assert names == ["a", "b", "c"]
    expect(vms.make("-j3", "up"), *[f"started domain {name}" for name in names])
    assert sorted(vms.make("up").splitlines()) == [f"{name}: is running" for name in names]
    assert vms.make("status").count("running") == 3
    expect(vms.make("-j3", "down", FAST), *[f"deleted domain {name}" for name in names])
    for name in names:
        Vm(vms.directory / name).make("delete-all", "clean-all")


def versions() -> str:
    """Return the versions of all that was used, in one line."""
    libvirt, qemu = [
        line.split()[-1] for line in virsh("version").splitlines() if "Using library" in line or "Running" in line
    ]
    make = run("make", "--version").split()[2]
    return (
        f"libvirt {libvirt}, QEMU {qemu}, virt-install {run('virt-install', '--version').strip()}, "
        f"Python {'.'.join(map(str, sys.version_info[:3]))}, make {make}"
    )


def main(base: Path, console: Path) -> None:
    """Run all, and look whether anything is left."""
    os.environ.update(HOME="/nonexistent", LANG="C.UTF-8", TERM="dumb")
    virsh("pool-define-as", "default", "dir", "--target", "/var/lib/libvirt/images")
    virsh("pool-start", "default")
    live(base, console)
    cloud(base)
    uefi(base)
    fleet(base)
    assert not virsh("list", "--all", "--name").split()
    assert virsh("pool-list", "--all", "--name").split() == ["default"]
    left = [str(path) for path in Path("/var/lib/libvirt/images").rglob("*")]
    assert not left, left
    print(versions())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

"""The life of VMs with nothing but what one Debian release has. Run inside a lab with the root of that release.

    life.py SCENE BASE TOOLS

SCENE is live, uefi, cloud, fleet, network, changes or install. BASE holds the directories that vmp wrote elsewhere,
TOOLS is the folder of console.py. The last line that it prints are the versions of what was used, as JSON. Python 3.9
runs it, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Callable
from xml.etree import ElementTree

LONG = "x" * 200
FAST = "V1ALPHA1_STOP_TIMEOUT_SECS=0"
IMAGES = Path("/var/lib/libvirt/images")
STATE = [IMAGES, *map(Path, ("/var/lib/libvirt/qemu", "/etc/libvirt/qemu", "/etc/libvirt/storage"))]
"""Where libvirt keeps volumes, NVRAM, managed saves and snapshots, and what defines domains, networks and pools."""


def run(*words: str, code: int = 0) -> str:
    """Return what a command prints, which must end with this code."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True)
    assert done.returncode == code, f"{words} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def virsh(*words: str) -> str:
    """Return what virsh prints."""
    return run("virsh", "-q", *words)


def state(name: str) -> str:
    """Return the state of a domain, or `gone`."""
    return virsh("domstate", name).strip() if name in virsh("list", "--all", "--name").split() else "gone"


def running_id(name: str) -> str:
    """Return the id of a domain, which must be running: another one after each start."""
    assert state(name) == "running", f"{name} is {state(name)}"
    return virsh("domid", name).strip()


def inventory() -> list[str]:
    """Return what libvirt has: domains, active pools and networks, and the files that belong to them."""
    lists = [virsh(*words.split()) for words in ("list --all --name", "pool-list --name", "net-list --name")]
    files = [str(path) for top in STATE for path in top.rglob("*") if not path.is_dir()]
    return [*lists, *sorted(files)]


def expect(found: str, *wanted: str) -> None:
    """Fail unless all words are in what was found."""
    for words in wanted:
        assert words in found, f"there is no {words!r} in:\n{found}"


class Vm:
    """One directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def make(self, *words: str, code: int = 0) -> str:
        """Return what the targets say."""
        return run("make", "--no-print-directory", "-C", str(self.directory), *words, code=code)

    def files(self) -> list[str]:
        """Return the paths of its files, without compiled Python and the lock, which stay."""
        found = [path for path in self.directory.rglob("*") if path.is_file()]
        return sorted(str(path) for path in found if path.suffix != ".pyc" and path.name != ".lock")


def whole_life(vm: Vm, name: str, once_up: Callable[[], None]) -> None:
    """From nothing to nothing: what each target says, and what virsh says after it. `once_up` waits for the guest."""
    before = vm.files()
    program = str(vm.directory / "provisioner.py")
    expect(run(program, "--version"), "vmp ", "sha256:")
    expect(run("python3", "-I", "-S", "-B", "-W", "error", program, "help"), "make up", "V1ALPHA1_IP_CMD")
    expect(vm.make("status", code=2), "not there")

    said = vm.make("up", "V=1")
    expect(said, f"created domain {name}", f"started domain {name}", "+ virsh ", "+ virt-install ", "+ curl ")
    first = running_id(name)
    assert vm.make("up") == f"{name}: is running\n"
    assert running_id(name) == first
    expect(vm.make("status"), "running", "active")
    once_up()
    unchanged = f"{name}: is as the directory says\n"
    assert run(program, "diff") == unchanged

    expect(vm.make("stop"), "the guest shut down after")
    assert state(name) == "shut off"
    assert run(program, "diff") == unchanged
    expect(vm.make("status", code=2), "shut off")
    expect(vm.make("start"), f"started domain {name}")
    second = running_id(name)
    expect(vm.make("restart", FAST), f"started domain {name}")
    assert running_id(name) not in (first, second)
    expect(vm.make("kill"), f"stopped domain {name}")
    assert state(name) == "shut off"

    expect(vm.make("down"), f"deleted domain {name}")
    assert state(name) == "gone"
    expect(vm.make("up"), f"created domain {name}", f"started domain {name}")
    running_id(name)
    expect(vm.make("delete-all", FAST), f"deleted domain {name}")
    vm.make("clean-all")
    assert vm.files() == before, vm.files()


def look_at_console(vm: Vm, command: str, answer: str) -> None:
    """Wait for a shell on the console, and let it run a command."""
    from console import Console  # type: ignore[import-not-found, unused-ignore]

    with Console(["make", "--no-print-directory", "-C", str(vm.directory), "console"]) as screen:
        screen.expect("# ", timeout=180, nudge="\n")
        screen.send(f"{command}\n")
        screen.expect(answer, timeout=30)
        screen.send("\x1d")
        assert screen.wait() == 0


def live(base: Path) -> None:
    """A live ISO, booted by BIOS."""
    vm = Vm(base / "live/vm1")
    whole_life(vm, "vm1", lambda: look_at_console(vm, "echo sum=$((40 + 2))", "sum=42"))
    unknown = base / "unknown/vm1"
    if unknown.exists():
        expect(Vm(unknown).make("up", code=2), "does not know the operating system 'linux2022'", "it knows linux2020")


def uefi(base: Path) -> None:
    """The same ISO, booted by UEFI, whose variables come and go with its domain."""
    vm = Vm(base / "uefi/vm1")

    def once_up() -> None:
        look_at_console(vm, "test -d /sys/firmware/efi && echo by=$((1 + 1))efi", "by=2efi")
        xml = ElementTree.fromstring(virsh("dumpxml", "vm1"))
        store = xml.find("os/varstore")  # since libvirt 12
        variables = xml.findtext("os/nvram") if store is None else store.get("path")
        assert variables and Path(variables).exists(), f"there are no UEFI variables: {variables}"

    whole_life(vm, "vm1", once_up)
    uefi_snapshots(vm)


def variables() -> Path:
    """Return the file of the UEFI variables; libvirt tells of it only while the guest runs, before 9.2."""
    (found,) = [path for path in Path("/var/lib/libvirt/qemu/nvram").iterdir() if path.name.startswith("vm1_VARS")]
    return found


def uefi_snapshots(vm: Vm) -> None:
    """Of a guest that is off with its variables; of one that runs where libvirt can."""
    disk = IMAGES / "more.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", str(disk), "1M")
    vm.make("create")
    virsh("attach-disk", "vm1", str(disk), "vdz", "--driver", "qemu", "--subdriver", "qcow2", "--config")
    vm.make("start")
    expect(vm.make("snapshot", "NAME=on", code=2), "the guest boots by UEFI", "'make stop snapshot start'")
    if libvirt_version() < (9, 0):
        expect(vm.make("kill", "snapshot", "NAME=off", code=2), "could not make snapshot 'off'", "libvirt before 9.0")
        assert [path.name for path in variables().parent.iterdir()] == [variables().name]
        vm.make("down", FAST)
        disk.unlink()
        vm.make("delete-all", "clean-all")
        return
    vm.make("kill", "snapshot", "NAME=off")
    before = variables().read_bytes()
    variables().write_bytes(bytes(len(before)))
    expect(vm.make("revert", "NAME=off"), "the guest is off, as it was then")
    assert variables().read_bytes() == before
    if (10, 9) <= libvirt_version() < (12,):  # 12.8 starts no domain whose variables are a qcow2 from a raw template
        snapshot_with_variables_in_qcow2(vm)
    vm.make("down", FAST)
    disk.unlink()
    vm.make("delete-all", "clean-all")


def snapshot_with_variables_in_qcow2(vm: Vm) -> None:
    """libvirt takes such variables into its own snapshots, also while the guest runs."""
    before = variables()
    path = before.with_suffix(".qcow2")
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(before), str(path))
    xml = ElementTree.fromstring(virsh("dumpxml", "vm1"))
    nvram = xml.find("os/nvram")
    assert nvram is not None
    nvram.attrib.clear()
    nvram.set("format", "qcow2")
    nvram.text = str(path)
    file = vm.directory / "new.xml"
    file.write_text(ElementTree.tostring(xml, encoding="unicode"))
    virsh("define", str(file))
    file.unlink()
    before.unlink()
    vm.make("start")
    vm.make("snapshot", "NAME=on")
    vm.make("kill", "snapshot", "NAME=off2")
    expect(run("qemu-img", "snapshot", "-l", str(path)), " on ", " off2 ")
    expect(vm.make("revert", "NAME=on"), "the guest runs, as it did then")
    running_id("vm1")
    expect(vm.make("revert", "NAME=off2"), "the guest is off, as it was then")
    vm.make("snapshot/delete", "NAME=on")
    assert " on " not in run("qemu-img", "snapshot", "-l", str(path))


def cloud(base: Path) -> None:
    """A cloud VM: reached by SSH, saved and suspended."""
    vm = Vm(base / "cloud/web")

    def once_up() -> None:
        vm.make("wait-for-ready")
        expect(vm.make("ssh", "CMD=hostname"), "host-of-web")
        address = vm.make("ip").strip()
        expect(vm.make("ssh", "CMD=ip -4 addr"), f" {address}/")
        expect(vm.make("status"), address)
        virsh("managedsave", "web")
        expect(vm.make("up"), "started domain web")
        vm.make("wait-for-ready")
        expect(vm.make("ssh", "CMD=whoami"), "admin")
        virsh("suspend", "web")
        expect(vm.make("up"), "resumed domain web")
        expect(vm.make("ssh", "CMD=whoami"), "admin")
        snapshots_of_a_running_guest(vm)

    whole_life(vm, "web", once_up)


def snapshots_of_a_running_guest(vm: Vm) -> None:
    """What it remembers, and its disk, come back; `down` takes away what is left."""
    vm.make("ssh", "CMD=echo before >~/file")
    vm.make("snapshot", f"NAME={LONG}")
    vm.make("snapshot/delete", f"NAME={LONG}")
    expect(vm.make("snapshot", "NAME=on_1.a-b"), "made snapshot 'on_1.a-b' of the disks and the memory")
    vm.make("ssh", "CMD=echo after >~/file")
    if libvirt_version() < (9, 0):  # the seed is a raw disk that is read-only
        expect(vm.make("kill", "snapshot", "NAME=off", code=2), "could not make snapshot 'off'", "libvirt before 9.0")
        expect(vm.make("revert", "NAME=on_1.a-b"), "the guest runs, as it did then")
        assert vm.make("ssh", "CMD=cat ~/file") == "before\n"
        return
    vm.make("kill", "snapshot", "NAME=off")
    lines = vm.make("snapshots").splitlines()
    assert [line[2:10].strip() for line in lines] == ["on_1.a-b", "off"], lines
    expect(vm.make("revert", "NAME=on_1.a-b"), "the guest runs, as it did then")
    assert vm.make("ssh", "CMD=cat ~/file") == "before\n"
    expect(vm.make("revert", "NAME=ofg", code=2), "is it 'off'?")
    expect(vm.make("revert", "NAME=off"), "the guest is off, as it was then")
    vm.make("snapshot/delete", "NAME=off")
    vm.make("revert", "NAME=on_1.a-b")


def fleet(base: Path) -> None:
    """Three VMs through one Makefile."""
    vms = Vm(base / "fleet")
    before = vms.files()
    names = ["a", "b", "c"]
    assert vms.make("list").split() == names
    expect(vms.make("-j3", "up"), *[f"started domain {name}" for name in names])
    ids = [running_id(name) for name in names]
    assert sorted(vms.make("up").splitlines()) == [f"{name}: is running" for name in names]
    assert [running_id(name) for name in names] == ids
    assert [line.split() for line in vms.make("status").splitlines()] == [
        [name, "localhost", "running"] for name in names
    ]
    Vm(vms.directory / "b").make("wait-for-ready")
    expect(Vm(vms.directory / "b").make("ssh", "CMD=hostname"), "host-of-b")

    expect(vms.make("down", "VMS=[ac]", FAST), "deleted domain a", "deleted domain c")
    assert [state(name) for name in names] == ["gone", "running", "gone"]
    expect(vms.make("status", code=2), "not there", "running")
    expect(vms.make("JOBS=2", "up"), "started domain a", "b: is running", "started domain c")
    assert running_id("b") == ids[1]
    expect(vms.make("-j3", "down", FAST), *[f"deleted domain {name}" for name in names])
    assert [state(name) for name in names] == ["gone"] * 3
    for name in names:
        Vm(vms.directory / name).make("delete-all", "clean-all")
    assert vms.files() == before, vms.files()


def changes(base: Path) -> None:
    """A guest whose registry has changed: what comes while it runs, what waits, and what was changed by hand."""
    vm, later = Vm(base / "changes/web"), Vm(base / "changed/web")
    before = inventory()
    vm.make("up")
    vm.make("wait-for-ready")
    vm_json = vm.directory / "vm.json"
    first, second = vm_json.read_text(), (later.directory / "vm.json").read_text()
    address = ElementTree.fromstring(virsh("dumpxml", "web")).find("devices/interface/address")

    vm_json.write_text(second)
    program = str(vm.directory / "provisioner.py")
    expect(run(program, "diff", code=1), "memory 128 → 160", "vcpus 1 → 2", "disk data: added", "1 GiB → 2G")
    expect(vm.make("apply"), "grew volume web/boot.qcow2", "memory 128 → 160: now", "vcpus 1 → 2: now", "added: now")
    assert run(program, "diff") == "web: is as the directory says\n"
    expect(vm.make("ssh", "CMD=cat /proc/partitions"), "2097152 vda", "8192 vdc")
    vm_json.write_text(first)
    expect(vm.make("apply", code=2), "2G → 1G, and a disk cannot shrink")
    vm_json.write_text(first.replace('"capacity": "1G"', '"capacity": "2G"'))
    expect(vm.make("apply"), "disk data: removed: now", "vcpus 2 → 1: at the next start")
    expect(run(program, "diff"), "waits for the next start: vcpus 2 → 1")
    assert "vdc" not in vm.make("ssh", "CMD=cat /proc/partitions")
    vm.make("restart")
    assert run(program, "diff") == "web: is as the directory says\n"
    kept = ElementTree.fromstring(virsh("dumpxml", "web")).find("devices/interface/address")
    assert address is not None and kept is not None and address.attrib == kept.attrib

    virsh("setmaxmem", "web", "300M", "--config")
    expect(run(program, "diff", code=1), "changed by hand: memory is 307200 KiB")
    expect(vm.make("apply", code=2), "apply FORCE=yes")
    expect(vm.make("apply", "FORCE=yes"), "undone, for the next start")
    vm.make("down", FAST)
    virsh("vol-delete", "data.qcow2", "--pool", "web")
    vm.make("delete-all", FAST)
    assert inventory() == before, inventory()


def libvirt_version() -> tuple[int, ...]:
    return tuple(map(int, versions()["libvirt"].split(".")))


def network(base: Path) -> None:
    """VMs on a network of their own: known addresses, DNS, changes while it runs, and a network that differs."""
    web, db, changed = [Vm(base / "network" / name) for name in ("web", "db", "changed")]
    before = virsh("net-list", "--all")
    expect(web.make("up"), "created network lab", "reservation 10.20.0.11 for ", ": added", "started domain web")
    assert web.make("up") == "web: is running\n"
    web.make("wait-for-ready")
    expect(web.make("ssh", "CMD=ip -4 addr"), " 10.20.0.11/24 ")
    expect(db.make("create"), "reservation 10.20.0.12 for ", ": added")
    expect(virsh("net-dumpxml", "lab", "--inactive"), "name='web' ip='10.20.0.11'", "name='db' ip='10.20.0.12'")

    virsh("net-update", "lab", "delete", "dns-host", "<host ip='10.20.0.1'/>", "--live", "--config")
    gate = "<host ip='10.20.0.1'><hostname>more</hostname></host>"
    virsh("net-update", "lab", "add-last", "dns-host", gate, "--live", "--config")
    expect(db.make("create"), "added 10.20.0.1 gate to the DNS of network lab")
    expect(virsh("net-dumpxml", "lab"), "<hostname>more</hostname>", "<hostname>gate</hostname>")
    virsh("net-update", "lab", "modify", "ip-dhcp-host", entry(db, "10.20.0.77"), "--config")
    expect(db.make("create"), ": was 10.20.0.77 db")

    foreign = "<host mac='52:54:00:00:00:01' name='other' ip='10.20.0.99'/>"
    virsh("net-update", "lab", "add-last", "ip-dhcp-host", foreign, "--live", "--config")
    expect(changed.make("up", code=2), f"an entry of somebody else: {foreign}")
    facts = changed.directory / "vm.json"
    facts.write_text(facts.read_text().replace('"mtu": "1400"', '"mtu": "1500"'))
    expect(changed.make("up", code=2), "lab: mtu 1400 → 1500")

    expect(web.make("stop/network"), "left network lab alone: domain web is on it")
    expect(web.make("down", FAST), ": removed", "kept network lab: domain db uses it")
    expect(web.make("stop/network"), "stopped network lab")
    expect(db.make("start"), "started network lab", "started domain db")
    expect(db.make("delete-all", FAST), "deleted network lab")
    web.make("delete-all", "clean-all")
    db.make("clean-all")
    assert virsh("net-list", "--all") == before


def install(base: Path) -> None:
    """A system that is installed, and one whose installer is broken off."""
    vm, never = Vm(base / "install/web"), Vm(base / "never/web")
    vm.make("create")
    expect(vm.make("status", code=2), "shut off, to be installed")
    before = ElementTree.fromstring(virsh("dumpxml", "web", "--inactive"))
    expect(vm.make("up"), "web: is installed", "started domain web")
    running_id("web")
    assert run(str(vm.directory / "provisioner.py"), "diff") == "web: is as the directory says\n"
    after = ElementTree.fromstring(virsh("dumpxml", "web", "--inactive"))
    assert after.findtext("on_reboot") == "restart"
    for name in ("disk/address", "interface/address", "interface/mac"):
        one, other = [root.find(f"devices/{name}") for root in (before, after)]
        assert one is not None and other is not None and one.attrib == other.attrib, name
    vm.make("delete-all", FAST)

    soon = "V1ALPHA1_INSTALL_TIMEOUT_SECS=1"
    expect(never.make("up", soon, code=2), "not installed after 1 seconds")
    expect(never.make("status", code=2), "running, installing")
    virsh("destroy", "web")
    expect(never.make("up", soon, code=2), "the installation was broken off: the domain is shut off (destroyed)")
    expect(never.make("install", soon, code=2), "begins again, on fresh volumes", "deleted volume web/system.qcow2")
    never.make("delete-all", FAST)


def entry(vm: Vm, address: str) -> str:
    """Return the entry of a VM in the DHCP of a network, with another address."""
    (reservation,) = json.loads((vm.directory / "vm.json").read_text())["reservations"]
    return f"<host mac='{reservation['mac']}' name='{reservation['hostname']}' ip='{address}'/>"


def versions() -> dict[str, str]:
    """Return the versions of all that was used."""
    lines = virsh("version").splitlines()
    libvirt, qemu = [line.split()[-1] for line in lines if "Using library" in line or "Running" in line]
    return {
        "libvirt": libvirt,
        "QEMU": qemu,
        "virt-install": run("virt-install", "--version").strip(),
        "Python": ".".join(map(str, sys.version_info[:3])),
        "make": run("make", "--version").split()[2],
    }


def main(scene: str, base: Path, tools: str) -> None:
    """Run one scene, and look whether anything is left."""
    os.environ.update(HOME="/nonexistent", LANG="C.UTF-8", TERM="dumb")
    sys.path.append(tools)
    virsh("pool-define-as", "default", "dir", "--target", str(IMAGES))
    virsh("pool-start", "default")
    before = inventory()
    found = [each for each in (live, uefi, cloud, fleet, network, changes, install) if each.__name__ == scene]
    found[0](base)
    left = [line for line in inventory() if line not in before]
    assert not left, f"what is left: {left}"
    print(json.dumps(versions()))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])

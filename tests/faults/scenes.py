"""Where faults are tried: what is there at first, which target is run, and what an undisturbed run leaves."""

from __future__ import annotations

import gzip
import hashlib
import random
import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import server
from guest_registries import cloud
from installing import installed, installer_image
from world import Vm, build_guest, generate, remove_all, virsh

from faults.model import BY_NODE_SCENE
from faults.node import PORT, Node, node_here
from faults.run import Shims

IMAGE = "blank.qcow2"

REGISTRY = """
nodes:
  - name: localhost
    libvirt: {{connection: {{uri: "qemu:///system"}}}}
images:
  - name: blank
    tags:
      - pattern: latest
        url: {url}/blank.qcow2.gz
        volumeName: blank.qcow2
        archive: {{type: gz}}
        checksum: {{url: {url}/SHA256SUMS}}
templates:
  - name: blank
    provisioner: v1alpha1
    nodeName: localhost
    image: blank
    libvirt:
      domain:
        name: "{{VM_NAME}}"
        virtInstall:
          autostart: true
          osinfo: linux2022
          memory: 64
          vcpus: "1,maxvcpus=2"
          graphics: none
          disk:
            - name: boot
              options: {{vol: "{{VM_NAME}}/boot.qcow2", bus: virtio}}
            - name: seed
              options: {{vol: "{{VM_NAME}}/seed.iso", bus: virtio, readonly: "on"}}
          network:
            - name: default
              options: {{network: default}}
      pools:
        - name: "{{VM_NAME}}"
          directory: {{path: "{{DEFAULT_POOL_PATH}}/{{VM_NAME}}"}}
      volumes:
        - name: blank.qcow2
          poolName: default
          deletionPolicy: Retain
          uploadFile: {{path: ../images/blank.qcow2}}
        - name: boot.qcow2
          poolName: "{{VM_NAME}}"
          capacity: 96M
          backingVolume: {{name: blank.qcow2, poolName: default}}
        - name: seed.iso
          poolName: "{{VM_NAME}}"
          format: raw
          uploadFile: {{path: seed.iso}}
    cloudInit:
      noCloud:
        seed: {{path: seed.iso}}
        data:
          meta-data: {{instance-id: "{{VM_NAME}}"}}
          user-data: {{users: []}}
vms:
  - name: vm
    template: blank
  - name: other
    template: blank
"""


DATA_DISK = """            - name: data
              options: {vol: "{VM_NAME}/data.qcow2", bus: virtio}
"""
DATA_VOLUME = """        - name: data.qcow2
          poolName: "{VM_NAME}"
          capacity: 1M
"""
UEFI = ("memory: 64", "memory: 128\n          boot: uefi")
NETWORKED = """
      networks:
        - name: lab
          ips: [{address: 10.20.0.1, prefix: 24, dhcp: {start: 10.20.0.100, end: 10.20.0.200}}]
          dns: {hosts: [{ip: 10.20.0.9, hostnames: [db]}]}
          deletionPolicy: Delete
      reservations: [{network: lab, interface: default, address: "{ADDRESS}"}]
"""
"""What the template has besides in the scenes of networks."""

DRIVE = """    configDrives:
      - {path: ks.iso, label: OEMDRV, files: {ks.cfg: "text\\n", deep/er/file: secret}}
    cloudInit:
"""
MEDIA_VOLUMES = """        - {{name: ks.iso, poolName: "{{VM_NAME}}", format: raw, uploadFile: {{path: ks.iso}}}}
        - name: kernel
          poolName: "{{VM_NAME}}"
          format: raw
          uploadFile: {{path: {media}, member: casper/vmlinuz}}
        - name: seed.iso
"""
"""What the template has besides in the scene of a config drive and a member of an ISO image."""

HERE = 'libvirt: {connection: {uri: "qemu:///system"}}'
BY_NODE = f'libvirt: {{connection: {{uri: "qemu+ssh://root@127.0.0.1:{PORT}/system"}}, imageDownload: node}}'


def make_image(folder: Path) -> None:
    """Make an image with no system in it, a few MiB that compress badly, its archive and its sums file."""
    raw = folder / "blank.raw"
    raw.write_bytes(bytes(1 << 20) + random.Random(1).randbytes(4 << 20) + bytes(11 << 20))
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, folder / IMAGE], check=True)
    archive = gzip.compress((folder / IMAGE).read_bytes(), compresslevel=1, mtime=0)
    (folder / f"{IMAGE}.gz").write_bytes(archive)
    (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(archive).hexdigest()}  {IMAGE}.gz\n")
    raw.unlink()
    (folder / "tree/casper").mkdir(parents=True)
    (folder / "tree/casper/vmlinuz").write_bytes(random.Random(2).randbytes(1 << 20))
    subprocess.run(["genisoimage", "-quiet", "-R", "-o", folder / "media.iso", folder / "tree"], check=True)


class Stage:
    """One libvirt, with the directories and shims of all scenes in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = folder / "vms"
        self.shims = Shims(folder / "shims")
        served = folder / "served"
        served.mkdir()
        make_image(served)
        self.server = server.Server(served)
        self._node: Node | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Stage:
        self._stack.enter_context(self.server)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self.clear()

    @property
    def node(self) -> Node:
        """A node that downloads the image itself; it is there once a scene needs it."""
        if self._node is None:
            self._node = self._stack.enter_context(node_here(self.folder / "node"))
        return self._node

    def clear(self) -> None:
        """Nothing in libvirt but the empty pool `default`; no directories of VMs."""
        if "default" not in virsh("pool-list", "--all", "--name").split():
            virsh("pool-define-as", "default", "dir", "--target", "/var/lib/libvirt/images")
            virsh("pool-start", "default")
        remove_all()
        shutil.rmtree(self.base, ignore_errors=True)

    def installed(self) -> Vm:
        """Return a VM that has just been generated, and is to be installed; nothing else is there."""
        self.clear()
        written = self.folder / "written-to-be-installed"
        if not written.exists():
            image = installer_image(self.folder, "reboots")
            generate(installed(image, "  - {name: vm, template: installed}\n"), written)
        shutil.copytree(written, self.base)
        return Vm(self.base / "vm")

    def fresh(
        self, *, by_node: bool = False, networked: bool = False, uefi: bool = False, media: bool = False
    ) -> dict[str, Vm]:
        """Return VMs that have just been generated, with nothing else there."""
        self.clear()
        kind = "-for-node" if by_node else "-networked" if networked else "-uefi" if uefi else "-media" if media else ""
        written = self.folder / f"written{kind}"
        if not written.exists():
            registry = REGISTRY.format(url=self.server.url("").rstrip("/"))
            if networked:
                registry = registry.replace("network: default}", "network: lab}")
                registry = registry.replace("\n      pools:", NETWORKED + "      pools:")
                for number, name in enumerate(("vm", "other")):
                    vm = f"  - name: {name}\n"
                    registry = registry.replace(vm, f"{vm}    vars: {{ADDRESS: 10.20.0.1{number}}}\n")
            if media:
                volumes = MEDIA_VOLUMES.format(media=self.folder / "served/media.iso")
                registry = registry.replace("        - name: seed.iso\n", volumes)
                registry = registry.replace("    cloudInit:\n", DRIVE)
            registry = registry.replace(HERE, BY_NODE) if by_node else registry
            generate(registry.replace(*UEFI) if uefi else registry, written, "--fleet")
        shutil.copytree(written, self.base)
        return {name: Vm(self.base / name) for name in ("vm", "other")}


@dataclass(frozen=True)
class Scene:
    """A target, and what comes before it."""

    name: str
    arguments: tuple[str, ...]
    begin: Callable[[Stage, bool], Vm]
    """Bring everything to the beginning. With False what the last trial has left is as it should be."""
    kept: tuple[str, ...] = ()
    """What carries one of these in its name is not this VM's alone, and stays as it is throughout."""
    unpredictable: tuple[str, ...] = ()
    """Files whose content is not the same each time."""
    polls: tuple[str, ...] = ()
    """Commands that are asked as often as it takes, and to which nothing is done."""
    done: str = "\0"
    """Words with which the next run may refuse, where the disturbed one has done it all."""


def begin_up(stage: Stage, anew: bool) -> Vm:
    return stage.fresh()["vm"]


def begin_media(stage: Stage, anew: bool) -> Vm:
    return stage.fresh(media=True)["vm"]


def begin_alone(stage: Stage, anew: bool) -> Vm:
    vm = stage.fresh()["vm"] if anew else Vm(stage.base / "vm")
    vm.make("up")
    return vm


def begin_install(stage: Stage, anew: bool) -> Vm:
    return stage.installed()


def begin_install_again(stage: Stage, anew: bool) -> Vm:
    """An installation that was broken off."""
    vm = stage.installed()
    vm.make("up", "V1ALPHA1_INSTALL_TIMEOUT_SECS=0", check=False)
    virsh("destroy", "vm")
    return vm


CHANGED = (
    ("autostart: true\n", "description: changed\n"),
    ("memory: 64", "memory: 96"),
    ('vcpus: "1,', 'vcpus: "2,'),
    ("          network:", DATA_DISK + "          network:"),
    ("capacity: 96M", "capacity: 128M"),
    ("        - name: seed.iso\n", DATA_VOLUME + "        - name: seed.iso\n"),
    ("users: []", "users: [], hostname: changed"),
)


def begin_apply(stage: Stage, anew: bool) -> Vm:
    """A VM that runs, and whose directory says other things since: of each kind that is brought to a guest."""
    vm = begin_alone(stage, True)
    change(stage)
    return vm


def begin_apply_off(stage: Stage, anew: bool) -> Vm:
    vm = stage.fresh()["vm"]
    vm.make("create")
    change(stage)
    return vm


def change(stage: Stage) -> None:
    """Write the directory of the VM from the changed registry."""
    registry = REGISTRY.format(url=stage.server.url("").rstrip("/"))
    for old, new in CHANGED:
        assert old in registry
        registry = registry.replace(old, new)
    generate(registry, stage.base, "--fleet")


def begin_shared(stage: Stage, anew: bool) -> Vm:
    """Another VM has a layer over the image."""
    if anew:
        stage.fresh()["other"].make("create")
    vm = Vm(stage.base / "vm")
    vm.make("up")
    return vm


def begin_warm(stage: Stage, anew: bool) -> Vm:
    """The image is in its pool, and nobody has asked virt-install yet: it runs beside other work."""
    vm = begin_again(stage, anew)
    for path in vm.directory.glob("domain.xml*"):
        path.unlink()
    return vm


def begin_again(stage: Stage, anew: bool) -> Vm:
    """The VM was up before, and its domain.xml is there."""
    if anew:
        vms = stage.fresh()
        vms["other"].make("create")
        vms["vm"].make("up")
    vm = Vm(stage.base / "vm")
    vm.make("down", "V1ALPHA1_STOP_TIMEOUT_SECS=0")
    return vm


def begin_fleet(stage: Stage, anew: bool) -> Vm:
    """Two VMs, one after the other, by one process."""
    stage.fresh()
    return Vm(stage.base)


def begin_running_fleet(stage: Stage, anew: bool) -> Vm:
    if anew:
        stage.fresh()
    fleet = Vm(stage.base)
    fleet.make("up")
    return fleet


def begin_by_node(stage: Stage, anew: bool) -> Vm:
    for socket in stage.base.rglob(".node-ssh-*"):
        command = ["ssh", "-S", socket.name, "-O", "exit", "node"]
        subprocess.run(command, cwd=socket.parent, capture_output=True)
    stage.node.clear()
    return stage.fresh(by_node=True)["vm"]


def begin_network(stage: Stage, anew: bool) -> Vm:
    return stage.fresh(networked=True)["vm"]


def begin_reservation(stage: Stage, anew: bool) -> Vm:
    """Its network and its volumes are there, and another VM has an address reserved."""
    if anew:
        stage.fresh(networked=True)["other"].make("create")
        Vm(stage.base / "vm").make("create")
    vm = Vm(stage.base / "vm")
    vm.make("delete/domain")
    return vm


def begin_hosts(stage: Stage, anew: bool) -> Vm:
    """The DNS of its network has another name for the declared address, and its DHCP another address for the VM."""
    if anew:
        stage.fresh(networked=True)["vm"].make("create")
    host = "<host ip='10.20.0.9'><hostname>more</hostname></host>"
    (entry,) = ElementTree.fromstring(virsh("net-dumpxml", "lab")).iterfind("ip/dhcp/host")
    entry.set("ip", "10.20.0.77")
    commands = [("delete", "dns-host", "<host ip='10.20.0.9'/>"), ("add-last", "dns-host", host)]
    commands.append(("modify", "ip-dhcp-host", ElementTree.tostring(entry, encoding="unicode").strip()))
    for command in commands:
        virsh("net-update", "lab", *command, "--live", "--config")
    return Vm(stage.base / "vm")


def begin_networked(stage: Stage, anew: bool) -> Vm:
    if anew:
        stage.fresh(networked=True)
    vm = Vm(stage.base / "vm")
    vm.make("create")
    return vm


def begin_guest(stage: Stage, anew: bool) -> Vm:
    """A guest that is ready, and whose host key is not known yet."""
    if anew:
        stage.clear()
        key = stage.folder / "id"
        if not key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        vm = generate(cloud(build_guest("tiny-disk"), key, "  - name: vm\n    template: cloud\n"), stage.base)["vm"]
        vm.make("up")
        vm.make("wait-for-ready")
    vm = Vm(stage.base / "vm")
    (vm.directory / "known_hosts").unlink(missing_ok=True)
    return vm


SNAPSHOT = "NAME=before"


def begin_snapshot(stage: Stage, anew: bool) -> Vm:
    vm = begin_alone(stage, anew)
    if not anew:
        virsh("snapshot-delete", "vm", "before")
    return vm


def begin_saved(stage: Stage, anew: bool) -> Vm:
    """A guest that has a snapshot, and whose memory is saved."""
    vm = begin_alone(stage, anew)
    if anew:
        vm.make("snapshot", SNAPSHOT)
    vm.make("save")
    return vm


def begin_with_snapshot(stage: Stage, anew: bool) -> Vm:
    vm = begin_alone(stage, anew)
    vm.make("snapshot", SNAPSHOT)
    return vm


VARIABLES = Path("/var/lib/libvirt/qemu/nvram/vm_VARS.fd")


def begin_off(stage: Stage, anew: bool) -> Vm:
    """A guest with UEFI that has run, and is off."""
    vm = stage.fresh(uefi=True)["vm"] if anew else Vm(stage.base / "vm")
    if anew or not VARIABLES.exists():
        vm.make("up", "kill")
    VARIABLES.write_bytes(bytes(VARIABLES.stat().st_size))
    return vm


def begin_snapshot_uefi(stage: Stage, anew: bool) -> Vm:
    """A run that was cut off has left a copy of other variables."""
    vm = begin_off(stage, anew)
    if not anew:
        virsh("snapshot-delete", "vm", "before")
    (VARIABLES.parent / f"{vm.uuid}.before").write_bytes(b"of another time")
    return vm


def begin_revert_uefi(stage: Stage, anew: bool) -> Vm:
    vm = begin_off(stage, anew)
    if anew:
        vm.make("snapshot", SNAPSHOT)
    VARIABLES.write_bytes(b"x" * VARIABLES.stat().st_size)
    return vm


def begin_delete_uefi(stage: Stage, anew: bool) -> Vm:
    vm = begin_off(stage, anew)
    vm.make("snapshot", SNAPSHOT)
    return vm


PLUG = "V1ALPHA1_STOP_TIMEOUT_SECS=2"
SHARED = ("other", IMAGE)

DISK = ("boot.qcow2",)
IN_SNAPSHOTS = (*DISK, "before.xml")
"""Files that hold the time at which a snapshot was made."""

MADE = "there is a snapshot 'before', made"
DELETED = "there is no snapshot 'before'"

INSTALL_POLLS = ("virsh domstate", "virsh dumpxml", "virsh")

SCENES = {
    scene.name: scene
    for scene in (
        Scene("up", ("up",), begin_up),
        Scene("up-media", ("up",), begin_media),
        Scene("up-warm", ("up",), begin_warm, kept=SHARED),
        Scene("up-again", ("up",), begin_again, kept=SHARED),
        Scene("down", ("down", PLUG), begin_shared, kept=SHARED),
        Scene("save", ("save",), begin_alone, unpredictable=("vm.save",)),
        Scene("suspend", ("suspend",), begin_alone),
        Scene("install", ("up",), begin_install, polls=INSTALL_POLLS),
        Scene("install-again", ("install",), begin_install_again, polls=INSTALL_POLLS),
        Scene("apply", ("apply",), begin_apply),
        Scene("apply-off", ("apply",), begin_apply_off),
        Scene("snapshot", ("snapshot", SNAPSHOT), begin_snapshot, unpredictable=IN_SNAPSHOTS, done=MADE),
        Scene("snapshot-revert", ("revert", SNAPSHOT), begin_saved, unpredictable=IN_SNAPSHOTS),
        Scene("snapshot-delete", ("snapshot/delete", SNAPSHOT), begin_with_snapshot, unpredictable=DISK, done=DELETED),
        Scene("snapshot-uefi", ("snapshot", SNAPSHOT), begin_snapshot_uefi, unpredictable=IN_SNAPSHOTS, done=MADE),
        Scene("snapshot-revert-uefi", ("revert", SNAPSHOT), begin_revert_uefi, unpredictable=IN_SNAPSHOTS),
        Scene(
            "snapshot-delete-uefi", ("snapshot/delete", SNAPSHOT), begin_delete_uefi, unpredictable=DISK, done=DELETED
        ),
        Scene("snapshot-down-uefi", ("down", PLUG), begin_delete_uefi),
        Scene("delete-all", ("delete-all",), begin_alone),
        Scene(BY_NODE_SCENE, ("up",), begin_by_node),
        Scene("fleet-up", ("up",), begin_fleet),
        Scene("fleet-down", ("down", PLUG), begin_running_fleet),
        Scene("delete-all-shared", ("delete-all",), begin_shared, kept=SHARED),
        Scene("create-network", ("create/network",), begin_network),
        Scene("create-reservation", ("create/domain",), begin_reservation, kept=("other",)),
        Scene("create-hosts", ("create",), begin_hosts),
        Scene("delete-network", ("delete/domain", "delete/network"), begin_networked),
        Scene(
            "wait-for-ready", ("wait-for-ready",), begin_guest, kept=("",), unpredictable=("known_hosts", "boot.qcow2")
        ),
    )
}

"""The node downloads the image itself: real sshd, real libvirt, and a web server that only the node reaches."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import random
import re
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from blank import GUESTS
from console import COLUMNS, Console
from injections import CANARY
from isos import FILES, installer
from link import Link
from remote_node import ADDRESS, RemoteNode, remote_node, wait_until
from screen import Screen
from server import Fault, Server
from signing import Keys, gpg_home
from world import ENVIRONMENT, Vm, generate

CACHE = Path("/root/.cache")
VOLUME = Path("/var/lib/libvirt/images/disk.qcow2")
FAST = "V1ALPHA1_STOP_TIMEOUT_SECS=0"
STALL = "V1ALPHA1_COMMAND_TIMEOUT_SECS=10"  # a tenth of it without a byte is a stall
FEW_BYTES = 1_000_000
NODE = "far"


def disk(directory: Path, seed: int) -> bytes:
    """A disk of 40 MiB, enough to be copied into its volume, with a boot sector that halts."""
    sector = bytes.fromhex(GUESTS["deaf"]).ljust(510, b"\0") + b"\x55\xaa"
    raw, qcow2 = directory / "raw", directory / "qcow2"
    raw.write_bytes(sector + random.Random(seed).randbytes((40 << 20) - 512))
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, qcow2], check=True)
    return qcow2.read_bytes()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return [disk(tmp_path_factory.mktemp("disk"), seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, ssh_key: Path) -> Iterator[RemoteNode]:
    with remote_node(tmp_path_factory.mktemp("node"), ssh_key) as node:
        node.run("mkdir", "-p", str(CACHE))
        node.run("mount", "-t", "tmpfs", "none", str(CACHE))
        yield node


@pytest.fixture
def link(node: RemoteNode) -> Iterator[Link]:
    with Link((ADDRESS, 22), delay=0.002) as link:
        yield link


class Site:
    """A web server on the loopback of the node with `disk.qcow2`, and VMs that want it."""

    def __init__(self, node: RemoteNode, link: Link, server: Server, base: Path, key: Path) -> None:
        self.node = node
        self.link = link
        self.server = server
        self.base = base

    def put(self, content: bytes, name: str = "disk.qcow2") -> None:
        (self.server.directory / name).write_bytes(content)

    def gets(self) -> list[tuple[str | None, int]]:
        """What was asked for, and the answers: `Range` and status of each."""
        return [(request.range, request.status) for request in self.server.requests]

    def vms(self, *names: str, url: str = "disk.qcow2", node: str = NODE, volume: str = VOLUME.name, **tag: Any) -> Any:
        """Return the VMs of these names: a layer over the image, which is a volume of the pool `default`."""
        return generate(json.dumps(self.registry(*names, url=url, node=node, volume=volume, **tag)), self.base)

    def registry(self, *names: str, url: str, node: str, volume: str, **tag: Any) -> dict[str, Any]:
        uri = f"qemu+ssh://root@127.0.0.1:{self.link.port}/system"
        domain = {
            "name": "{VM_NAME}",
            "virtInstall": {
                "osinfo": "linux2022",
                "memory": 64,
                "graphics": "none",
                "video": "none",
                "network": "none",
                "disk": [{"name": "boot", "options": {"vol": "{VM_NAME}/boot.qcow2"}}],
            },
        }
        path = {"path": "../images of all/{IMAGE_VOLUME_NAME}"}
        base = {"name": "{IMAGE_VOLUME_NAME}", "poolName": "default"}
        volumes = [
            {**base, "deletionPolicy": "Retain", "uploadFile": path},
            {"name": "boot.qcow2", "poolName": "{VM_NAME}", "backingVolume": base},
        ]
        pools = [{"name": "{VM_NAME}", "directory": {"path": "{DEFAULT_POOL_PATH}/{VM_NAME}"}}]
        tag = {"pattern": "latest", "url": self.server.url(url), "volumeName": volume, **tag}
        template = {
            "name": "blank",
            "provisioner": "v1alpha1",
            "nodeName": node,
            "image": "guest",
            "libvirt": {"domain": domain, "pools": pools, "volumes": volumes},
        }
        return {
            "nodes": [{"name": node, "libvirt": {"connection": {"uri": uri}, "imageDownload": "node"}}],
            "images": [{"name": "guest", "tags": [tag]}],
            "templates": [template],
            "vms": [{"name": name, "template": "blank"} for name in names],
        }

    def vm(self, **tag: Any) -> Vm:
        found: Vm = self.vms("web", **tag)["web"]
        return found

    def cached(self) -> list[str]:
        """The files that are in the cache of the node, without the library."""
        found = self.node.run("find", str(CACHE), "-mindepth", "1", "-not", "-path", "*/lib*").splitlines()
        return sorted(Path(line).name for line in found)

    def cached_parts(self) -> list[str]:
        """What is in the cache of the node of a download that is not whole."""
        return [name for name in self.cached() if name.endswith((".part", ".tmp"))]

    def volume(self, path: Path = VOLUME) -> str:
        return self.node.run("sh", "-c", 'sha256sum <"$1"', "sh", str(path)).split()[0]

    def left(self) -> list[str]:
        """What libvirt on the node has, and what is in the cache there."""
        domains = self.node.run("virsh", "-q", "list", "--all", "--name").split()
        pools = self.node.run("virsh", "-q", "pool-list", "--all", "--name").split()
        files = self.node.run("find", str(VOLUME.parent), "-mindepth", "1").split()
        return sorted([*domains, *pools, *files, *self.cached()])


@contextmanager
def network_of(node: RemoteNode, directory: Path) -> Iterator[Server]:
    """A server that listens in the network of the node: a socket stays where it was made."""
    made: list[Server] = []

    def make() -> None:
        namespace = os.open(f"/proc/{node.pid}/ns/net", os.O_RDONLY)
        assert ctypes.CDLL(None, use_errno=True).setns(namespace, 0x40000000) == 0  # of this thread alone
        os.close(namespace)
        made.append(Server(directory))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    with made[0] as server:
        yield server


@pytest.fixture
def site(
    node: RemoteNode, link: Link, tmp_path: Path, base: Path, images: list[bytes], ssh_key: Path
) -> Iterator[Site]:
    (tmp_path / "served").mkdir()
    with network_of(node, tmp_path / "served") as server:
        site = Site(node, link, server, base, ssh_key)
        site.put(images[0])
        before = site.left()
        yield site
        for vm in base.glob("*/vm.json"):
            Vm(vm.parent).make("delete-all", "clean-all", FAST)
        assert site.left() == before == ["default"]
        assert not (base / "images of all").exists(), "the image was on the client"


def sum_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def start(vm: Vm, *arguments: str) -> subprocess.Popen[str]:
    """Run targets in the background."""
    return subprocess.Popen(
        vm.command(*arguments), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd="/", env=ENVIRONMENT
    )


@contextmanager
def hidden(site: Site, command: str) -> Iterator[None]:
    """The node has no such command meanwhile."""
    ssh = ["ssh", "-p", str(site.link.port), "root@127.0.0.1"]
    (nothing := site.node.directory / "nothing").touch(mode=0o600)
    find = f'for d in $(echo $PATH | tr : " "); do [ ! -e $d/{command} ] || readlink -f $d/{command}; done | sort -u'
    paths = subprocess.run([*ssh, find], check=True, capture_output=True, text=True).stdout.split()
    for path in paths:
        subprocess.run([*ssh, f"mount --bind {nothing} {path}"], check=True)
    try:
        yield
    finally:
        for path in paths:
            subprocess.run([*ssh, f"umount --lazy {path}"], check=True)


def test_the_node_downloads_the_image_and_little_crosses_the_link(
    site: Site, images: list[bytes], tmp_path: Path
) -> None:
    vm = site.vm(checksum={"value": sum_of(images[0])})
    (tmp_path / "bin").mkdir()
    curl = tmp_path / "bin/curl"
    curl.write_text("#!/bin/sh\nexit 99\n")
    curl.chmod(0o755)
    without_curl = {"PATH": f"{curl.parent}:{ENVIRONMENT['PATH']}"}
    site.link.cut_after = FEW_BYTES
    said = vm.make("build", "up", environment=without_curl).stderr
    assert site.link.cut_after, "fewer bytes went to the node than the image has"
    url = site.server.url("disk.qcow2")
    assert f"web on far: downloading {url}\n" in said and "web on far: created volume default/disk.qcow2\n" in said
    assert "web: created volume web/boot.qcow2" in said and said.count("created volume") == 2
    assert "running" in site.node.run("virsh", "domstate", "web")
    assert site.volume() == sum_of(images[0])
    assert vm.make("up").stderr == "web: is running\n"
    assert "running" in vm.make("status").stdout
    vm.make("down", FAST)
    vm.make("up")
    assert site.gets() == [(None, 200)]


def test_what_the_node_downloads_is_shown_on_the_terminal_here(site: Site) -> None:
    site.server.faults["/disk.qcow2"] = Fault(bytes_per_second=20 << 20)
    vm = site.vm()
    program = vm.directory / "provisioner.py"
    program.write_text(re.sub("^(LOOK|FIRST|LINE)_SECONDS = .*$", r"\1_SECONDS = 0.1", program.read_text(), flags=re.M))
    moving = r"\rweb on far: downloading disk\.qcow2, \d+%, [\d.]+ MiB/s, 0:0\d left\x1b\[K"
    with Console(vm.command("create/volume"), cwd=Path("/"), env={**ENVIRONMENT, "TERM": "xterm"}) as console:
        console.expect(moving, timeout=60)
        assert console.wait(timeout=60) == 0
    lines = Screen(console.transcript, COLUMNS).lines
    assert all(
        re.match("web( on far)?: (downloading http|downloaded |copying .* to |created )", line) for line in lines
    )
    vm.make("delete-all", "clean-all", FAST)
    said = vm.make("create/volume").stderr
    assert re.search(r"^web on far: downloading disk\.qcow2, \d+%, [\d.]+ MiB/s, 0:0\d left$", said, re.MULTILINE), said
    assert "\x1b" not in said and "\r" not in said


def test_the_node_takes_a_member_of_the_image_out_and_the_image_stays_there(site: Site, tmp_path: Path) -> None:
    image = installer(tmp_path, "-R")
    site.put(image.read_bytes(), "installer.iso")
    registry = site.registry("web", url="installer.iso", node=NODE, volume="installer.iso")
    member = {"path": "../images of all/{IMAGE_VOLUME_NAME}", "member": "casper/vmlinuz"}
    kernel = {"name": "kernel", "poolName": "{VM_NAME}", "format": "raw", "uploadFile": member}
    volumes = registry["templates"][0]["libvirt"]["volumes"]
    volumes[0]["format"] = volumes[1]["backingVolume"]["format"] = "raw"
    volumes.append(kernel)
    vm = generate(json.dumps(registry), site.base)["web"]
    said = vm.make("up").stderr
    assert "web on far: took casper/vmlinuz out of ../images/" in said
    assert "web on far: created volume web/kernel\n" in said
    assert site.volume(VOLUME.parent / "web/kernel") == sum_of(FILES["casper/vmlinuz"])
    assert site.volume(VOLUME.parent / "installer.iso") == sum_of(image.read_bytes())
    assert not (vm.directory / ".members").exists(), "nothing of it was on the client"
    assert vm.make("up").stderr == "web: is running\n"
    kernel["uploadFile"] = {**member, "member": "casper/none"}
    generate(json.dumps(registry), site.base)
    vm.make("down", FAST)
    refused = vm.make("up", check=False)
    assert "web on far: error: cannot take casper/none out of ../images/" in refused.stderr
    assert refused.returncode == 2


def test_vms_of_one_image_download_it_once_whether_one_after_the_other_or_at_once(
    site: Site, images: list[bytes]
) -> None:
    vms = site.vms("web", "db", "mail")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: vms[name].make("create/volume"), ("web", "db")))
    vms["mail"].make("create")
    assert site.gets() == [(None, 200)]
    assert site.volume() == sum_of(images[0])


def test_a_wrong_checksum_reaches_the_user_and_leaves_nothing(site: Site, images: list[bytes]) -> None:
    vm = site.vm(checksum={"value": sum_of(images[1])})
    refused = vm.make("up", check=False)
    assert refused.returncode != 0
    assert f"sha256 expected {sum_of(images[1])}, actual {sum_of(images[0])}" in refused.stderr
    assert "web: error: node far did not make the volumes of the image" in refused.stderr
    assert site.node.run("find", str(CACHE), "-name", "disk.qcow2*").split("/")[-1].strip() == "disk.qcow2.lock"
    assert not site.node.run("find", str(VOLUME.parent), "-mindepth", "1")


def test_a_signature_is_checked_on_the_node_against_the_keys_of_the_client(
    site: Site, images: list[bytes], tmp_path: Path
) -> None:
    sums = f"{sum_of(images[0])}  disk.qcow2\n".encode()
    place = tmp_path / "keys.asc"
    url = {name: site.server.url(name) for name in ("SUMS", "SUMS.sign")}
    checksum = {"url": url["SUMS"], "signature": {"url": url["SUMS.sign"], "keys": str(place)}}
    site.put(sums, "SUMS")
    with gpg_home() as home:
        keys = Keys(home)
        site.put(keys.sign(sums, "right"), "SUMS.sign")
        place.write_bytes(keys.public("other"))
        vm = site.vm(checksum=checksum)
        refused = vm.make("up", check=False)
        assert refused.returncode != 0 and "not among those that the registry names" in refused.stderr
        assert f"web on far: error: the signature {url['SUMS.sign']} of the checksums" in refused.stderr
        assert site.cached_parts() == []
        vm.make("clean-all")  # with other keys the image has another place
        place.write_bytes(keys.public("right"))
        vm = site.vm(checksum=checksum)
        with hidden(site, "gpgv"), hidden(site, "sqv"):
            refused = vm.make("up", check=False)
        assert refused.returncode != 0
        assert "web on far: error: gpgv or sqv is not installed; it is needed to check the sig" in refused.stderr
        assert "/disk.qcow2" not in [request.path for request in site.server.requests]
        said = vm.make("up").stderr
        assert f"web on far: signature of SUMS is good: key {keys.fingerprint('right')}\n" in said
    assert site.volume() == sum_of(images[0])


def run_on(node: RemoteNode) -> list[int]:
    """The processes of our runs on the node."""
    todo, found = [node.pid], []
    while todo:
        pid = todo.pop()
        if b"create/volume" in Path(f"/proc/{pid}/cmdline").read_bytes() or pid in found:
            found.append(pid)
        children = list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
        found += children if pid in found else []
        todo += children
    return sorted(set(found))


def interrupted(site: Site, vm: Vm, *knobs: str) -> tuple[subprocess.Popen[str], int]:
    """Begin a run whose download stands still at 4 MiB, and wait for that; also return how much has come."""
    site.server.faults["/disk.qcow2"] = Fault(stall_after=1 << 22)
    run = start(vm, "up", *knobs)

    def size() -> int:
        found = site.node.run("find", str(CACHE), "-name", "*.part", "-size", "+3M", "-printf", "%s")
        return int(found or 0)

    wait_until(size, "most of the 4 MiB")
    site.server.faults.clear()
    return run, size()


def test_what_was_killed_on_the_node_is_gone_on_with(site: Site, images: list[bytes]) -> None:
    vm = site.vm()
    run, came = interrupted(site, vm)
    for pid in run_on(site.node):
        with suppress(ProcessLookupError):  # curl may end as the program that started it is gone
            os.kill(pid, 9)
    _, said = run.communicate(timeout=60)
    assert run.returncode != 0 and "failed, or what ran there was killed" in said
    again = vm.make("up")
    assert "web on far: going on with the download" in again.stderr
    assert site.gets()[1:] == [(f"bytes={came}-", 206)]
    assert site.volume() == sum_of(images[0])


def test_a_run_that_goes_on_after_the_connection_was_lost_is_waited_for(site: Site, images: list[bytes]) -> None:
    vm = site.vm()
    run, _ = interrupted(site, vm, "V1ALPHA1_COMMAND_TIMEOUT_SECS=50")
    site.link.cut()
    _, said = run.communicate(timeout=60)
    assert run.returncode != 0 and "web: error: the SSH connection to node far failed" in said
    again = vm.make("up")
    assert "web on far: waiting for another run that changes this VM" in again.stderr
    assert [status for _, status in site.gets()] == [200, 206]
    assert site.volume() == sum_of(images[0])


@pytest.mark.parametrize("sent", [30_000, 90_000])
def test_a_connection_that_is_lost_while_the_node_is_told_is_repaired_by_the_next_run(site: Site, sent: int) -> None:
    vm = site.vm()
    vm.make("status", check=False)  # which leaves a connection
    site.link.cut_after = sent
    refused = vm.make("up", check=False)
    assert refused.returncode != 0 and "web: error: " in refused.stderr
    site.link.cut_after = None
    vm.make("up")
    assert "running" in site.node.run("virsh", "domstate", "web")


@pytest.mark.parametrize("change", ["url", "content"])
def test_another_image_under_the_name_of_a_volume_that_is_there_is_found_out(
    site: Site, images: list[bytes], change: str
) -> None:
    vm = site.vm()
    vm.make("up")
    vm.make("down", FAST)
    assert site.volume() == sum_of(images[0])
    if change == "url":
        vm.make("clean-all")
        site.put(images[1], "other.qcow2")
        vm = site.vm(url="other.qcow2")
    else:
        site.put(images[1])
        vm.make("clean-all")
    refused = vm.make("up", check=False)
    assert refused.returncode != 0
    assert "web on far: error: volume default/disk.qcow2 is something else than" in refused.stderr
    assert site.volume() == sum_of(images[0])


def test_a_volume_that_an_interrupted_upload_has_left_is_replaced(site: Site, images: list[bytes]) -> None:
    vm = site.vm()
    vm.make("create/volume", "delete/volume")
    site.node.run("truncate", "--size", "100000", str(VOLUME))
    said = vm.make("up").stderr
    assert "deleted volume default/disk.qcow2, which an interrupted run had left incomplete" in said
    assert site.volume() == sum_of(images[0])


def test_clean_all_removes_what_was_put_on_the_node_also_when_nothing_was(site: Site) -> None:
    vms = site.vms("web", "db")
    vms["web"].make("clean-all")
    assert site.cached() == []
    for vm in vms.values():
        vm.make("create/volume")
    vms["web"].make("clean-all")
    assert {vms["db"].uuid, "vm.json"} <= set(site.cached())
    assert vms["web"].uuid not in site.cached()
    assert "disk.qcow2" in site.cached(), "the other one uses it, too"
    vms["db"].make("clean-all")
    assert site.cached() == []


@pytest.mark.parametrize("command", ["curl", "virsh", "python3"])
def test_a_command_that_the_node_lacks_is_named_with_the_node(site: Site, command: str) -> None:
    vm = site.vm()
    with hidden(site, command):
        refused = vm.make("up", check=False)
    assert refused.returncode != 0
    assert f"{command} is not installed" in refused.stderr and "on" in refused.stderr and "far" in refused.stderr
    assert "created" not in refused.stderr
    vm.make("create/volume")


def test_a_node_without_python_is_named_before_anything_is_done(site: Site) -> None:
    vm = site.vm()
    before = site.left()
    with hidden(site, "python3"):
        refused = vm.make("up", check=False)
        assert refused.returncode != 0
        assert "python3 is not installed on node far" in refused.stderr
        assert "leave imageDownload out of the registry" in refused.stderr
        assert "created" not in refused.stderr and site.left() == before
        vm.make("clean-all")
    vm.make("create/volume")
    with hidden(site, "python3"):
        refused = vm.make("clean-all", check=False)
        assert refused.returncode != 0 and "python3 is not installed on node far" in refused.stderr


def test_names_reach_the_node_as_data(site: Site, images: list[bytes], tmp_path: Path) -> None:
    name = f'it\'s "$(touch {CANARY})" `touch {CANARY}` größe;&'
    volume = f"it's $(touch {CANARY}) \\ ; * größe.qcow2"
    vm = site.vms(name, node=f"node of it's $(touch {CANARY})\n;", volume=volume)[name]
    assert vm.make("--dry-run", "up").stderr == ""
    assert site.gets() == []
    vm.make("create/volume")
    assert site.volume(VOLUME.with_name(volume)) == sum_of(images[0])
    assert vm.make("create/volume").stderr == ""
    assert not site.node.run("find", "/root", str(CACHE), "-xdev", "-name", CANARY)
    assert not list(tmp_path.rglob(CANARY))


def test_a_cd_of_the_image_needs_no_second_upload(site: Site, images: list[bytes]) -> None:
    registry = site.registry("web", url="disk.qcow2", node=NODE, volume=VOLUME.name)
    libvirt = registry["templates"][0]["libvirt"]
    libvirt["volumes"] = libvirt["volumes"][:1]
    libvirt["domain"]["virtInstall"]["disk"] = [
        {"name": "cd", "options": {"vol": f"default/{VOLUME.name}", "device": "cdrom", "format": "raw"}}
    ]
    vm = generate(json.dumps(registry), site.base)["web"]
    vm.make("create")
    vm.make("down", FAST, "create")
    assert site.gets() == [(None, 200)]
    site.node.run("sh", "-c", f"printf x | dd of={VOLUME} conv=notrunc status=none")
    vm.make("down", FAST)
    assert f"volume default/{VOLUME.name} is something else than" in vm.make("create", check=False).stderr

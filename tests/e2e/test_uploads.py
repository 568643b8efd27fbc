"""Uploads: a volume counts as there only when it is whole and what it should be, whoever is cut off when."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from between import install
from proxy import Proxy
from world import ENVIRONMENT, Vm, generate, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

BYTES = 12 << 20
DEFAULT_POOL = Path("/var/lib/libvirt/images")
LIBVIRT = "qemu:///system"


def sum_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An image of each format, of nothing that compresses."""
    directory = tmp_path_factory.mktemp("images")
    raw, qcow2 = directory / "image.raw", directory / "image.qcow2"
    raw.write_bytes(random.Random(1).randbytes(BYTES))
    subprocess.run(["qemu-img", "convert", "-q", "-O", "qcow2", raw, qcow2], check=True)
    return {"raw": raw, "qcow2": qcow2}


@dataclass(frozen=True, kw_only=True)
class Guest:
    """A VM with a layer over an image; the image is a volume of the pool `default`."""

    image: Path
    volume: str
    format: str = "raw"
    uri: str = LIBVIRT

    @property
    def path(self) -> Path:
        return DEFAULT_POOL / self.volume


def make_guests(base: Path, guests: dict[str, Guest]) -> dict[str, Vm]:
    """Generate VMs whose disks hold nothing that boots: they are at once where their image matters."""
    registry = {
        "nodes": [{"name": name, "libvirt": {"connection": {"uri": guest.uri}}} for name, guest in guests.items()],
        "images": [
            {
                "name": name,
                "tags": [
                    {
                        "pattern": "latest",
                        "url": f"file://{guest.image}",
                        "volumeName": guest.volume,
                        "format": guest.format,
                    }
                ],
            }
            for name, guest in guests.items()
        ],
        "vms": [
            {
                "name": name,
                "provisioner": "v1alpha1",
                "nodeName": name,
                "image": name,
                "libvirt": {
                    "domain": {
                        "name": name,
                        "virtInstall": {
                            "osinfo": "linux2022",
                            "memory": 64,
                            "graphics": "none",
                            "network": "none",
                            "disk": [{"name": "boot", "options": {"vol": f"default/{name}.qcow2", "bus": "virtio"}}],
                        },
                    },
                    "volumes": [
                        {
                            "name": guest.volume,
                            "poolName": "default",
                            "format": guest.format,
                            "uploadFile": {"path": f"images/{guest.volume}"},
                        },
                        {
                            "name": f"{name}.qcow2",
                            "poolName": "default",
                            "backingVolume": {"name": guest.volume, "poolName": "default", "format": guest.format},
                        },
                    ],
                },
            }
            for name, guest in guests.items()
        ],
    }
    return generate(json.dumps(registry), base)


def make_guest(base: Path, guest: Guest) -> Vm:
    return make_guests(base, {"web": guest})["web"]


def start(vm: Vm, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Run targets in a process group of their own."""
    return subprocess.Popen(
        vm.command(*arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env={**ENVIRONMENT, **(environment or {})},
        start_new_session=True,
    )


def kill(run: subprocess.Popen[str]) -> None:
    """Kill a run with all that it has started."""
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def all_at_once(vms: Sequence[Vm], *arguments: str, check: bool = True) -> list[subprocess.CompletedProcess[str]]:
    with ThreadPoolExecutor(len(vms)) as pool:
        return list(pool.map(lambda vm: vm.make(*arguments, check=check), vms))


def delete(*vms: Vm) -> None:
    for vm in vms:
        vm.make("delete-all", "V1ALPHA1_STOP_TIMEOUT_SECS=0")


def test_what_a_killed_upload_left_is_found_out_and_replaced_by_the_next_run(
    images: dict[str, Path], base: Path, tmp_path: Path
) -> None:
    """At 0, 50 and 99 percent, raw and qcow2: all are begun and killed one by one, and mended at once."""
    guests: dict[str, Guest] = {}
    proxies: dict[str, Proxy] = {}
    for form, image in images.items():
        for percent in (0, 50, 99):
            name = f"{form}-{percent}"
            proxies[name] = Proxy(tmp_path / name, hold_after=max(20_000, size_of(image) * percent // 100))
            guests[name] = Guest(image=image, volume=f"{name}.img", format=form, uri=proxies[name].uri)
    vms = make_guests(base, guests)
    for name, vm in vms.items():
        with proxies[name] as proxy:
            run = start(vm, "up")
            assert proxy.held.wait(60)
            percent = int(name.rpartition("-")[2])
            wanted = size_of(guests[name].image) * (percent - 9) // 100
            wait_until(lambda path=guests[name].path, wanted=wanted: path.exists() and size_of(path) >= wanted)  # type: ignore[misc]
            kill(run)
        assert size_of(guests[name].path) < size_of(guests[name].image)
    again = make_guests(base, {name: Guest(**{**vars(guest), "uri": LIBVIRT}) for name, guest in guests.items()})
    runs = all_at_once(list(again.values()), "up")
    for (name, guest), run_again in zip(guests.items(), runs, strict=True):
        assert f"deleted volume default/{guest.volume}, which an interrupted run had left" in run_again.stderr
        assert sum_of(guest.path) == sum_of(guest.image)
        assert virsh("domstate", name).strip() == "running"
    delete(*again.values())


@pytest.mark.parametrize("how", ["connection closed", "virsh killed"])
def test_a_run_whose_upload_fails_leaves_nothing_half_made(
    images: dict[str, Path], base: Path, tmp_path: Path, how: str
) -> None:
    with Proxy(tmp_path / "libvirt", hold_after=BYTES // 2) as proxy:
        guest = Guest(image=images["raw"], volume="image.raw", uri=proxy.uri)
        vm = make_guest(base, guest)
        run = start(vm, "up")
        assert proxy.held.wait(60)
        if how == "virsh killed":
            os.kill(pid_of("virsh", "-q"), signal.SIGKILL)
            proxy.release()
        else:
            proxy.cut()
        _, said = run.communicate(timeout=60)
        assert run.returncode != 0
        assert "could not make the volumes" in said
        assert not guest.path.exists(), said
        again = vm.make("up")
        assert "incomplete" not in again.stderr
        assert sum_of(guest.path) == sum_of(guest.image)
        delete(vm)


def pid_of(program: str, word: str) -> int:
    """Return the process whose program and arguments these are."""
    for entry in Path("/proc").iterdir():
        try:
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
            continue
        if Path(arguments.split("\0")[0]).name == program and word in arguments:
            return int(entry.name)
    raise AssertionError(f"no {program} {word}")


class Starts:
    """Looks at a volume each time that a domain starts."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path = path
        self.seen: dict[str, str] = {}
        self._names = names
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Starts:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            for name in self._names:
                if name not in self.seen and Path(f"/run/libvirt/qemu/{name}.pid").exists():
                    self.seen[name] = sum_of(self.path)


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")], ids="-".join)
def test_a_second_client_waits_for_the_upload_of_the_first(
    images: dict[str, Path], base: Path, tmp_path: Path, order: tuple[str, str]
) -> None:
    first, second = order
    with Proxy(tmp_path / "libvirt", bytes_per_second=BYTES // 5) as slow:
        uris = {first: slow.uri, second: LIBVIRT}
        guests = {
            name: Guest(image=images["qcow2"], volume="image.qcow2", format="qcow2", uri=uris[name]) for name in "ab"
        }
        vms = make_guests(base, guests)
        path = guests[first].path
        with Starts(path, order) as starts:
            one = start(vms[first], "up")
            wait_until(lambda: size_of(path) > BYTES // 10)
            two = start(vms[second], "up")
            said = {first: one.communicate(timeout=120)[1], second: two.communicate(timeout=120)[1]}
            wait_until(lambda: len(starts.seen) == 2)
        assert (one.returncode, two.returncode) == (0, 0), said
        assert starts.seen == dict.fromkeys(order, sum_of(images["qcow2"]))
        assert "waiting to see whether it grows" in said[second] and "uploading" not in said[second]
        delete(*vms.values())


def test_two_clients_that_begin_at_the_same_moment_both_get_there(images: dict[str, Path], base: Path) -> None:
    guests = {name: Guest(image=images["raw"], volume="image.raw") for name in "ab"}
    vms = make_guests(base, guests)
    with Starts(guests["a"].path, "ab") as starts:
        all_at_once(list(vms.values()), "up")
        wait_until(lambda: len(starts.seen) == 2)
    assert set(starts.seen.values()) == {sum_of(images["raw"])}
    delete(*vms.values())


def test_an_earlier_image_of_the_same_name_is_not_taken_for_this_one(images: dict[str, Path], base: Path) -> None:
    content = images["raw"].read_bytes()
    earlier = {
        "smaller": random.Random(2).randbytes(BYTES // 2),
        "larger": random.Random(2).randbytes(BYTES + 4096),
        "same-size": random.Random(2).randbytes(BYTES),
        "other-end": content[:-512] + bytes(512),
        "other-begin": bytes(512) + content[512:],
    }
    for name, old in earlier.items():
        (DEFAULT_POOL / f"{name}.raw").write_bytes(old)
    virsh("pool-refresh", "default")
    vms = make_guests(base, {name: Guest(image=images["raw"], volume=f"{name}.raw") for name in earlier})
    for (name, old), done in zip(earlier.items(), all_at_once(list(vms.values()), "up", check=False), strict=True):
        assert done.returncode != 0, name
        assert f"volume default/{name}.raw is something else than" in done.stderr
        assert f"it has {len(old)} bytes, the file has {BYTES}" in done.stderr
        assert (DEFAULT_POOL / f"{name}.raw").read_bytes() == old
        assert not (DEFAULT_POOL / f"{name}.qcow2").exists()
    delete(*vms.values())


LARGE = 40 << 20
"""So much that it is copied, where libvirt is on this host, and not sent through libvirt."""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    image = tmp_path / "large.raw"
    with image.open("wb") as file:
        file.write(random.Random(3).randbytes(LARGE - (8 << 20)))
        file.truncate(LARGE)  # a hole at its end
    return image


def test_a_large_file_is_copied_and_its_holes_stay_holes(large: Path, base: Path, tmp_path: Path) -> None:
    guest = Guest(image=large, volume="large.raw")
    vm = make_guest(base, guest)
    (vm.directory / "images").mkdir()
    subprocess.run(["cp", "--sparse=always", large, vm.directory / "images"], check=True)  # a download has no holes
    said = vm.make("up", environment=counting(log := tmp_path / "calls")).stderr
    assert "copying images/large.raw (40 MiB) to volume default/large.raw" in said
    assert "created volume default/large.raw" in said and "vol-upload" not in log.read_text()
    assert sum_of(guest.path) == sum_of(large)
    assert guest.path.stat().st_blocks * 512 < LARGE - (4 << 20)
    assert vm.make("up").stderr == "web: is running\n"
    delete(vm)


def test_a_copy_that_fails_leaves_nothing_and_one_that_is_killed_is_mended(
    large: Path, base: Path, tmp_path: Path
) -> None:
    guest = Guest(image=large, volume="large.raw")
    vm = make_guest(base, guest)
    full = tmp_path / "full"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={LARGE // 2}", "none", DEFAULT_POOL], check=True)
    try:
        failing = vm.make("up", check=False)
        assert failing.returncode != 0 and "No space left on device" in failing.stderr, failing.stderr
        assert not guest.path.exists()
    finally:
        subprocess.run(["umount", DEFAULT_POOL], check=True)
        virsh("pool-refresh", "default")
    for _ in range(100):  # until it is killed in the middle
        killed = start(vm, "up")
        while size_of(guest.path) <= 1 and killed.poll() is None:
            time.sleep(0.001)
        kill(killed)
        if 1 < size_of(guest.path) < LARGE:
            break
        vm.make("delete-all", "V1ALPHA1_STOP_TIMEOUT_SECS=0")
    assert 1 < size_of(guest.path) < LARGE
    said = vm.make("up").stderr
    assert "deleted volume default/large.raw, which an interrupted run had left" in said
    assert sum_of(guest.path) == sum_of(large)
    delete(vm)


def test_what_cannot_be_copied_goes_through_libvirt(large: Path, base: Path, tmp_path: Path) -> None:
    """As where the pool's directory is not seen from here, or may not be written to."""
    with Proxy(tmp_path / "libvirt") as proxy:
        guest = Guest(image=large, volume="large.raw", uri=proxy.uri)
        vm = make_guest(base, guest)
        assert "uploading images/large.raw" in vm.make("up").stderr
        assert sum_of(guest.path) == sum_of(large)
        delete(vm)


def counting(log: Path) -> dict[str, str]:
    """Return an environment in which each start of virsh, and each of its commands, leaves a line in `log`."""
    return install(log.parent / "counting", log=log, env_path=ENVIRONMENT["PATH"])


def test_to_look_into_a_volume_that_was_there_takes_one_connection_and_none_later(
    images: dict[str, Path], base: Path, tmp_path: Path
) -> None:
    vms = make_guests(base, {name: Guest(image=images["raw"], volume="image.raw") for name in "ab"})
    vms["a"].make("up")
    vms["b"].make("up", environment=counting(log := tmp_path / "calls"))
    calls = log.read_text().splitlines()
    assert sum(call.startswith("vol-download ") for call in calls) == 2, "both ends"
    assert sum(call.startswith("virsh ") for call in calls) == 1
    log.unlink()
    vms["b"].make("up", environment=counting(log))
    again = log.read_text().splitlines()
    assert sum(call.startswith("virsh ") for call in again) == 1 and "vol-download" not in "".join(again)
    delete(*vms.values())


DISK = """
nodes: [{{name: localhost, libvirt: {{connection: {{uri: "qemu:///system"}}}}}}]
images:
  - name: guest
    tags: [{{pattern: latest, url: "file://{image}", volumeName: disk.raw, format: raw}}]
vms:
  - name: web
    provisioner: v1alpha1
    nodeName: localhost
    image: guest
    libvirt:
      domain:
        name: web
        virtInstall:
          osinfo: linux2022
          memory: 64
          graphics: none
          network: none
          disk: [{{name: boot, options: {{vol: {pool}/disk.raw{options}}}}}]
      pools: [{{name: own, directory: {{path: /var/lib/libvirt/images/own}}, deletionPolicy: {policy}}}]
      volumes:
        - name: disk.raw
          poolName: {pool}
          format: raw
          deletionPolicy: {policy}
          uploadFile: {{path: images/disk.raw}}
"""


def disk(image: Path, base: Path, *, pool: str = "own", policy: str = "Delete", options: str = "") -> Vm:
    """Return a VM with the image itself as its disk."""
    return generate(DISK.format(image=image, pool=pool, policy=policy, options=options), base)["web"]


def test_a_retained_disk_that_a_guest_wrote_to_is_taken_as_it_is(images: dict[str, Path], base: Path) -> None:
    vm = disk(images["raw"], base, policy="Retain")
    vm.make("up")
    path = DEFAULT_POOL / "own/disk.raw"
    vm.make("down", "V1ALPHA1_STOP_TIMEOUT_SECS=0")
    with path.open("r+b") as file:
        file.write(b"written by the guest")
        file.seek(0, 2)
        file.write(bytes(4096))
    kept = sum_of(path)
    assert "uploading" not in vm.make("up").stderr
    assert sum_of(path) == kept
    delete(vm)


def test_a_disk_that_no_guest_can_write_to_is_compared_too(images: dict[str, Path], base: Path) -> None:
    (DEFAULT_POOL / "disk.raw").write_bytes(random.Random(2).randbytes(BYTES))
    virsh("pool-refresh", "default")
    vm = disk(images["raw"], base, pool="default", options=", device: cdrom")
    refused = vm.make("up", check=False)
    assert refused.returncode != 0 and "is something else than" in refused.stderr
    delete(vm)


def test_a_pool_whose_directory_was_removed_behind_libvirts_back_is_made_again(
    images: dict[str, Path], base: Path
) -> None:
    vm = disk(images["raw"], base)
    vm.make("create/pool")
    directory = DEFAULT_POOL / "own"
    directory.rmdir()
    vm.make("up")
    assert sum_of(directory / "disk.raw") == sum_of(images["raw"])
    vm.make("down", "V1ALPHA1_STOP_TIMEOUT_SECS=0")
    vm.make("create")
    shutil.rmtree(directory)
    vm.make("delete-all")


@pytest.mark.parametrize("step", ["vol-create", "vol-upload"])
@pytest.mark.parametrize("change", ["rm -f", "truncate -s 0"])
def test_an_image_that_goes_between_build_and_upload_is_named_and_leaves_nothing(
    images: dict[str, Path], base: Path, tmp_path: Path, step: str, change: str
) -> None:
    vm = disk(images["raw"], base)
    script = f"case $1 in {step}) {change} images/disk.raw ;; esac"
    refused = vm.make("up", check=False, environment=install(tmp_path / "shims", script, env_path=ENVIRONMENT["PATH"]))
    assert refused.returncode != 0
    assert "images/disk.raw" in refused.stderr, refused.stderr
    assert not (DEFAULT_POOL / "own/disk.raw").exists(), refused.stderr
    again = vm.make("up")
    assert "incomplete" not in again.stderr
    assert sum_of(DEFAULT_POOL / "own/disk.raw") == sum_of(images["raw"])
    delete(vm)


def test_a_sparse_image_is_uploaded_whole(base: Path, tmp_path: Path) -> None:
    image = tmp_path / "sparse.raw"
    with image.open("wb") as file:
        file.write(b"the beginning")
        file.truncate(BYTES)
    assert image.stat().st_blocks * 512 < BYTES // 2
    vm = disk(image, base)
    vm.make("up")
    assert sum_of(DEFAULT_POOL / "own/disk.raw") == sum_of(image)
    assert vm.make("up").stderr == "web: is running\n"
    delete(vm)

"""How far real downloads, uploads, copies and unpackers are, on a terminal and in a log."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import ARCHIVES
from console import COLUMNS, Console
from proxy import Proxy
from screen import Screen
from server import Fault, Server
from world import ENVIRONMENT, ROOT, Vm, generate

sys.path.append(str(ROOT / "benchmarks"))

from counts import count_started

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

MIB = 1 << 20
IMAGE = random.Random(1).randbytes(6 * MIB)
FAST = "V1ALPHA1_STOP_TIMEOUT_SECS=0"
LARGE = 40 * MIB
"""So much that it is copied, where libvirt is on this host."""
TERMINAL = {**ENVIRONMENT, "TERM": "xterm"}
FIGURES = r"(0 KiB|\d+%)(, [\d.]+ [KMG]iB/s)?(, \d:\d\d left)?"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "served").mkdir()
    with Server(tmp_path / "served") as server:
        yield server


def make_vm(base: Path, url: str, *names: str, uri: str = "qemu:///system", look: float = 0.02, **tag: object) -> Vm:
    """Return a VM with the image as its volume, whose program looks as often, and shows something as soon.

    With names it is a fleet of such VMs, which start.
    """
    vms = []
    for name in names or ("web",):
        image = f"disk-{name}.img" if names else "disk.img"
        options = {"osinfo": "linux2022", "memory": 64, "graphics": "none", "network": "none"}
        volume = {"name": image, "poolName": "default", "format": "raw", "uploadFile": {"path": image}}
        disk = [{"name": "boot", "options": {"vol": f"default/{image}"}}]
        libvirt = {"domain": {"name": name, "virtInstall": {**options, "disk": disk}}, "volumes": [volume]}
        tags = [{"pattern": "latest", "url": url, "volumeName": image, **tag}]
        vms.append((name, libvirt, {"name": f"image-{name}", "tags": tags}))
    given = {"provisioner": "v1alpha1", "nodeName": "localhost"}
    registry = {
        "nodes": [{"name": "localhost", "libvirt": {"connection": {"uri": uri}}}],
        "images": [image for _, _, image in vms],
        "vms": [{"name": name, **given, "image": image["name"], "libvirt": libvirt} for name, libvirt, image in vms],
    }
    made = generate(json.dumps(registry), base, *(["--fleet"] if names else []))
    for directory in [base / ".fleet"] if names else [made["web"].directory]:
        shorten(directory, LOOK=look, FIRST=2 * look, LINE=5 * look)
    return made["web"]


def shorten(directory: Path, **seconds: float) -> None:
    """Let the program of a directory look after so many seconds."""
    program = directory / "provisioner.py"
    text = program.read_text()
    for name, value in seconds.items():
        text, count = re.subn(rf"^{name}_SECONDS = .*$", f"{name}_SECONDS = {value}", text, flags=re.MULTILINE)
        assert count == 1
    program.write_text(text)


def lines_of(said: str, what: str) -> list[str]:
    """Return the lines that tell how far it is, each of which is whole."""
    found = [line for line in said.splitlines() if line.startswith(f"web: {what} disk.img, ")]
    assert all(re.fullmatch(f"web: {what} disk.img, {FIGURES}", line) for line in found), said
    return found


def shares(lines: list[str]) -> list[int]:
    return [int(found[1]) for line in lines if (found := re.search(r"(\d+)%", line))]


def test_a_download_shows_share_rate_and_time_left_on_a_terminal_and_leaves_its_messages(
    server: Server, base: Path
) -> None:
    (server.directory / "a.img").write_bytes(IMAGE)
    server.faults["/a.img"] = Fault(bytes_per_second=6 * MIB)
    vm = make_vm(base, url := server.url("a.img"))
    with Console(vm.command("build"), cwd=Path("/"), env=TERMINAL) as console:
        console.expect(r"\rweb: downloading disk\.img, \d+%, [\d.]+ MiB/s, 0:0\d left\x1b\[K", timeout=30)
        assert console.wait(timeout=60) == 0
    assert Screen(console.transcript, COLUMNS).lines == [
        f"web: downloading {url}",
        "web: downloaded disk.img",
    ]


def test_a_download_that_goes_on_counts_what_was_there(server: Server, base: Path) -> None:
    (server.directory / "a.img").write_bytes(IMAGE)
    server.faults["/a.img"] = Fault(cut_after=4 * MIB, times=1)
    vm = make_vm(base, server.url("a.img"))
    slow = {"PATH": f"{slowly(base, 'curl', 'sleep 0.5')}:{ENVIRONMENT['PATH']}"}
    said = vm.make("build", environment=slow).stderr
    assert 66 in shares(lines_of(said, "downloading")), said


def slowly(base: Path, program: str, script: str) -> Path:
    """Return a directory whose program does something first, and then is the real one."""
    (directory := base / "slow").mkdir()
    wrapper = directory / program
    wrapper.write_text(f'#!/bin/sh\n{script}\nPATH={ENVIRONMENT["PATH"]} exec {program} "$@"\n')
    wrapper.chmod(0o755)
    return directory


def test_what_a_server_does_not_tell_the_size_of_shows_the_amount(server: Server, base: Path) -> None:
    (server.directory / "a.img").write_bytes(IMAGE)
    server.faults["/a.img"] = Fault(bytes_per_second=6 * MIB, content_length=False)
    said = make_vm(base, server.url("a.img")).make("build").stderr
    assert re.search(r"^web: downloading disk\.img, [\d.]+ [KM]iB, [\d.]+ [KM]iB/s$", said, re.MULTILINE), said


def test_an_upload_shows_how_far_virsh_is_in_a_log(base: Path, tmp_path: Path) -> None:
    (image := tmp_path / "a.img").write_bytes(IMAGE)
    with Proxy(tmp_path / "libvirt", bytes_per_second=6 * MIB) as proxy:
        vm = make_vm(base, f"file://{image}", uri=proxy.uri)
        said = vm.make("create/volume")
        found = shares(lines_of(said.stderr, "uploading"))
        assert len(found) > 3 and found == sorted(found) and found[0] < 60 and len(set(found)) > 2, said.stderr
        assert "web: created volume default/disk.img\n" in said.stderr and said.stdout == ""
        vm.make("delete-all")


def test_a_sparse_upload_ends_at_its_whole_size(base: Path, tmp_path: Path) -> None:
    image = tmp_path / "a.img"
    with image.open("wb") as file:
        file.write(IMAGE)
        file.truncate(20 * MIB)
    with Proxy(tmp_path / "libvirt", bytes_per_second=6 * MIB) as proxy:
        vm = make_vm(base, f"file://{image}", uri=proxy.uri)
        vm.make("build")
        subprocess.run(["cp", "--sparse=always", image, vm.directory / "disk.img"], check=True)
        said = vm.make("create/volume").stderr
        assert max(shares(lines_of(said, "uploading"))) <= 30, "what comes before the hole"
        vm.make("delete-all")


def test_a_message_in_the_middle_of_an_upload_stands_above_the_line(base: Path, tmp_path: Path) -> None:
    """V=1 shows each command: that of the upload, and those before it and after it."""
    (image := tmp_path / "a.img").write_bytes(IMAGE)
    with Proxy(tmp_path / "libvirt", bytes_per_second=6 * MIB) as proxy:
        vm = make_vm(base, f"file://{image}", uri=proxy.uri)
        said = vm.make("create/volume", "V=1", environment={"VMP_PROGRESS": "0"}).stderr
        vm.make("delete/volume-all")
        with Console(vm.command("create/volume", "V=1"), cwd=Path("/"), env=TERMINAL) as console:
            console.expect(r"\rweb: uploading disk\.img, \d+%, ", timeout=30)
            assert console.wait(timeout=60) == 0
        vm.make("delete-all")
    in_log = [line for line in said.splitlines() if "curl" not in line and line not in lines_of(said, "uploading")]
    on_terminal = Screen(console.transcript, 10_000).lines
    assert [line for line in in_log if "vol-" in line] == [line for line in on_terminal if "vol-" in line]
    assert not [line for line in on_terminal if "disk.img, " in line]


def test_a_copy_shows_how_far_it_is(base: Path, tmp_path: Path) -> None:
    (image := tmp_path / "a.img").write_bytes(random.Random(2).randbytes(LARGE))
    vm = make_vm(base, f"file://{image}", look=0.001)
    assert lines_of(vm.make("create/volume").stderr, "copying")
    vm.make("delete-all")


PACE = "i=0; while [ $i -lt 12 ]; do dd bs=64k count=8 iflag=fullblock status=none; sleep 0.05; i=$((i + 1)); done"


@pytest.mark.parametrize("kind", ARCHIVES)
def test_unpacking_shows_how_far_it_is_and_a_checksum_too(server: Server, base: Path, kind: str) -> None:
    (server.directory / "a").write_bytes(ARCHIVES[kind].pack(IMAGE))
    vm = make_vm(base, server.url("a"), archive={"type": kind})
    program = {"7z": "7z", "xz": "xz", "gz": "gzip", "bz2": "bzip2", "zst": "zstd"}[kind]
    (directory := base / "slow").mkdir()
    for name in {"7z": ("7zz", "7z", "7za", "7zr")}.get(kind, (program,)):
        wrapper = directory / name
        real = f'PATH={ENVIRONMENT["PATH"]} {program} "$@"'
        wrapper.write_text(f'#!/bin/sh\n[ "$1" != l ] || {{ {real}; exit; }}\n{real} | {{ {PACE}; }}\n')
        wrapper.chmod(0o755)
    said = vm.make("build", environment={"PATH": f"{directory}:{ENVIRONMENT['PATH']}"}).stderr
    found = shares(lines_of(said, "unpacking"))
    assert len(set(found)) > 2 and found == sorted(found), said
    assert (vm.directory / "disk.img").read_bytes() == IMAGE


@pytest.mark.parametrize("target", ["build", "create/volume"])
def test_ctrl_c_erases_the_line(server: Server, base: Path, tmp_path: Path, target: str) -> None:
    (server.directory / "a.img").write_bytes(IMAGE)
    with Proxy(tmp_path / "libvirt", bytes_per_second=MIB) as proxy:
        vm = make_vm(base, server.url("a.img"), uri=proxy.uri)
        if target == "build":
            server.faults["/a.img"] = Fault(bytes_per_second=MIB)
        else:
            vm.make("build")
        what = "downloading" if target == "build" else "uploading"
        with Console(vm.command(target), cwd=Path("/"), env=TERMINAL) as console:
            console.expect(rf"\rweb: {what} disk\.img, \d+%, .* left\x1b\[K", timeout=30)
            console.send("\x03")
            assert console.wait(timeout=30) != 0
        vm.make("delete-all")
    lines = Screen(console.transcript.replace("^C", ""), COLUMNS).lines
    assert f"web: {what} disk.img, " not in "\n".join(lines) and "Traceback" not in console.transcript, lines
    assert re.fullmatch(r"make: \*\*\* \[.*\] (Error 130|Interrupt)", lines[-1]), lines


def test_sigterm_erases_the_line(server: Server, base: Path) -> None:
    (server.directory / "a.img").write_bytes(IMAGE)
    server.faults["/a.img"] = Fault(bytes_per_second=MIB)
    vm = make_vm(base, server.url("a.img"))
    with Console([vm.directory / "provisioner.py", "build"], cwd=Path("/"), env=TERMINAL) as console:
        console.expect(r"\rweb: downloading disk\.img, \d+%, .* left\x1b\[K", timeout=30)
        os.kill(console.pid, signal.SIGTERM)
        assert console.wait(timeout=30) == 128 + signal.SIGTERM
    assert Screen(console.transcript, COLUMNS).lines == [f"web: downloading {server.url('a.img')}"]


def test_an_error_stands_on_a_line_of_its_own(base: Path, tmp_path: Path) -> None:
    (image := tmp_path / "a.img").write_bytes(IMAGE)
    with Proxy(tmp_path / "libvirt", hold_after=4 * MIB) as proxy:
        vm = make_vm(base, f"file://{image}", uri=proxy.uri)
        with Console(vm.command("create/volume"), cwd=Path("/"), env=TERMINAL) as console:
            console.expect(r"\rweb: uploading disk\.img, \d+%", timeout=30)
            assert proxy.held.wait(30)
            proxy.cut()
            assert console.wait(timeout=60) != 0
        vm.make("delete-all")
    lines = Screen(console.transcript, COLUMNS).lines
    assert "web: error: could not make the volumes" in lines and "disk.img, " not in "\n".join(lines), lines


@pytest.mark.parametrize("jobs", [1, 2])
def test_of_a_fleet_one_at_a_time_has_a_moving_line_and_two_have_lines(base: Path, tmp_path: Path, jobs: int) -> None:
    (image := tmp_path / "a.img").write_bytes(IMAGE)
    with Proxy(tmp_path / "libvirt", bytes_per_second=6 * MIB) as proxy:
        make_vm(base, f"file://{image}", "web", "db", uri=proxy.uri)
        command = ["make", "--no-print-directory", "-C", str(base), f"-j{jobs}"]
        with Console([*command, "up"], cwd=Path("/"), env=TERMINAL) as console:
            assert console.wait(timeout=120) == 0
        down = subprocess.run([*command, "down", FAST], capture_output=True, text=True, env=ENVIRONMENT)
        assert down.returncode == 0, down.stderr
    moved = set(re.findall(r"\r(web|db): uploading disk-(?:web|db)\.img, ", console.transcript))
    lines = Screen(console.transcript, COLUMNS).lines
    stayed = {line.partition(":")[0] for line in lines if re.search(r"disk-\w+\.img, \d+%", line)}
    assert (moved, stayed) == ((set(), {"web", "db"}) if jobs == 2 else ({"web", "db"}, set())), lines


def test_nothing_is_shown_of_what_is_quick(server: Server, base: Path) -> None:
    (server.directory / "a.img").write_bytes(IMAGE)
    vm = make_vm(base, server.url("a.img"), look=60)
    with Console(vm.command("build", "create/volume"), cwd=Path("/"), env=TERMINAL) as console:
        assert console.wait(timeout=60) == 0
    assert "\r" not in console.transcript and "%" not in console.transcript
    vm.make("delete-all")


def test_it_starts_no_process(server: Server, base: Path, tmp_path: Path) -> None:
    (server.directory / "a.img").write_bytes(IMAGE)
    with Proxy(tmp_path / "libvirt") as proxy:
        counts = []
        for look in (0.001, 3600.0):
            vm = make_vm(base, server.url("a.img"), uri=proxy.uri, look=look)
            vm.make("help")  # Python keeps the compiled program
            command = ["make", "-C", str(vm.directory), "build", "create/volume"]
            counts.append(count_started(command, ENVIRONMENT, Path("/")))
            vm.make("delete-all", "clean-all")
    assert counts[0] == counts[1] and counts[0] is not None

"""Many at once: a fleet of VMs that share an image and a node, and several runs of one VM."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from guest_registries import cloud
from server import Server
from world import ENVIRONMENT, Vm, generate, inventory, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

FLEET = [f"vm{number:02}" for number in range(1, 21)]
FLEET_MAKEFILE = """
VMS := $(patsubst %/Makefile,%,$(wildcard */Makefile))
targets := up down delete-all clean-all status
.PHONY: $(targets) $(foreach target,$(targets),$(addsuffix .$(target),$(VMS)))
$(foreach target,$(targets),$(eval $(target): $(addsuffix .$(target),$(VMS))))
define each
$(addsuffix .$(1),$(VMS)): %.$(1):
	+@$$(MAKE) --no-print-directory -C $$* $(1)
endef
$(foreach target,$(targets),$(eval $(call each,$(target))))
"""
FAST = "V1ALPHA1_STOP_TIMEOUT_SECS=0"
IMAGE_BYTES = 3 << 20


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A blank image behind HTTP: a disk that no guest boots from, so that 20 domains fit on a small machine."""
    served = tmp_path / "served"
    served.mkdir()
    (served / "blank.raw").write_bytes(random.Random(1).randbytes(IMAGE_BYTES))
    subprocess.run(
        ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", served / "blank.raw", served / "blank.qcow2"], check=True
    )
    with Server(served) as server:
        yield server


def registry(server: Server, key: Path, names: Sequence[str]) -> str:
    vms = "".join(f"  - name: {name}\n    template: cloud\n" for name in names)
    image = Path("/blank.qcow2")
    return cloud(image, key, vms, memory=64, capacity="8M").replace(f"file://{image}", server.url("blank.qcow2"))


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["make", "--no-print-directory", "-C", str(directory), *arguments],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        timeout=900,
    )
    assert done.returncode == 0, f"make {' '.join(arguments)}: {done.stdout}{done.stderr}"
    assert "error:" not in done.stderr
    return done


def test_a_fleet_comes_up_and_goes_in_parallel_with_one_download_and_one_upload(
    server: Server, ssh_key: Path, base: Path, request: pytest.FixtureRequest
) -> None:
    rounds = request.config.getoption("--rounds")
    before = inventory()
    generate(registry(server, ssh_key, FLEET), base)
    (base / "Makefile").write_text(FLEET_MAKEFILE)
    for number in range(1, rounds + 1):
        begin = time.monotonic()
        server.requests.clear()
        up = run(base, "-j20", "up")
        assert [request.status for request in server.requests] == [200], "one download"
        assert up.stderr.count("uploading ../images of all/") == 1, "one upload"
        assert sorted(virsh("list", "--name").split()) == FLEET
        again = run(base, "-j20", "up")
        assert sorted(again.stderr.splitlines()) == [f"{name}: is running" for name in FLEET]
        run(base, "-j20", "down", FAST)
        assert not virsh("list", "--all", "--name").split()
        run(base, "-j20", "delete-all")
        run(base, "-j20", "clean-all")
        assert inventory() == before
        took = time.monotonic() - begin
        print(f"round {number} of {rounds}: {len(FLEET)} VMs up, up, down, delete-all in {took:.0f} s", flush=True)
    print(f"{rounds} rounds of {len(FLEET)} VMs, no failure")


def test_a_fleet_can_be_deleted_at_once_while_it_runs(server: Server, ssh_key: Path, base: Path) -> None:
    generate(registry(server, ssh_key, FLEET[:6]), base)
    (base / "Makefile").write_text(FLEET_MAKEFILE)
    run(base, "-j6", "up")
    run(base, "-j6", "delete-all")
    run(base, "delete-all")  # whoever was first kept the image, which others used


def at_once(vm: Vm, *commands: Sequence[str]) -> list[str]:
    """Run several makes of one VM at the same time, and return what each said."""
    runs = [
        subprocess.Popen(
            vm.command(*command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT, cwd="/"
        )
        for command in commands
    ]
    said = [process.communicate(timeout=300)[0] for process in runs]
    assert [process.returncode for process in runs] == [0] * len(runs), "\n".join(said)
    return said


def test_two_ups_of_one_vm_at_once_make_it_once(server: Server, ssh_key: Path, base: Path) -> None:
    vm = generate(registry(server, ssh_key, ["web"]), base)["web"]
    said = "".join(at_once(vm, ["up"], ["up"]))
    assert said.count("created domain web") == 1 and said.count("started domain web") == 1
    assert "is running" in said
    at_once(vm, ["down", FAST], ["down", FAST])
    vm.make("delete-all")


@pytest.mark.parametrize("jobs", ["-j", "-j8"])
def test_make_with_jobs_of_one_vm_keeps_the_order(server: Server, ssh_key: Path, base: Path, jobs: str) -> None:
    vm = generate(registry(server, ssh_key, ["web"]), base)["web"]
    assert "started domain web" in vm.make(jobs, "build", "create", "start").stderr
    assert vm.make(jobs, "up", "status").stdout.startswith("domain")
    vm.make(jobs, "down", FAST)
    vm.make(jobs, "delete-all", "clean-all")


def test_up_of_what_is_up_never_fails(
    server: Server, ssh_key: Path, base: Path, request: pytest.FixtureRequest
) -> None:
    vm = generate(registry(server, ssh_key, ["web"]), base)["web"]
    vm.make("up")
    times = 10 * request.config.getoption("--rounds")
    seconds = []
    for _ in range(times):
        begin = time.monotonic()
        assert vm.make("up").stderr == "web: is running\n"
        seconds.append(time.monotonic() - begin)
    print(f"{times} no-op ups, no failure, median {sorted(seconds)[times // 2]:.3f} s, longest {max(seconds):.3f} s")
    vm.make("delete-all", FAST)

"""Pools and networks in every state, and what each target makes of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blank import blank, blank_image
from world import Vm, domain_state, generate, inventory, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

POOLS = Path("/var/lib/libvirt/images")
OWN = POOLS / "web"


@pytest.fixture
def web(blank_images: Path, base: Path) -> Vm:
    return generate(blank(blank_image(blank_images, "deaf")), base)["web"]


@pytest.fixture
def default_again(default_pool: None) -> Iterator[None]:
    """After the test the pool and the network `default` are as before."""
    network = virsh("net-dumpxml", "default")
    yield
    for command in ("pool-destroy", "pool-undefine"):
        subprocess.run(["virsh", "-q", command, "default"], check=False, capture_output=True)
    virsh("pool-define-as", "default", "dir", "--target", str(POOLS))
    virsh("pool-start", "default")
    subprocess.run(["virsh", "-q", "net-define", "/dev/stdin"], input=network, text=True, check=True)
    subprocess.run(["virsh", "-q", "net-start", "default"], check=False, capture_output=True)


def stop_own() -> None:
    virsh("pool-destroy", "web")


def undefine_own() -> None:
    virsh("pool-destroy", "web")
    virsh("pool-undefine", "web")


def remove_directory() -> None:
    shutil.rmtree(OWN)


def stop_and_remove_directory() -> None:
    stop_own()
    remove_directory()


def remove_volume() -> None:
    (OWN / "boot.qcow2").unlink()


def remove_image() -> None:
    (POOLS / "deaf.qcow2").unlink()


def autostart_own() -> None:
    virsh("pool-autostart", "web")
    assert Path("/etc/libvirt/storage/autostart/web.xml").is_symlink()


@pytest.mark.parametrize(
    "happens",
    [stop_own, undefine_own, remove_directory, stop_and_remove_directory, remove_volume, remove_image, autostart_own],
    ids=lambda happens: happens.__name__,
)
def test_whatever_happened_to_its_storage_up_mends_it_and_down_takes_it_away(
    happens: Callable[[], None], web: Vm
) -> None:
    before = inventory()
    web.make("create")
    whole = inventory()
    happens()
    web.make("status", check=False)
    web.make("create")
    assert set(whole) <= set(inventory())
    web.make("start")
    assert domain_state() == "running"
    happens()
    web.make("kill", "down")
    assert set(inventory()) - set(before) <= {"file deaf.qcow2"}
    web.make("delete-all")
    assert inventory() == before


def test_a_pool_that_was_defined_and_never_built_is_made_whole_or_deleted(web: Vm) -> None:
    before = inventory()
    virsh("pool-define-as", "web", "dir", "--target", str(OWN))
    web.make("down")
    assert inventory() == before
    virsh("pool-define-as", "web", "dir", "--target", f"{OWN}")
    assert "started pool web" in web.make("create").stderr
    web.make("delete-all")
    assert inventory() == before


def test_what_others_put_into_the_pool_stays_and_is_named(web: Vm) -> None:
    before = inventory()
    web.make("create")
    (OWN / "their file").write_text("x")
    (OWN / "their directory").mkdir()
    assert "kept pool web: it holds their directory, their file" in web.make("down").stderr
    assert (OWN / "their file").read_text() == "x"
    assert "kept pool web: it holds" in web.make("down").stderr
    (OWN / "their file").unlink()
    (OWN / "their directory").rmdir()
    assert "deleted pool web" in web.make("delete-all").stderr
    assert inventory() == before


def test_a_pool_whose_directory_is_a_symbolic_link_works_and_the_link_stays(web: Vm) -> None:
    (POOLS / "real").mkdir()
    OWN.symlink_to("real")
    web.make("up")
    assert (POOLS / "real/boot.qcow2").exists()
    down = web.make("down")
    assert "kept the directory of pool web" in down.stderr
    assert OWN.is_symlink() and not list((POOLS / "real").iterdir())
    assert web.make("down").stderr == ""
    web.make("delete-all")
    OWN.unlink()
    (POOLS / "real").rmdir()


def test_a_pool_of_the_same_name_elsewhere_is_somebody_elses(web: Vm, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "boot.qcow2").write_text("theirs")
    virsh("pool-define-as", "web", "dir", "--target", str(theirs))
    virsh("pool-start", "web")
    before = inventory()
    for target in ("up", "create", "start", "restart", "create/pool", "start/pool"):
        refused = web.make(target, check=False)
        assert refused.returncode != 0, target
        assert f"its directory is {theirs}, not {OWN}" in refused.stderr, target
    for target in ("stop-all", "stop/pool", "down", "delete", "delete-all", "delete/pool-all", "delete/volume-all"):
        left = web.make(target)
        assert "web" in left.stderr, target
        assert inventory() == before, target
    assert (theirs / "boot.qcow2").read_text() == "theirs"
    virsh("pool-destroy", "web")
    virsh("pool-undefine", "web")


def test_a_vm_called_default_does_not_take_the_pool_of_that_name(blank_images: Path, base: Path) -> None:
    vm = generate(blank(blank_image(blank_images, "deaf"), "  - {name: default, template: blank}\n"), base)["default"]
    before = inventory()
    refused = vm.make("up", check=False)
    assert refused.returncode != 0 and "pool 'default' is somebody else's" in refused.stderr
    vm.make("down")
    vm.make("delete-all")
    assert inventory() == before


NETWORK = """
  - name: web
    template: blank
    libvirt: {domain: {virtInstall: {network: default}}}
"""


def stop_default_pool() -> None:
    virsh("pool-destroy", "default")


def undefine_default_pool() -> None:
    stop_default_pool()
    virsh("pool-undefine", "default")


def stop_default_network() -> None:
    virsh("net-destroy", "default")


def undefine_default_network() -> None:
    stop_default_network()
    virsh("net-undefine", "default")


@pytest.mark.parametrize(
    "happens",
    [stop_default_pool, undefine_default_pool, stop_default_network, undefine_default_network],
    ids=lambda happens: happens.__name__,
)
def test_what_is_only_used_is_asked_for_before_anything_is_changed_and_down_goes_through(
    happens: Callable[[], None], blank_images: Path, base: Path, default_again: None, tmp_path: Path
) -> None:
    web = generate(blank(blank_image(blank_images, "deaf"), NETWORK), base)["web"]
    image = POOLS / "deaf.qcow2"
    network = tmp_path / "network.xml"
    network.write_text(virsh("net-dumpxml", "default"))

    happens()
    before = inventory()
    refused = web.make("up", check=False)
    assert refused.returncode != 0
    assert inventory() == before
    for target in ("create", "start", "restart", "start/domain", "create/volume", "create/pool"):
        assert web.make(target, check=False).stderr.splitlines()[:2] == refused.stderr.splitlines()[:2], target
    web.make("down")
    assert inventory() == before

    for line in refused.stderr.splitlines():
        _, found, command = line.partition(": virsh ")
        if found:  # the way out is a command that can be pasted
            command = command.replace("DIRECTORY", str(POOLS)).replace("FILE.xml", str(network))
            subprocess.run(f"virsh {command}", shell=True, check=True, capture_output=True)
    web.make("up")
    happens()
    web.make("status")
    web.make("stop")
    assert domain_state() == "shut off"
    web.make("down")
    assert domain_state() == "gone"
    assert not OWN.exists()
    assert image.exists()
    if happens is stop_default_pool:
        assert "pool default is not active" in web.make("delete-all").stderr
    image.unlink()


def test_the_pool_default_may_be_anywhere(web: Vm, default_again: None, tmp_path: Path) -> None:
    undefine_default_pool()
    virsh("pool-define-as", "default", "dir", "--target", str(tmp_path))
    virsh("pool-start", "default")
    web.make("up")
    assert (tmp_path / "deaf.qcow2").exists()
    web.make("down")
    web.make("delete-all")
    assert not (tmp_path / "deaf.qcow2").exists()


BOTH = """
  - name: a
    template: blank
    libvirt: &shared
      domain:
        virtInstall:
          disk: [{name: boot, options: {vol: "both/{VM_NAME}.qcow2"}}]
      pools:
        - {name: "{VM_NAME}", $patch: delete}
        - {name: both, directory: {path: /var/lib/libvirt/images/both}}
      volumes:
        - {name: boot.qcow2, $patch: delete}
        - name: "{VM_NAME}.qcow2"
          poolName: both
          backingVolume: {name: "{IMAGE_VOLUME_NAME}", poolName: default}
  - name: b
    template: blank
    libvirt: *shared
"""


def test_a_pool_that_two_vms_declare_goes_with_the_last_of_them(blank_images: Path, base: Path) -> None:
    before = inventory()
    vms = generate(blank(blank_image(blank_images, "deaf"), BOTH), base)
    vms["a"].make("up")
    vms["b"].make("up")
    down = vms["a"].make("down")
    assert "kept pool both: it holds b.qcow2" in down.stderr
    assert vms["b"].make("status").returncode == 0
    assert vms["b"].make("restart").returncode == 0
    vms["a"].make("delete-all")
    vms["b"].make("delete-all")
    assert inventory() == before


def test_a_directory_with_double_blanks_before_a_slash_is_understood(blank_images: Path, base: Path) -> None:
    before = inventory()
    path = "/var/lib/libvirt/images/a  /b   c  /d"
    pool = f'"{{VM_NAME}}", directory: {{path: "{path}"}}'
    entry = f"  - {{name: web, template: blank, libvirt: {{pools: [{{name: {pool}}}]}}}}\n"
    vm = generate(blank(blank_image(blank_images, "deaf"), entry), base)["web"]
    Path(path).parent.mkdir(parents=True)
    vm.make("up")
    (Path(path) / "theirs  .raw").write_text("x")
    kept = vm.make("delete-all")
    assert "kept pool web: it holds theirs  .raw" in kept.stderr
    assert "kept volume" not in kept.stderr
    (Path(path) / "theirs  .raw").unlink()
    vm.make("delete-all")
    shutil.rmtree("/var/lib/libvirt/images/a  ")
    assert inventory() == before

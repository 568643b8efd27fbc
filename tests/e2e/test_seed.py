"""The seed: every ISO tool gives the same one, and none leaves half of one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from blank import blank, blank_image
from guest_registries import cloud
from world import ENVIRONMENT, Vm, generate, virsh

DOCUMENTS = {"meta-data", "network-config", "user-data", "vendor-data"}
TOOLS = ["xorriso", "genisoimage", "mkisofs"]
ENTRY = """
  - name: web
    template: cloud
    cloudInit:
      noCloud:
        data:
          vendor-data: {timezone: UTC}
          network-config: {version: 2, ethernets: {any: {match: {driver: virtio_net}, dhcp4: true}}}
"""


@pytest.fixture
def vm(tiny_disk: Path, ssh_key: Path, base: Path) -> Vm:
    return generate(cloud(tiny_disk, ssh_key, ENTRY), base)["web"]


def only(tool: str, directory: Path, script: str = "") -> dict[str, str]:
    """Return an environment that has this one of the ISO tools, or a script in its place."""
    directory.mkdir(exist_ok=True)
    for folder in ("/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        for path in Path(folder).iterdir():
            link = directory / path.name
            if path.name not in {*TOOLS, "cloud-localds"} and not link.exists() and not link.is_symlink():
                link.symlink_to(path)
    link = directory / tool
    link.unlink(missing_ok=True)
    if script:
        link.write_text(f"#!/bin/sh\n{script}\n")
        link.chmod(0o755)
    else:
        found = shutil.which(tool, path=ENVIRONMENT["PATH"])
        assert found, f"{tool} is not installed"
        link.symlink_to(found)
    return {"PATH": str(directory)}


def content(iso: Path) -> dict[str, bytes]:
    """Return the files of an image by their Rock Ridge names, as an independent reader sees them."""
    listed = subprocess.run(["isoinfo", "-R", "-f", "-i", iso], check=True, capture_output=True, text=True).stdout
    return {
        name.lstrip("/"): subprocess.run(
            ["isoinfo", "-R", "-x", name, "-i", iso], check=True, capture_output=True
        ).stdout
        for name in listed.split()
    }


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_makes_a_seed_with_the_same_files(vm: Vm, tool: str, tmp_path: Path) -> None:
    assert "made seed.iso" in vm.make("build", environment=only(tool, tmp_path / "bin")).stderr
    iso = vm.directory / "seed.iso"
    assert iso.read_bytes()[32808:32840].strip().lower() == b"cidata"
    documents = {path.name: path.read_bytes() for path in (vm.directory / "seed.iso.d").iterdir()}
    assert set(documents) == DOCUMENTS
    assert content(iso) == documents
    joliet = subprocess.run(["isoinfo", "-J", "-f", "-i", iso], check=True, capture_output=True, text=True).stdout
    assert {name.lstrip("/") for name in joliet.split()} == DOCUMENTS


FAULTS = {
    "fails": "echo 'no space left' >&2; exit 3",
    "fails with half an image": 'for f; do case $f in *seed.iso.tmp) printf half >"$f" ;; esac; done; exit 5',
    "dies with half an image": 'for f; do case $f in *seed.iso.tmp) printf half >"$f" ;; esac; done; kill -9 $$',
    "makes nothing and says that all is well": "exit 0",
    "hangs": "exec sleep 1000",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_tool_that_fails_leaves_no_seed(vm: Vm, fault: str, tmp_path: Path) -> None:
    directory = tmp_path / "bin"
    for tool in ("xorriso", "genisoimage"):
        refused = vm.make(
            "build",
            "V1ALPHA1_COMMAND_TIMEOUT_SECS=1",
            check=False,
            timeout=60,
            environment=only(tool, directory, FAULTS[fault]),
        )
        assert refused.returncode != 0 and "could not make seed.iso" in refused.stderr, refused.stderr
        left = {path.name for path in vm.directory.iterdir() if path.name.startswith("seed.iso")}
        assert left == {"seed.iso.d"}
        (directory / tool).unlink()
    vm.make("build", environment=only("genisoimage", directory))
    assert set(content(vm.directory / "seed.iso")) == DOCUMENTS


def test_changed_documents_make_the_seed_anew_and_unchanged_ones_do_not(vm: Vm) -> None:
    iso = vm.directory / "seed.iso"
    assert "made seed.iso" in vm.make("build").stderr
    assert "made seed.iso" not in vm.make("build").stderr
    for name in sorted(DOCUMENTS):
        document = vm.directory / "seed.iso.d" / name
        document.write_bytes(document.read_bytes() + b"# changed\n")
        assert "made seed.iso" in vm.make("build").stderr, name
        assert content(iso)[name] == document.read_bytes()
    iso.write_bytes(iso.read_bytes()[:1000])
    assert "made seed.iso" in vm.make("build").stderr, "a seed that was cut off"
    assert set(content(iso)) == DOCUMENTS


UNUSED = """
  - name: web
    template: blank
    cloudInit: {noCloud: {seed: {path: seed.iso}, data: {user-data: {hostname: web}}}}
"""
USED = (
    UNUSED
    + """
    libvirt:
      volumes:
        - name: seed.iso
          poolName: web
          format: raw
          uploadFile: {path: seed.iso}
"""
)


def test_a_seed_that_no_volume_is_filled_from_is_made_too(unchanged_libvirt: None, base: Path, tmp_path: Path) -> None:
    vm = generate(blank(blank_image(tmp_path, "deaf"), UNUSED), base)["web"]
    assert "made seed.iso" in vm.make("up").stderr
    assert "user-data" in content(vm.directory / "seed.iso")
    vm.make("delete-all")


def test_an_up_whose_seed_fails_leaves_no_volume_for_it(unchanged_libvirt: None, base: Path, tmp_path: Path) -> None:
    vm = generate(blank(blank_image(tmp_path, "deaf"), USED), base)["web"]
    failing = only("genisoimage", tmp_path / "bin", FAULTS["fails"])
    refused = vm.make("up", check=False, environment=failing)
    assert refused.returncode != 0
    assert "could not make seed.iso\n  no space left" in refused.stderr
    assert "seed.iso" not in virsh("vol-list", "web")
    assert "started domain" in vm.make("up").stderr
    vm.make("delete-all")


def test_an_up_of_what_is_up_needs_no_seed(unchanged_libvirt: None, base: Path, tmp_path: Path) -> None:
    vm = generate(blank(blank_image(tmp_path, "deaf"), USED), base)["web"]
    vm.make("up")
    vm.make("clean")
    none, failing = only("cloud-localds", tmp_path / "none", "exit 1"), tmp_path / "failing"
    (tmp_path / "none/cloud-localds").unlink()
    for environment in ({}, none, only("genisoimage", failing, FAULTS["fails"])):
        assert vm.make("up", environment=environment).stderr == "web: is running\n"
        assert not list(vm.directory.glob("seed.iso*[!d]"))
    for path in vm.directory.glob("domain.xml*"):
        path.unlink()
    image = base / "images of all/deaf.qcow2"
    image.rename(tmp_path / "elsewhere")
    for environment in ({}, none):
        assert vm.make("up", environment=environment).stderr == "web: is running\n"
    image.symlink_to(tmp_path / "elsewhere")
    vm.make("delete-all")


@pytest.mark.usefixtures("unchanged_libvirt")
def test_changed_documents_with_instance_id_auto_set_a_real_guest_up_once_more_on_its_old_disk(
    debian_cloud: Path, ssh_key: Path, base: Path
) -> None:
    """cloud-init does its work for each instance once; the file of the first one shows that the disk is the same."""
    entry = """
  - name: web
    template: cloud
    cloudInit: {{noCloud: {{data: {{meta-data: {{instance-id: auto}}, user-data: {{runcmd: [[touch, /etc/{}]]}}}}}}}}
"""
    vm = generate(cloud(debian_cloud, ssh_key, entry.format("first"), memory=1024, capacity="5G"), base)["web"]
    vm.make("up")
    vm.make("wait-for-ready", timeout=700)
    vm.make("stop", timeout=200)
    generate(cloud(debian_cloud, ssh_key, entry.format("second"), memory=1024, capacity="5G"), base)
    vm.make("delete/domain", "up")
    vm.make("wait-for-ready", timeout=700)
    assert vm.ssh("cd /etc; ls first second") == "first\nsecond\n"
    vm.make("delete-all")

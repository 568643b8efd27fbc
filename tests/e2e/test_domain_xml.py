"""domain.xml is made once per definition: virt-install runs only when its answer could be another one."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

import between
import pytest
from blank import blank, blank_image
from recorders import Call, Recorder
from remote_node import wait_until
from world import ENVIRONMENT, Vm, domain_state, generate, virsh

SEEDED = """
  - name: web
    template: blank
    libvirt:
      domain:
        virtInstall:
          network:
            - name: default
              options: {{network: default}}
          disk:
            - name: seed
              options: {{vol: "web/seed.iso", bus: virtio, readonly: "on"}}
      volumes:
        - name: seed.iso
          poolName: web
          format: raw
          uploadFile: {{path: seed.iso}}
    cloudInit:
      noCloud:
        seed: {{path: seed.iso}}
        data: {{user-data: {{hostname: {hostname}}}}}
"""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return blank_image(tmp_path, "deaf")


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path / "recorder")


def seeded(image: Path, hostname: str = "web") -> str:
    return blank(image, SEEDED.format(hostname=hostname))


def made(calls: list[Call]) -> int:
    """Return how often virt-install ran."""
    return sum(call.command == "virt-install" for call in calls)


def connections(calls: list[Call]) -> int:
    """Return how many connections to libvirt were opened."""
    return sum(call.command in ("virsh", "virt-install") for call in calls)


def up(vm: Vm, recorder: Recorder) -> list[Call]:
    """Make it from nothing, and return the calls that took."""
    vm.make("down", environment=recorder.environment)
    recorder.take()
    vm.make("up", environment=recorder.environment)
    return recorder.take()


def test_a_life_takes_few_connections(
    unchanged_libvirt: None, image: Path, recorder: Recorder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vm = generate(seeded(image), tmp_path / "base")["web"]
    counts = {}
    for name, target in (
        ("first up", "up"),
        ("no-op up", "up"),
        ("down", "down"),
        ("up again", "up"),
        ("down ", "down"),
    ):
        vm.make(target, environment=recorder.environment)
        calls = recorder.take()
        counts[name] = connections(calls)
        assert made(calls) == (1 if name == "first up" else 0), name
    print(f"connections: {counts}")
    assert counts["first up"] <= 2
    assert counts["no-op up"] == 1
    assert counts["down"] == 1
    assert counts["up again"] == 1
    vm.make("delete-all")


def test_down_and_up_give_the_same_machine_without_virt_install(
    unchanged_libvirt: None, image: Path, recorder: Recorder, tmp_path: Path
) -> None:
    vm = generate(seeded(image), tmp_path / "base")["web"]
    vm.make("up")
    before = virsh("dumpxml", "--inactive", "web")
    assert made(up(vm, recorder)) == 0
    assert virsh("dumpxml", "--inactive", "web") == before
    assert vm.make("up").stderr == "web: is running\n"
    vm.make("down", "clean")
    assert (vm.directory / "domain.xml").exists()
    vm.make("clean-all")
    assert not list(vm.directory.glob("domain*"))
    vm.make("delete-all")


def test_a_virsh_whose_run_was_killed_makes_nothing(
    unchanged_libvirt: None, image: Path, recorder: Recorder, tmp_path: Path
) -> None:
    vm = generate(seeded(image), tmp_path / "base")["web"]
    vm.make("up")
    vm.make("down")
    wrapper = tmp_path / "recorder/counting-virsh"
    wrapper.write_text(wrapper.read_text().replace("PATH=", "sleep 1\nPATH=", 1))
    run = subprocess.Popen(
        vm.command("up"),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**ENVIRONMENT, **recorder.environment},
        start_new_session=True,
    )
    wait_until(lambda: "sleep" in session(run.pid).values(), "virsh")
    for pid, program in session(run.pid).items():
        if program not in ("virsh", "sleep"):
            os.kill(pid, signal.SIGKILL)
    run.wait()
    wait_until(lambda: not session(run.pid), "the end of virsh")
    assert "web" not in virsh("pool-list", "--all", "--name").split()
    vm.make("up")
    vm.make("delete-all")


def session(leader: int) -> dict[int, str]:
    """Return the processes of a session, oldest first: which program each is, or is the way to."""
    found = {}
    for path in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        with suppress(OSError):  # it has just ended
            if int((path / "stat").read_text().rpartition(")")[2].split()[3]) == leader:
                words = (path / "cmdline").read_text().split("\0")
                programs = [Path(word).name for word in words if Path(word).name in ("virsh", "sleep")]
                found[int(path.name)] = next(iter(programs), words[0])
    return found


def test_another_definition_is_asked_for_anew(
    unchanged_libvirt: None, image: Path, recorder: Recorder, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    vm = generate(seeded(image), base)["web"]
    vm.make("up")
    generate(seeded(image).replace("memory: 64", "memory: 80"), base)
    assert made(up(vm, recorder)) == 1
    assert "<memory unit='KiB'>81920<" in virsh("dumpxml", "web")
    generate(seeded(image).replace("qemu:///system", "qemu+unix:///system"), base)
    assert made(up(vm, recorder)) == 1, "another node"
    vm.make("delete-all")


def test_another_seed_changes_the_mark_alone(
    unchanged_libvirt: None, image: Path, recorder: Recorder, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    vm = generate(seeded(image), base)["web"]
    vm.make("up")
    generate(seeded(image, hostname="other"), base)
    assert "the cloud-init seed has changed" in vm.make("up").stderr
    assert made(up(vm, recorder)) == 0
    assert vm.make("up").stderr == "web: is running\n"
    assert made(up(vm, recorder)) == 0
    vm.make("delete-all")


@pytest.mark.parametrize("harm", ["cut", "edited", "empty", "without its sum", "an empty sum"])
def test_a_domain_xml_that_is_not_as_it_was_made_is_made_anew(
    unchanged_libvirt: None, image: Path, recorder: Recorder, tmp_path: Path, harm: str
) -> None:
    vm = generate(seeded(image), tmp_path / "base")["web"]
    vm.make("up", "down")
    path, stamp = vm.directory / "domain.xml", vm.directory / "domain.xml.sum"
    text = path.read_text()
    match harm:
        case "cut":
            path.write_text(text[: len(text) // 2])
        case "edited":
            path.write_text(text.replace("<vcpu>1<", "<vcpu>2<"))
        case "empty":
            path.write_text("")
        case "without its sum":
            stamp.unlink()
        case "an empty sum":
            stamp.write_text("")
    assert made(up(vm, recorder)) == 1
    assert path.read_text() == text
    assert virsh("vcpucount", "--config", "--maximum", "web").strip() == "1"
    vm.make("delete-all")


def test_after_a_domain_that_cannot_start_virt_install_is_asked_again(
    unchanged_libvirt: None, image: Path, recorder: Recorder, tmp_path: Path
) -> None:
    vm = generate(seeded(image), tmp_path / "base")["web"]
    vm.make("up", "down")
    found = re.search("<emulator>(.*)<", (vm.directory / "domain.xml").read_text())
    assert found
    subprocess.run(["mount", "--bind", "/bin/false", found[1]], check=True)  # in the lab's own namespace
    try:
        assert vm.make("up", check=False).returncode != 0
    finally:
        subprocess.run(["umount", found[1]], check=True)
    assert made(up(vm, recorder)) == 1
    assert domain_state() == "running"
    vm.make("delete-all")


def test_a_volume_at_another_path_is_found_again(
    unchanged_libvirt: None, image: Path, recorder: Recorder, tmp_path: Path
) -> None:
    elsewhere = Path("/var/lib/libvirt/elsewhere")
    elsewhere.mkdir()
    vms = SEEDED.format(hostname="web").replace('vol: "web/seed.iso"', 'vol: "default/deaf.qcow2"')
    vm = generate(blank(image, vms), tmp_path / "base")["web"]
    vm.make("up", "down", "delete-all")
    try:
        virsh("pool-destroy", "default")
        virsh("pool-undefine", "default")
        virsh("pool-define-as", "default", "dir", "--target", str(elsewhere))
        virsh("pool-start", "default")
        assert made(up(vm, recorder)) == 1
        assert str(elsewhere / "deaf.qcow2") in virsh("domblklist", "web")
        vm.make("delete-all")
    finally:
        virsh("pool-destroy", "default")
        virsh("pool-undefine", "default")
        virsh("pool-define-as", "default", "dir", "--target", "/var/lib/libvirt/images")
        virsh("pool-start", "default")
        shutil.rmtree(elsewhere)


@pytest.mark.parametrize("disk", ["path=/var/lib/libvirt/images/extra.raw", "vol=default/extra.raw"])
def test_what_libvirt_alone_knows_is_asked_for_each_time(
    default_pool: None, image: Path, recorder: Recorder, tmp_path: Path, disk: str
) -> None:
    key, _, value = disk.partition("=")
    options = f'disk: [{{name: extra, options: {{{key}: "{value}"}}}}]'
    vms = f"  - {{name: web, template: blank, libvirt: {{domain: {{virtInstall: {{{options}}}}}}}}}\n"
    virsh("vol-create-as", "default", "extra.raw", "1M", "--format", "raw")
    vm = generate(blank(image, vms), tmp_path / "base")["web"]
    vm.make("up")
    virsh("vol-delete", "extra.raw", "default")
    virsh("vol-create-as", "default", "extra.raw", "1M", "--format", "qcow2")
    assert made(up(vm, recorder)) == 1
    assert len(re.findall("type='qcow2'", virsh("dumpxml", "--inactive", "web"))) == 2
    vm.make("delete-all")
    virsh("vol-delete", "extra.raw", "default")


OLDER = """#!/usr/bin/python3 -I
import sys
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
from between import Between
between = Between(sys.argv[1:])
def judge(line, words):
    if words[0] == "undefine":
        return line.replace(b"'--tpm'", b"'--no-such-option'")
    if words[0] == "help":  # of 7.0, which knows no TPM state
        return line.replace(b"'help' 'undefine'", b"'echo' 'it knows --managed-save --nvram'")
    return line
sys.exit(between.converse(judge))
"""


def test_an_older_virsh_without_an_option_of_undefine_is_fine(
    unchanged_libvirt: None, image: Path, tmp_path: Path
) -> None:
    vm = generate(seeded(image), tmp_path / "base")["web"]
    vm.make("up")
    directory = tmp_path / "older"
    directory.mkdir()
    older = directory / "virsh"
    older.write_text(OLDER)
    (directory / "between.py").write_bytes(Path(between.__file__).read_bytes())
    older.chmod(0o755)
    vm.make("down", environment={"PATH": f"{directory}:{ENVIRONMENT['PATH']}"})
    assert domain_state() == "gone"
    vm.make("delete-all")


def test_a_sparse_file_stays_sparse_in_its_volume(unchanged_libvirt: None, tmp_path: Path) -> None:
    image = tmp_path / "sparse.raw"
    with image.open("wb") as stream:
        stream.truncate(256 << 20)
        stream.seek(100 << 20)
        stream.write(b"data" * 1000)
    registry = blank(image).replace("volumeName: sparse.raw", "volumeName: sparse.raw\n        format: raw")
    base = tmp_path / "base"
    vm = generate(registry.replace("backingVolume: {", "backingVolume: {format: raw, "), base)["web"]
    images = base / "images of all"
    images.mkdir()
    subprocess.run(["cp", "--sparse=always", image, images / image.name], check=True)
    vm.make("up")
    volume = Path("/var/lib/libvirt/images/sparse.raw")
    assert volume.read_bytes() == image.read_bytes()
    assert volume.stat().st_blocks * 512 < 2 << 20
    vm.make("delete-all")


@pytest.mark.usefixtures("unchanged_libvirt")
@pytest.mark.parametrize("text", ["a, b; 'c' \"d\" \\ <&> ö", "a=b, c=\"d, e\"; 'f' \\ <&> ö"])
def test_what_xml_sets_reaches_libvirt_as_it_is(image: Path, base: Path, text: str) -> None:
    xml = [{"name": "text", "options": {"./title": "t", "./description": text}}]
    web = {"name": "web", "template": "blank", "libvirt": {"domain": {"virtInstall": {"xml": xml}}}}
    vm = generate(blank(image, f"  - {json.dumps(web)}\n"), base)["web"]
    vm.make("create")
    domain = ElementTree.fromstring(virsh("dumpxml", "web"))
    assert domain.findtext("description") == text
    assert domain.findtext("title") == "t"
    vm.make("delete-all", "clean-all")

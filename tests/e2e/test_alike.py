"""VMs of a fleet that are alike take virt-install's answer from each other, and get what it would have told them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from blank import blank, blank_image
from recorders import Recorder
from world import Vm, generate, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

ALIKE = """
    template: blank
    libvirt:
      domain:
        virtInstall:
          network:
            - {name: default, options: {network: default}}
            - {name: second, options: {network: default, model: e1000}}
          disk:
            - {name: seed, options: {vol: "{VM_NAME}/{VM_NAME}-seed.iso", bus: sata, device: cdrom}}
            - {name: data, options: {vol: "{VM_NAME}/data", bus: virtio}}
      volumes:
        - {name: "{VM_NAME}-seed.iso", poolName: "{VM_NAME}", format: raw, uploadFile: {path: seed.iso}}
        - {name: data, poolName: "{VM_NAME}", format: raw, capacity: 1MiB}
    cloudInit: {noCloud: {seed: {path: seed.iso}, data: {user-data: {hostname: "{VM_NAME}"}}}}
"""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return blank_image(tmp_path, "deaf")


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path / "recorder")


def alike(image: Path, vms: Mapping[str, str]) -> str:
    """Return a registry of VMs that are alike but for what is put over it."""
    own = "".join(f"  - name: {json.dumps(name)}\n    template: alike\n{more}" for name, more in vms.items())
    shared = blank(image, "").replace("\nvms:\n", f"\n  - name: alike{ALIKE}vms:\n")
    return shared + own


def asked(fleet: Vm, recorder: Recorder, *arguments: str) -> list[str]:
    """Bring all up, and return the names of those that have asked virt-install."""
    fleet.make("up", *arguments, environment=recorder.environment)
    calls = [call.arguments for call in recorder.take() if call.command == "virt-install"]
    return sorted(word.removeprefix("--name=") for call in calls for word in call if word.startswith("--name="))


def remove(fleet: Vm) -> None:
    """Remove what `down` keeps: the image in the pool `default`."""
    fleet.make("down")
    virsh("vol-delete", "--pool", "default", "--vol", "deaf.qcow2")


def test_two_ask_virt_install_and_the_others_get_what_it_would_say(
    image: Path, recorder: Recorder, tmp_path: Path
) -> None:
    names = ["web-1", "web-2", "web-3", "db", "a"]
    vms = generate(alike(image, dict.fromkeys(names, "")), tmp_path / "base", "--fleet")
    fleet = Vm(tmp_path / "base")
    assert asked(fleet, recorder) == ["web-1", "web-2"]
    taken = {name: (vms[name].directory / "domain.xml").read_text() for name in names}
    assert len(set(taken.values())) == len(names)
    fleet.make("down")
    for name in names:
        (vms[name].directory / "domain.xml.sum").unlink()
    for name in names:  # each for itself
        vms[name].make("up", environment=recorder.environment)
        assert [call.command for call in recorder.take()].count("virt-install") == 1
        assert (vms[name].directory / "domain.xml").read_text() == taken[name]
    remove(fleet)


DIFFERENT = {
    "memory": "    libvirt: {domain: {virtInstall: {memory: 65}}}\n",
    "mac": "    libvirt: {domain: {virtInstall: {network: [{name: default, options: {mac: 52:00:00:00:00:01}}]}}}\n",
    "title": '    libvirt: {domain: {virtInstall: {metadata: "title={VM_NAME}"}}}\n',
    "bus": "    libvirt: {domain: {virtInstall: {disk: [{name: data, options: {bus: sata}}]}}}\n",
    "password": "    libvirt: {domain: {virtInstall: {graphics: [{name: v, options: {type: vnc, passwd: s3cret}}]}}}\n",
    "pool": """\
    libvirt:
      domain: {virtInstall: {disk: [{name: data, options: {vol: default/data}}]}}
      volumes: [{name: data, poolName: default}]
""",
    "model": "    libvirt: {domain: {virtInstall: {network: [{name: default, options: {model: virtio}}]}}}\n",
    "named <&> #1": "",
    "file": "    libvirt: {volumes: [{name: data, capacity: null, uploadFile: {path: user.data}}]}\n",
}


def test_who_differs_asks_for_itself(image: Path, recorder: Recorder, tmp_path: Path) -> None:
    names = {"a": "", "b": "", "c": "", **DIFFERENT}
    vms = generate(alike(image, names), tmp_path / "base", "--fleet")
    (vms["file"].directory / "user.data").write_bytes(bytes(4096))
    fleet = Vm(tmp_path / "base")
    assert asked(fleet, recorder) == sorted({"a", "b", *DIFFERENT} - {"file", "named <&> #1"})
    assert "<title>title</title>" in (vms["title"].directory / "domain.xml").read_text()
    remove(fleet)


def test_what_the_answer_tells_of_each_vm_is_taken_by_nobody(image: Path, recorder: Recorder, tmp_path: Path) -> None:
    """virt-install draws a MAC address itself where the registry leaves it to it."""
    names = ["a", "b", "c", "d"]
    head, _, tail = alike(image, dict.fromkeys(names, "")).rpartition("          network:\n")
    text = f'{head}          network: "network=default,mac=RANDOM"\n{tail[tail.index("          disk:") :]}'
    vms = generate(text, tmp_path / "base", "--fleet")
    fleet = Vm(tmp_path / "base")
    assert asked(fleet, recorder) == ["a", "b", "c", "d"]
    macs = {
        line
        for name in names
        for line in (vms[name].directory / "domain.xml").read_text().splitlines()
        if "<mac address" in line
    }
    assert len(macs) == 4
    remove(fleet)


def test_a_volume_that_was_there_before_may_be_another_one(image: Path, recorder: Recorder, tmp_path: Path) -> None:
    names = dict.fromkeys(["a", "b", "c", "d"], "")
    text = alike(image, names).replace("capacity: 1MiB}", "capacity: 1MiB, deletionPolicy: Retain}")
    vms = generate(text, tmp_path / "base", "--fleet")
    fleet = Vm(tmp_path / "base")
    assert asked(fleet, recorder) == ["a", "b"]
    fleet.make("down")
    for name in names:
        vms[name].make("clean-all")
    virsh("vol-delete --pool d data; vol-create-as d data 1MiB --format qcow2")
    assert asked(fleet, recorder) == ["a", "b", "d"], "c has a volume as a and b have"
    fleet.make("down")
    for name in names:
        vms[name].make("delete-all")

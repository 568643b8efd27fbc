"""Config drives: every tool makes the same ones, a guest's volume has them, and a change of one gets there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blank import blank, blank_image
from changing import Changing
from guest_registries import cloud
from isos import files_on, having, label_of
from world import domain_state, generate, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

TOOLS = ["xorriso", "genisoimage", "mkisofs"]
MOST = "n" * 64
KICKSTART = "text\nrootpw --plaintext 'p=\"w\"'\n"
ANSWERS: dict[str, Any] = {
    "name": "answers",
    "path": "of=it/ks 1.iso",
    "label": "OEMDRV",
    "files": {
        "ks.cfg": KICKSTART,
        "deep/er/-x=y z": "no newline",
        "1/2/3/4/5/6/7/8": "deepest\n",
        MOST: "longest\n",
        "answers.json": {"a": [1, True]},
    },
}
OTHER = {"path": "combustion.iso", "label": "combustion", "files": {"combustion/script": "#!/bin/sh\n"}}
CONTENT = {
    "ks.cfg": KICKSTART.encode(),
    "deep/er/-x=y z": b"no newline",
    "1/2/3/4/5/6/7/8": b"deepest\n",
    MOST: b"longest\n",
    "answers.json": json.dumps({"a": [1, True]}, indent=2).encode() + b"\n",
}


@pytest.fixture
def web(blank_images: Path, base: Path) -> Iterator[Changing]:
    """A VM with two config drives and a seed, each a read-only disk of it."""
    web = Changing(blank(blank_image(blank_images, "deaf")), base)
    template = web.registry["templates"][0]
    template["configDrives"] = [json.loads(json.dumps(ANSWERS)), json.loads(json.dumps(OTHER))]
    data = {"user-data": {"hostname": "web"}, "meta-data": {"instance-id": "web"}}
    template["cloudInit"] = {"noCloud": {"seed": {"path": "seed.iso"}, "data": data}}
    for name, path in (("answers", ANSWERS["path"]), ("combustion", OTHER["path"]), ("seed", "seed.iso")):
        web.libvirt["volumes"].append(
            {"name": f"{name}.iso", "poolName": "{VM_NAME}", "format": "raw", "uploadFile": {"path": path}}
        )
        options = {"vol": f"{{VM_NAME}}/{name}.iso", "bus": "virtio", "readonly": "on"}
        web.options["disk"].append({"name": name, "options": options})
    web.write()
    yield web
    web.vm.make("kill", check=False)
    web.vm.make("delete-all", check=False)


def volume(name: str, directory: Path) -> Path:
    """Return a copy of a volume of the pool `web`."""
    target = directory / f"downloaded-{name}"
    virsh("vol-download", "--pool", "web", name, str(target))
    return target


def joliet(iso: Path) -> list[str]:
    """Return the names that Windows sees."""
    words = ["bsdtar", "-t", "-f", str(iso), "--options", "iso9660:!rockridge"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_makes_drives_with_the_same_files_and_label(web: Changing, tool: str, tmp_path: Path) -> None:
    said = web.vm.make("build", environment=having(tmp_path / "bin", tool)).stderr
    assert all(f"made {name}\n" in said for name in ("of=it/ks 1.iso", "combustion.iso", "seed.iso"))
    drive = web.vm.directory / "of=it/ks 1.iso"
    assert files_on(drive) == CONTENT
    assert set(CONTENT) <= set(joliet(drive))
    assert label_of(drive) == "OEMDRV" and label_of(web.vm.directory / "combustion.iso") == "combustion"
    assert files_on(web.vm.directory / "combustion.iso") == {"combustion/script": b"#!/bin/sh\n"}
    assert label_of(web.vm.directory / "seed.iso") == "cidata"
    secret = [path for path in web.vm.directory.rglob("*") if path.is_file() and (".iso" in str(path))]
    assert len(secret) == 3 * 2 + 5 + 1 + 2
    assert {path.stat().st_mode & 0o777 for path in secret} == {0o600}


def test_labels_and_names_at_the_limit_reach_linux_and_windows_whole(web: Changing, tmp_path: Path) -> None:
    path = "/".join(["d" * 30] * 2) + "/" + "f" * 58
    assert len(path) == 120
    label = " !\"#$%&'()+,-.0123456789<=>@[]^_`"[1:33]
    assert len(label) == 32
    drive = {"path": "limits.iso", "label": label, "files": {path: "far\n", "README": "1", "readme": "2"}}
    web.change(lambda web: web.registry["templates"][0].update(configDrives=[drive]))
    web.libvirt["volumes"] = web.libvirt["volumes"][:2]
    web.options["disk"] = web.options["disk"][:1]
    web.write()
    for tool in TOOLS:
        web.vm.make("clean", "build", environment=having(tmp_path / tool, tool))
        iso = web.vm.directory / "limits.iso"
        assert label_of(iso) == label
        assert files_on(iso) == {path: b"far\n", "README": b"1", "readme": b"2"}
        assert {path, "README", "readme"} <= set(joliet(iso)), tool


def test_cloud_localds_cannot_make_a_drive_and_the_tools_that_can_are_named(web: Changing, tmp_path: Path) -> None:
    environment = having(tmp_path / "bin")
    (tmp_path / "bin/cloud-localds").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin/cloud-localds").chmod(0o755)
    refused = web.vm.make("up", check=False, environment=environment)
    message = "genisoimage or xorriso or mkisofs is not installed; it is needed to make the config drive of=it/ks 1.iso"
    assert message in refused.stderr
    assert "web" not in virsh("pool-list", "--all", "--name").split()


def test_volumes_have_the_drives_and_what_is_up_stays_as_it_is(web: Changing, tmp_path: Path) -> None:
    web.vm.make("up")
    assert files_on(volume("answers.iso", tmp_path)) == CONTENT
    assert files_on(volume("combustion.iso", tmp_path)) == {"combustion/script": b"#!/bin/sh\n"}
    assert set(files_on(volume("seed.iso", tmp_path))) == {"user-data", "meta-data"}
    assert web.diff() == (0, [])
    assert web.vm.make("up").stderr == "web: is running\n"
    record = virsh("dumpxml", "web")
    assert "rootpw" not in record and "plaintext" not in record
    web.vm.make("clean")
    assert not [path for path in web.vm.directory.rglob("*.iso*") if path.is_file() and ".iso.d" not in str(path)]
    assert web.vm.make("up").stderr == "web: is running\n"
    assert web.diff() == (0, [])


def test_the_volume_of_a_drive_is_made_anew_with_each_domain(web: Changing, tmp_path: Path) -> None:
    web.vm.make("up")
    web.vm.make("kill", "delete/domain")
    (web.vm.directory / "of=it/ks 1.iso.d/ks.cfg").write_text("other\n")
    web.vm.make("up")
    assert files_on(volume("answers.iso", tmp_path))["ks.cfg"] == b"other\n"


def test_a_changed_drive_is_told_and_replaced_and_the_others_stay(web: Changing, tmp_path: Path) -> None:
    web.vm.make("create")
    before = [Path(f"/var/lib/libvirt/images/web/{name}.iso").stat().st_ino for name in ("combustion", "seed")]
    drive = web.registry["templates"][0]["configDrives"][0]
    drive["files"] = {**drive["files"], "ks.cfg": "graphical\n", "new": "x"}
    del drive["files"]["answers.json"]
    drive["label"] = "OTHER"
    web.write()
    line = "config drive of=it/ks 1.iso: the label changed, answers.json removed, ks.cfg changed, new added"
    assert web.diff() == (1, [f"{line} now"])
    assert "the config drive of=it/ks 1.iso has changed since the domain was made" in web.vm.make("create").stderr
    said = web.apply()
    assert said[-1] == "replaced the config drive of=it/ks 1.iso: the guest gets it at its next start"
    assert not any("seed" in text for text in said)
    found = files_on(volume("answers.iso", tmp_path))
    assert found["ks.cfg"] == b"graphical\n" and found["new"] == b"x" and "answers.json" not in found
    assert label_of(volume("answers.iso", tmp_path)) == "OTHER"
    after = [Path(f"/var/lib/libvirt/images/web/{name}.iso").stat().st_ino for name in ("combustion", "seed")]
    assert before == after
    assert web.diff() == (0, []) and web.apply() == ["is as the directory says"]


def test_a_volume_that_is_to_be_filled_from_another_drive_needs_to_be_made_anew(web: Changing) -> None:
    web.vm.make("create")
    one, other = web.libvirt["volumes"][-3:-1]
    one["uploadFile"], other["uploadFile"] = other["uploadFile"], one["uploadFile"]
    web.write()
    assert web.diff()[1] == [
        "volume web/answers.iso: filled from of=it/ks 1.iso → combustion.iso needs down up",
        "volume web/combustion.iso: filled from combustion.iso → of=it/ks 1.iso needs down up",
    ]


def test_an_apply_that_died_between_deleting_and_filling_a_drive_is_gone_on_with(web: Changing, tmp_path: Path) -> None:
    web.vm.make("create")
    web.registry["templates"][0]["configDrives"][1]["files"]["combustion/script"] = "#!/bin/bash\n"
    web.write()
    virsh("vol-delete", "--pool", "web", "combustion.iso")
    assert "config drive combustion.iso: combustion/script changed now" in web.diff()[1]
    said = web.apply()
    assert said.count("created volume web/combustion.iso") == 1
    assert files_on(volume("combustion.iso", tmp_path)) == {"combustion/script": b"#!/bin/bash\n"}
    assert web.diff() == (0, [])


def test_a_drive_that_somebody_else_uses_is_not_replaced(web: Changing) -> None:
    web.vm.make("create")
    other = """<domain type='qemu'><name>other</name><memory>65536</memory><os><type>hvm</type></os><devices>
        <disk type='file'><source file='/var/lib/libvirt/images/web/combustion.iso'/><target dev='vda' bus='virtio'/>
        <readonly/></disk></devices></domain>"""
    (web.base / "other.xml").write_text(other)
    virsh("define", str(web.base / "other.xml"))
    web.registry["templates"][0]["configDrives"][1]["files"]["combustion/script"] = "#!/bin/bash\n"
    web.write()
    refused = web.vm.make("apply", check=False)
    virsh("undefine", "other")
    assert refused.returncode == 2 and "volume web/combustion.iso is used by" in refused.stderr
    web.apply()
    assert web.diff() == (0, [])


def test_a_running_guest_gets_a_changed_drive_and_seed_at_its_next_start(web: Changing, tmp_path: Path) -> None:
    web.vm.make("up")
    template = web.registry["templates"][0]
    template["configDrives"][1]["files"]["combustion/script"] = "#!/bin/bash\n"
    template["cloudInit"]["noCloud"]["data"]["user-data"]["hostname"] = "other"
    web.write()
    lines = ["seed: user-data changed", "config drive combustion.iso: combustion/script changed"]
    assert web.diff() == (1, [f"{line} at the next start" for line in lines])
    stale = "the cloud-init seed and the config drive combustion.iso have changed since the domain was made"
    assert stale in web.vm.make("up").stderr
    said = web.apply()
    assert "replaced the config drive combustion.iso: the guest gets it at its next start" in said
    assert any(text.startswith("replaced the seed: ") for text in said)
    waiting = web.vm.make("diff").stderr
    assert "waits for the next start: seed: user-data\n" in waiting
    assert "waits for the next start: config drive combustion.iso: combustion/script\n" in waiting
    web.vm.make("restart")
    assert web.vm.make("diff").stderr == "web: is as the directory says\n"
    assert files_on(volume("combustion.iso", tmp_path)) == {"combustion/script": b"#!/bin/bash\n"}


def test_a_drive_is_added_moved_and_removed_without_a_disk_being_lost(web: Changing, tmp_path: Path) -> None:
    web.vm.make("create")
    drives = web.registry["templates"][0]["configDrives"]
    drives.append({"path": "new.iso", "label": "NEW", "files": {"a": "a"}})
    new = {"name": "new.iso", "poolName": "{VM_NAME}", "format": "raw", "uploadFile": {"path": "new.iso"}}
    web.libvirt["volumes"].append(new)
    web.write()
    assert web.diff()[1] == ["volume web/new.iso: added now", "config drive new.iso: added now"]
    web.apply()
    assert files_on(volume("new.iso", tmp_path)) == {"a": b"a"}
    assert web.diff() == (0, [])
    drives[-1]["path"] = new["uploadFile"]["path"] = "moved.iso"  # type: ignore[index]
    web.write()
    code, lines = web.diff()
    assert code == 1 and "config drive moved.iso: added now" in lines
    assert "config drive new.iso: has left the definition now" in lines
    web.apply()
    assert web.diff() == (0, [])
    drives.pop()
    web.libvirt["volumes"].pop()
    web.write()
    assert "config drive moved.iso: has left the definition now" in web.diff()[1]
    web.apply()
    assert web.diff() == (0, [])
    virsh("vol-delete", "--pool", "web", "new.iso")


FAULTS = {
    "fails": "echo 'no space left' >&2; exit 3",
    "dies with half an image": 'for f; do case $f in *.iso.tmp) printf half >"$f" ;; esac; done; kill -9 $$',
    "makes nothing and says that all is well": "exit 0",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_tool_that_fails_leaves_no_drive_and_no_volume(web: Changing, fault: str, tmp_path: Path) -> None:
    environment = having(tmp_path / "bin")
    (tmp_path / "bin/genisoimage").write_text(f"#!/bin/sh\n{FAULTS[fault]}\n")
    (tmp_path / "bin/genisoimage").chmod(0o755)
    web.registry["templates"][0].pop("cloudInit")
    web.libvirt["volumes"].pop()
    web.options["disk"].pop()
    web.write()
    refused = web.vm.make("up", check=False, environment=environment)
    assert refused.returncode == 2 and "could not make of=it/ks 1.iso" in refused.stderr, refused.stderr
    assert domain_state() == "gone" and ".iso" not in virsh("vol-list", "web")
    assert not [path for path in web.vm.directory.rglob("*.iso*") if path.is_file() and ".iso.d" not in str(path)]
    web.vm.make("up")
    assert files_on(volume("answers.iso", tmp_path)) == CONTENT


def test_a_guest_reads_a_drive(tiny_disk: Path, ssh_key: Path, base: Path) -> None:
    entry = """
  - name: web
    template: cloud
    configDrives:
      - {path: ks.iso, label: OEMDRV, files: {ks.cfg: "text\\n", deep/er/file: deep}}
    libvirt:
      domain:
        virtInstall:
          disk:
            - name: answers
              options: {vol: web/ks.iso, bus: virtio, readonly: "on"}
      volumes:
        - {name: ks.iso, poolName: web, format: raw, uploadFile: {path: ks.iso}}
"""
    vm = generate(cloud(tiny_disk, ssh_key, entry), base)["web"]
    vm.make("up")
    vm.make("wait-for-ready", timeout=200)
    with vm.console() as console:
        console.expect("# ", timeout=60, nudge="\n")
        console.send("mount -o ro -t iso9660 /dev/vdc /mnt && cat /mnt/ks.cfg /mnt/deep/er/file\n")
        console.expect(r"text\s+deep", timeout=30)
        console.send("dd if=/dev/vdc bs=1 skip=32808 count=6 2>/dev/null\n")
        console.expect("^OEMDRV", timeout=30)
        console.send("\x1d")
        assert console.wait() == 0
    vm.make("delete-all")

"""The examples: they compile, their images are where the table says, and libvirt takes every VM."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pytest
import yaml
from click.testing import CliRunner

from vmp.cli import program
from vmp.keys import judge_keys
from vmp.provisioners.v1alpha1.runtime.openpgp import dearmored, expiries

EXAMPLES = Path(__file__).parent.parent / "examples"
REGISTRY = EXAMPLES / "advanced" / "registry"
VMP = [sys.executable, "-m", "vmp"]


class Expected(NamedTuple):
    url: str
    checksum: str  # algorithm and the sums file: a name next to the image, or the image's own name with this suffix
    volume: str
    user: str
    format: str = "qcow2"


class Signed(NamedTuple):
    suffix: str  # of the signature's name, after that of what is signed
    keys: str
    fingerprints: tuple[str, ...]
    of: str = "sums"


FEDORA_KEYS = (
    "115DF9AEF857853EE8445D0A0727707EA15B79CC",  # 40
    "466CF2D8B60BC3057AA9453ED0622462E99D6AD1",
    "B0F4950458F69E1150C6C5EDC8AC4916105EF944",
    "C6E7F081CF80E13146676E88829B606631645531",
    "36F612DCF27F7D1A48A835E4DBFCF71C6D9F90A6",
    "4F50A6114CD5C6976A7F1179655A4B02F577861E",
    "D924B10D3E810DABDD8B56B596E7E91491211FCE",  # 46
)
ALMALINUX_KEYS = (
    "BC5EDDCADF502C077F1582882AE81E8ACED7258B",  # 8
    "BF18AC2876178908D6E71267D36CB86CB86B3716",
    "EE6DB7B98F5BF5EDD9DA0DE5DEE5C11CC2A1E572",
)
SIGNATURES = {
    "almalinux-cloud": Signed(".asc", "almalinux", ALMALINUX_KEYS),
    "arch-iso": Signed(".sig", "arch-iso", ("3E80CA1A8B89F69CBA57D98A76A5EF9054449A5C",), "image"),
    "debian-live": Signed(".sign", "debian-cd", ("DF9B9C49EAA9298432589D76DA87E80D6294BE9B",)),
    "fedora-cloud": Signed("", "fedora", FEDORA_KEYS),  # clearsigned
    "fedora-workstation": Signed("", "fedora", FEDORA_KEYS),
    "ubuntu-cloud": Signed(".gpg", "ubuntu-cloud", ("D2EB44626FDDC30B513D5BB71A5D6C4C7DB87C81",)),
    "ubuntu-desktop": Signed(".gpg", "ubuntu-cdimage", ("843938DF228D22F7B3742BC0D94AA3F0EFE21092",)),
}
"""The images that are verified, by whose key."""

ALPINE = "https://dl-cdn.alpinelinux.org/alpine"
FEDORA = "https://download.fedoraproject.org/pub/fedora/linux/releases"
FEDORA_ARCHIVE = "https://archives.fedoraproject.org/pub/archive/fedora/linux/releases"
IMAGES = {
    "alpine-virt:3.22.2": Expected(
        f"{ALPINE}/v3.22/releases/x86_64/alpine-virt-3.22.2-x86_64.iso",
        "sha256 +.sha256",
        "alpine-virt-3.22.2-x86_64.iso",
        "root",
        "raw",
    ),
    "alpine-cloud:3.22.4-bios": Expected(
        f"{ALPINE}/v3.22/releases/cloud/nocloud_alpine-3.22.4-x86_64-bios-cloudinit-r0.qcow2",
        "sha512 +.sha512",
        "alpine-3.22.4-x86_64-bios-cloudinit-r0.qcow2",
        "alpine",
    ),
    "alpine-cloud:3.22.4-uefi": Expected(
        f"{ALPINE}/v3.22/releases/cloud/nocloud_alpine-3.22.4-x86_64-uefi-cloudinit-r0.qcow2",
        "sha512 +.sha512",
        "alpine-3.22.4-x86_64-uefi-cloudinit-r0.qcow2",
        "alpine",
    ),
    "arch-iso": Expected(
        "https://geo.mirror.pkgbuild.com/iso/latest/archlinux-x86_64.iso",
        "sha256 sha256sums.txt",
        "archlinux-latest-x86_64.iso",
        "root",
        "raw",
    ),
    "arch-iso:2025.09.01": Expected(
        "https://geo.mirror.pkgbuild.com/iso/2025.09.01/archlinux-2025.09.01-x86_64.iso",
        "sha256 sha256sums.txt",
        "archlinux-2025.09.01-x86_64.iso",
        "root",
        "raw",
    ),
    "arch-cloud:latest": Expected(
        "https://geo.mirror.pkgbuild.com/images/latest/Arch-Linux-x86_64-cloudimg.qcow2",
        "sha256 +.SHA256",
        "arch-cloudimg-latest-x86_64.qcow2",
        "arch",
    ),
    "arch-cloud:20260901.583572": Expected(
        "https://geo.mirror.pkgbuild.com/images/v20260901.583572/Arch-Linux-x86_64-cloudimg.qcow2",
        "sha256 +.SHA256",
        "arch-cloudimg-20260901.583572-x86_64.qcow2",
        "arch",
    ),
    "debian-cloud:13": Expected(
        "https://cloud.debian.org/images/cloud/trixie/latest/debian-13-generic-amd64.qcow2",
        "sha512 SHA512SUMS",
        "debian-13-generic-amd64-latest.qcow2",
        "debian",
    ),
    "debian-cloud:trixie-20260712-2537": Expected(
        "https://cloud.debian.org/images/cloud/trixie/20260712-2537/debian-13-generic-amd64-20260712-2537.qcow2",
        "sha512 SHA512SUMS",
        "debian-13-generic-amd64-20260712-2537.qcow2",
        "debian",
    ),
    "debian-cloud:bookworm": Expected(
        "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-generic-amd64.qcow2",
        "sha512 SHA512SUMS",
        "debian-12-generic-amd64-latest.qcow2",
        "debian",
    ),
    "debian-cloud:12-20260923-2610": Expected(
        "https://cloud.debian.org/images/cloud/bookworm/20260923-2610/debian-12-generic-amd64-20260923-2610.qcow2",
        "sha512 SHA512SUMS",
        "debian-12-generic-amd64-20260923-2610.qcow2",
        "debian",
    ),
    "debian-live:13.7.0-gnome": Expected(
        "https://cdimage.debian.org/debian-cd/13.7.0-live/amd64/iso-hybrid/debian-live-13.7.0-amd64-gnome.iso",
        "sha256 SHA256SUMS",
        "debian-live-13.7.0-amd64-gnome.iso",
        "user",
        "raw",
    ),
    "fedora-cloud:44-1.7": Expected(
        f"{FEDORA}/44/Cloud/x86_64/images/Fedora-Cloud-Base-Generic-44-1.7.x86_64.qcow2",
        "sha256 Fedora-Cloud-44-1.7-x86_64-CHECKSUM",
        "Fedora-Cloud-Base-Generic-44-1.7.x86_64.qcow2",
        "fedora",
    ),
    "fedora-cloud:41-1.4-archived": Expected(
        f"{FEDORA_ARCHIVE}/41/Cloud/x86_64/images/Fedora-Cloud-Base-Generic-41-1.4.x86_64.qcow2",
        "sha256 Fedora-Cloud-41-1.4-x86_64-CHECKSUM",
        "Fedora-Cloud-Base-Generic-41-1.4.x86_64.qcow2",
        "fedora",
    ),
    "fedora-cloud:40-1.14-archived": Expected(
        f"{FEDORA_ARCHIVE}/40/Cloud/x86_64/images/Fedora-Cloud-Base-Generic.x86_64-40-1.14.qcow2",
        "sha256 Fedora-Cloud-40-1.14-x86_64-CHECKSUM",
        "Fedora-Cloud-Base-Generic-40-1.14.x86_64.qcow2",
        "fedora",
    ),
    "fedora-workstation:44-1.7": Expected(
        f"{FEDORA}/44/Workstation/x86_64/iso/Fedora-Workstation-Live-44-1.7.x86_64.iso",
        "sha256 Fedora-Workstation-44-1.7-x86_64-CHECKSUM",
        "Fedora-Workstation-Live-44-1.7.x86_64.iso",
        "liveuser",
        "raw",
    ),
    "ubuntu-cloud:24.04": Expected(
        "https://cloud-images.ubuntu.com/releases/24.04/release/ubuntu-24.04-server-cloudimg-amd64.img",
        "sha256 SHA256SUMS",
        "ubuntu-24.04-server-cloudimg-amd64-latest.img",
        "ubuntu",
    ),
    "ubuntu-cloud:24.04-20250430": Expected(
        "https://cloud-images.ubuntu.com/releases/24.04/release-20250430/ubuntu-24.04-server-cloudimg-amd64.img",
        "sha256 SHA256SUMS",
        "ubuntu-24.04-server-cloudimg-amd64-20250430.img",
        "ubuntu",
    ),
    "ubuntu-cloud:noble": Expected(
        "https://cloud-images.ubuntu.com/noble/current/noble-server-cloudimg-amd64.img",
        "sha256 SHA256SUMS",
        "ubuntu-noble-server-cloudimg-amd64-daily-latest.img",
        "ubuntu",
    ),
    "ubuntu-desktop:24.04.3": Expected(
        "https://releases.ubuntu.com/24.04.3/ubuntu-24.04.3-desktop-amd64.iso",
        "sha256 SHA256SUMS",
        "ubuntu-24.04.3-desktop-amd64.iso",
        "ubuntu",
        "raw",
    ),
    "almalinux-cloud:10": Expected(
        "https://repo.almalinux.org/almalinux/10/cloud/x86_64/images/AlmaLinux-10-GenericCloud-latest.x86_64.qcow2",
        "sha256 CHECKSUM",
        "AlmaLinux-10-GenericCloud-latest.x86_64.qcow2",
        "almalinux",
    ),
    "almalinux-cloud:10.2-20260526.0": Expected(
        "https://repo.almalinux.org/almalinux/10.2/cloud/x86_64/images/"
        "AlmaLinux-10-GenericCloud-10.2-20260526.0.x86_64.qcow2",
        "sha256 CHECKSUM",
        "AlmaLinux-10-GenericCloud-10.2-20260526.0.x86_64.qcow2",
        "almalinux",
    ),
    "rocky-cloud:10": Expected(
        "https://dl.rockylinux.org/pub/rocky/10/images/x86_64/Rocky-10-GenericCloud-Base.latest.x86_64.qcow2",
        "sha256 +.CHECKSUM",
        "Rocky-10-GenericCloud-Base-latest.x86_64.qcow2",
        "rocky",
    ),
    "rocky-cloud:10.2-20260525.0": Expected(
        "https://dl.rockylinux.org/pub/rocky/10.2/images/x86_64/"
        "Rocky-10-GenericCloud-Base-10.2-20260525.0.x86_64.qcow2",
        "sha256 +.CHECKSUM",
        "Rocky-10-GenericCloud-Base-10.2-20260525.0.x86_64.qcow2",
        "rocky",
    ),
    "centos-stream-cloud:10": Expected(
        "https://cloud.centos.org/centos/10-stream/x86_64/images/CentOS-Stream-GenericCloud-10-latest.x86_64.qcow2",
        "sha256 +.SHA256SUM",
        "CentOS-Stream-GenericCloud-10-latest.x86_64.qcow2",
        "cloud-user",
    ),
    "centos-stream-cloud:10-20251103.0": Expected(
        "https://cloud.centos.org/centos/10-stream/x86_64/images/CentOS-Stream-GenericCloud-10-20251103.0.x86_64.qcow2",
        "sha256 +.SHA256SUM",
        "CentOS-Stream-GenericCloud-10-20251103.0.x86_64.qcow2",
        "cloud-user",
    ),
    "opensuse-leap-cloud:15.6": Expected(
        "https://download.opensuse.org/distribution/leap/15.6/appliances/"
        "openSUSE-Leap-15.6-Minimal-VM.x86_64-Cloud.qcow2",
        "sha256 +.sha256",
        "openSUSE-Leap-15.6-Minimal-VM.x86_64-Cloud-latest.qcow2",
        "opensuse",
    ),
    "opensuse-leap-cloud:16.0": Expected(
        "https://download.opensuse.org/distribution/leap/16.0/appliances/Leap-16.0-Minimal-VM.x86_64-Cloud.qcow2",
        "sha256 +.sha256",
        "openSUSE-Leap-16.0-Minimal-VM.x86_64-Cloud-latest.qcow2",
        "opensuse",
    ),
}
"""Every tag pattern of every image, by a reference that it matches."""


def run(*words: str | Path, cwd: Path | None = None, input: str | None = None) -> str:
    """Run a command that must succeed; return what it printed."""
    done = subprocess.run(words, cwd=cwd, input=input, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(map(str, words))}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def registry_entries(kind: str) -> dict[str, dict[str, Any]]:
    """Return the entries of a kind, such as templates, of the files of the advanced example, by name."""
    documents = [yaml.safe_load(path.read_text().replace("!raw ", "")) for path in REGISTRY.rglob("*.yaml")]
    return {entry["name"]: entry for document in documents for entry in document.get(kind, [])}


VMS = sorted(registry_entries("vms"))


@pytest.fixture(scope="module")
def configurations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return what `vmp config` prints: of each VM, and of a VM made for each image reference of the table."""
    more = tmp_path_factory.mktemp("more") / "references.yaml"
    vms = [{"name": f"image {reference}", "template": "live", "image": reference} for reference in IMAGES]
    more.write_text(yaml.safe_dump({"vms": vms}))
    found = {}
    for name in [*VMS, *(vm["name"] for vm in vms)]:
        done = CliRunner().invoke(program, ["-r", str(REGISTRY), "-r", str(more), "config", name])
        assert done.exit_code == 0, done.output
        found[name.removeprefix("image ")] = yaml.safe_load(done.stdout)
    return found


@pytest.fixture(scope="module")
def advanced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the advanced example in which `make gen` has run."""
    copy = tmp_path_factory.mktemp("advanced") / "advanced"
    shutil.copytree(EXAMPLES / "advanced", copy, ignore=shutil.ignore_patterns("out"))
    run("make", "-C", copy, "gen", f"VMP={' '.join(VMP)}")
    return copy


def test_the_basic_example_compiles_without_a_diagnostic(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "basic", tmp_path / "basic", ignore=shutil.ignore_patterns("vm1"))
    run(*VMP, "--registry", "registry.yaml", "check", cwd=tmp_path / "basic")
    run("make", "-C", tmp_path / "basic", "gen", f"VMP={' '.join(VMP)}")
    assert (tmp_path / "basic" / "vm1" / "Makefile").is_file()


def test_the_advanced_example_compiles_without_a_diagnostic(advanced: Path) -> None:
    run(*VMP, "--registry", REGISTRY, "check")
    assert sorted(path.name for path in (advanced / "out").iterdir()) == VMS


def test_the_cluster_example_compiles_without_a_diagnostic(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "cluster", tmp_path / "cluster", ignore=shutil.ignore_patterns("out"))
    run(*VMP, "--registry", EXAMPLES / "cluster/registry.yaml", "check")
    run("make", "-C", tmp_path / "cluster", "gen", f"VMP={' '.join(VMP)}")
    assert run("make", "-s", "-C", tmp_path / "cluster/out", "list").split() == ["node-1", "node-2", "node-3"]


@pytest.fixture(scope="module")
def installers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the example of installers in which `make gen` has run."""
    copy = tmp_path_factory.mktemp("installers") / "installers"
    shutil.copytree(EXAMPLES / "installers", copy, ignore=shutil.ignore_patterns("out"))
    run("make", "-C", copy, "gen", f"VMP={' '.join(VMP)}")
    return copy


INSTALLED = ["almalinux", "debian", "fedora", "ubuntu", "windows-11"]
READY_MADE = ["fedora-coreos", "flatcar", "leap-micro"]


def test_the_example_of_installers_compiles_without_a_diagnostic(installers: Path) -> None:
    run(*VMP, "--registry", EXAMPLES / "installers/registry", "check")
    assert sorted(path.name for path in (installers / "out").iterdir()) == sorted([*INSTALLED, *READY_MADE])


@pytest.mark.parametrize("name", ["fedora-coreos", "flatcar"])
def test_what_butane_is_given_is_what_ignition_gets(name: str) -> None:
    butane = yaml.safe_load((EXAMPLES / f"installers/ignition/{name}.bu").read_text())
    ignition = json.loads((EXAMPLES / f"installers/ignition/{name}.ign").read_text())
    (user,), (file,) = butane["passwd"]["users"], butane["storage"]["files"]
    assert ignition["passwd"]["users"] == [{"name": user["name"], "sshAuthorizedKeys": user["ssh_authorized_keys"]}]
    written = {"path": file["path"], "contents": {"source": f"data:,{file['contents']['inline']}"}, "mode": 0o644}
    assert ignition["storage"]["files"] == [written]


def test_the_answers_of_windows_are_xml(installers: Path) -> None:
    answers = ElementTree.parse(installers / "out/windows-11/config.iso.d/autounattend.xml")
    names = {"": "urn:schemas-microsoft-com:unattend"}
    assert answers.findtext(".//ComputerName", namespaces=names) == "windows-11"
    assert [found.text for found in answers.iterfind(".//DriverPaths//Path", names)] == [
        rf"{drive}:\{driver}\w11\amd64" for driver in ("viostor", "NetKVM") for drive in "DEF"
    ]


@pytest.mark.parametrize("example", ["basic", "advanced", "cluster", "installers"])
def test_clean_removes_what_gen_wrote_and_nothing_else(example: str, tmp_path: Path) -> None:
    copy = tmp_path / example
    shutil.copytree(EXAMPLES / example, copy, ignore=shutil.ignore_patterns("out", "vm1"))
    before = sorted(copy.rglob("*"))
    run("make", "-C", copy, "gen", f"VMP={' '.join(VMP)}")
    assert sorted(copy.rglob("*")) != before
    run("make", "-C", copy, "clean")
    assert sorted(copy.rglob("*")) == before

    run("make", "-C", copy, "gen", f"VMP={' '.join(VMP)}")
    generated = next(copy.rglob("MANIFEST")).parent
    (generated / "known_hosts").write_text("made by a target")
    (generated / "mine").mkdir()
    (generated / "mine" / "notes.txt").write_text("the user's own")
    run("make", "-C", copy, "clean")
    run("make", "-C", copy, "clean")
    kept = [generated, generated / "known_hosts", generated / "mine", generated / "mine" / "notes.txt"]
    if example != "basic":
        kept.append(copy / "out")
    assert sorted(copy.rglob("*")) == sorted([*before, *kept])


@pytest.mark.parametrize("reference", IMAGES)
def test_an_image_is_where_the_table_says(reference: str, configurations: dict[str, dict[str, Any]]) -> None:
    expected, found = IMAGES[reference], configurations[reference]
    image = found["image"]
    algorithm, sums = expected.checksum.split(" ")
    beside = expected.url.rpartition("/")[0] + "/" + sums
    assert image["url"] == expected.url
    url = expected.url + sums[1:] if sums.startswith("+") else beside
    signature = {}
    if signed := SIGNATURES.get(image["name"]):
        of_what = expected.url if signed.of == "image" else url
        keys = f"../keys/{signed.keys}.asc"
        signature = {"signature": {"url": of_what + signed.suffix, "keys": keys, "of": signed.of}}
    assert image["checksum"] == {"algorithm": algorithm, "url": url, **signature}
    assert image["volumeName"] == expected.volume
    assert image["format"] == expected.format
    assert found["vars"]["V1ALPHA1_SSH_USER"] == expected.user


def test_the_keys_are_those_of_the_table_and_each_is_named_above_its_block() -> None:
    files = {path.stem: path for path in (REGISTRY / "keys").iterdir()}
    assert set(files) == {signed.keys for signed in SIGNATURES.values()}
    for signed in SIGNATURES.values():
        text = files[signed.keys].read_bytes()
        keys = expiries(dearmored(text, "PUBLIC KEY BLOCK"))
        assert tuple(keys) == signed.fingerprints
        assert judge_keys(text) is None
        named = re.findall("^[0-9A-F]{40}(?=\n-----BEGIN)", text.decode(), re.MULTILINE)
        assert tuple(named) == signed.fingerprints
        assert re.search("Taken on [0-9-]{10} from the Debian package [a-z-]+ [0-9]", text.decode())


def test_an_image_that_is_not_verified_says_why() -> None:
    for path in (REGISTRY / "images").iterdir():
        text = path.read_text()
        verified = path.stem in SIGNATURES
        assert ("\n          signature:\n" in text) == verified
        assert bool(re.search("^# (Signed, but not verified here|No signature)", text, re.MULTILINE)) != verified


def test_the_table_has_every_tag_of_every_image_and_every_reference_of_a_vm(
    configurations: dict[str, dict[str, Any]],
) -> None:
    shown = set()
    for name, _, tag in (reference.partition(":") for reference in IMAGES):
        patterns = [tag["pattern"] for tag in registry_entries("images")[name]["tags"]]
        shown.add((name, next(pattern for pattern in patterns if re.fullmatch(pattern, tag or "latest"))))
    assert shown == {
        (name, tag["pattern"]) for name, image in registry_entries("images").items() for tag in image["tags"]
    }
    used = {registry_entries("vms")[name].get("image") for name in VMS} - {None}
    assert used <= set(IMAGES)
    assert {configurations[name]["image"]["url"] for name in VMS} <= {expected.url for expected in IMAGES.values()}


def test_two_versions_never_share_a_volume_and_latest_says_so() -> None:
    volumes = [expected.volume for expected in IMAGES.values()]
    assert len(set(volumes)) == len(volumes)
    for expected in IMAGES.values():
        assert "latest" in expected.volume or "latest" not in expected.url


def test_each_image_has_a_file_of_its_own_that_names_its_source() -> None:
    for path in (REGISTRY / "images").iterdir():
        text = path.read_text()
        assert [image["name"] for image in yaml.safe_load(text)["images"]] == [path.stem]
        assert "# Source: https://" in text, path.name


def test_every_template_and_node_and_image_is_used_by_a_vm(configurations: dict[str, dict[str, Any]]) -> None:
    templates = registry_entries("templates")
    used: set[str] = set()
    waiting = list(registry_entries("vms").values())
    while waiting:
        entry = waiting.pop()
        names = {entry["template"]} if "template" in entry else set(entry.get("templates", []))
        waiting += [templates[name] for name in names - used]
        used |= names
    assert used == set(templates)
    vms = [configurations[name] for name in VMS]
    assert {vm["node"]["name"] for vm in vms} == set(registry_entries("nodes"))
    assert {vm["image"]["name"] for vm in vms} == set(registry_entries("images"))


def test_mix_ins_change_only_what_they_are_for(configurations: dict[str, dict[str, Any]]) -> None:
    fedora = configurations["fedora"]["vm"]
    disks = {disk["name"]: disk["options"] for disk in fedora["libvirt"]["domain"]["virtInstall"]["disk"]}
    assert list(disks) == ["boot", "seed", "data"]
    assert disks["seed"]["bus"] == "virtio"
    assert fedora["libvirt"]["domain"]["virtInstall"]["boot"] == "uefi"
    assert fedora["libvirt"]["domain"]["virtInstall"]["memory"] == 2048
    policies = {volume["name"]: volume["deletionPolicy"] for volume in fedora["libvirt"]["volumes"]}
    assert policies["fedora-data.qcow2"] == "Retain"
    assert policies["boot.qcow2"] == "Delete"
    user_data = fedora["cloudInit"]["noCloud"]["data"]["user-data"]
    assert user_data["ssh_authorized_keys"]
    assert user_data["mounts"]

    app = configurations["app"]["vm"]
    ethernet = app["cloudInit"]["noCloud"]["data"]["network-config"]["ethernets"]["eth0"]
    interface = app["libvirt"]["domain"]["virtInstall"]["network"][0]["options"]
    assert ethernet["match"]["macaddress"] == interface["mac"] == "52:54:00:aa:00:11"
    assert ethernet["addresses"] == ["192.168.122.11/24"]
    assert app["ssh"]["host"] == "192.168.122.11"
    assert app["cloudInit"]["noCloud"]["data"]["user-data"]["ssh_authorized_keys"]

    cache = configurations["cache"]["vm"]
    (reservation,) = cache["libvirt"]["reservations"]
    assert reservation["address"] == "192.168.122.21"
    assert reservation["interface"] == cache["libvirt"]["domain"]["virtInstall"]["network"][0]["name"]

    rocky = configurations["rocky"]["vm"]
    assert rocky["ssh"]["options"]["StrictHostKeyChecking"] in ("no", ["no"])
    assert rocky["ssh"]["password"] == rocky["cloudInit"]["noCloud"]["data"]["user-data"]["password"]


def virt_install_words(directory: Path) -> list[str]:
    """Return the arguments of virt-install that a generated directory has."""
    words: list[str] = json.loads((directory / "vm.json").read_text())["domain"]["virtInstall"]
    return words


def libvirt_objects() -> dict[str, set[str]]:
    """Return the names of all that libvirt has."""
    lists = ("list --all --name", "pool-list --all --name", "net-list --all --name")
    return {words: {name.strip() for name in run("virsh", *words.split(" ")).splitlines()} - {""} for words in lists}


@pytest.fixture(scope="module")
def storage(configurations: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give libvirt the pools, volumes and networks that the VMs' definitions name, as empty as they may be."""
    base = tmp_path_factory.mktemp("pools")
    before = libvirt_objects()
    vms = [configurations[name]["vm"]["libvirt"] for name in VMS]
    volumes = {(volume["poolName"], volume["name"]): volume["format"] for vm in vms for volume in vm["volumes"]}
    interfaces = [interface for vm in vms for interface in vm["domain"]["virtInstall"]["network"]]
    networks = {interface["options"]["network"] for interface in interfaces}
    pools = sorted({pool for pool, _ in volumes} - before["pool-list --all --name"])
    networks -= before["net-list --all --name"]
    made = []
    try:
        for pool in pools:
            (base / pool).mkdir()
            run("virsh", "pool-create-as", pool, "dir", "--target", base / pool)
        for pool, volume in volumes:
            run("virsh", "vol-create-as", pool, volume, "1M", "--format", volumes[pool, volume])
            made.append((pool, volume))
        for network in networks:
            run("virsh", "net-define", "/dev/stdin", input=f"<network><name>{network}</name></network>")
        yield
    finally:
        for pool, volume in made:
            run("virsh", "vol-delete", volume, "--pool", pool)
        there = libvirt_objects()
        for pool in there["pool-list --all --name"] & set(pools):
            run("virsh", "pool-destroy", pool)
        for network in there["net-list --all --name"] & networks:
            run("virsh", "net-undefine", network)
        assert libvirt_objects() == before


@pytest.mark.lab
@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize("name", VMS)
def test_libvirt_takes_the_definition_of_each_vm(
    name: str, advanced: Path, configurations: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    words = virt_install_words(advanced / "out" / name)
    xml = tmp_path / "domain.xml"
    xml.write_text(run("virt-install", *words, "--print-xml", "1", "--dry-run"))
    run("virsh", "define", "--validate", xml)
    try:
        defined = run("virsh", "dumpxml", "--", name)
    finally:
        run("virsh", "undefine", "--nvram", "--", name)
    options = configurations[name]["vm"]["libvirt"]["domain"]["virtInstall"]
    for disk in options["disk"]:
        pool, _, volume = disk["options"]["vol"].partition("/")
        path = run("virsh", "vol-path", "--pool", pool, "--vol", volume).strip()
        assert f"<source pool='{pool}' volume='{volume}'/>" in defined or f"<source file='{path}'" in defined
    assert "<serial type='pty'>" in defined
    assert defined.count("<readonly/>") == 1  # the seed, or the live ISO
    assert ("<graphics" in defined) == (options["graphics"] != "none")
    assert ("firmware='efi'" in defined or "<loader" in defined) == (options.get("boot") == "uefi")
    assert f"<memory unit='KiB'>{int(options['memory']) * 1024}</memory>" in defined


@pytest.fixture(scope="module")
def installer_storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give libvirt the pools and volumes that the definitions of the example of installers name."""
    base = tmp_path_factory.mktemp("installers")
    before = libvirt_objects()
    found = {}
    for name in [*INSTALLED, *READY_MADE]:
        configuration = yaml.safe_load(run(*VMP, "--registry", EXAMPLES / "installers/registry", "config", name))
        for volume in configuration["vm"]["libvirt"]["volumes"]:
            found[volume["poolName"], volume["name"]] = volume["format"]
    try:
        for pool in {pool for pool, _ in found} - before["pool-list --all --name"]:
            (base / pool).mkdir()
            run("virsh", "pool-create-as", pool, "dir", "--target", base / pool)
        for (pool, volume), kind in found.items():
            run("virsh", "vol-create-as", pool, volume, "1M", "--format", kind)
        yield
    finally:
        for pool, volume in found:
            run("virsh", "vol-delete", volume, "--pool", pool)
        for pool in libvirt_objects()["pool-list --all --name"] - before["pool-list --all --name"]:
            run("virsh", "pool-destroy", pool)
        assert libvirt_objects() == before


def defined_by(words: list[str], name: str, tmp_path: Path) -> ElementTree.Element:
    """Return what libvirt makes of the arguments of virt-install."""
    xml = tmp_path / "domain.xml"
    xml.write_text(run("virt-install", *words, "--print-xml", "1", "--dry-run"))
    run("virsh", "define", "--validate", xml)
    try:
        return ElementTree.fromstring(run("virsh", "dumpxml", "--", name))
    finally:
        run("virsh", "undefine", "--nvram", "--tpm", "--", name)


@pytest.mark.lab
@pytest.mark.usefixtures("installer_storage")
@pytest.mark.parametrize("name", [*INSTALLED, *READY_MADE])
def test_libvirt_takes_both_definitions_of_what_is_installed(name: str, installers: Path, tmp_path: Path) -> None:
    vm = json.loads((installers / "out" / name / "vm.json").read_text())
    lasting = defined_by(vm["domain"]["virtInstall"], name, tmp_path)
    assert lasting.find("os/kernel") is None
    assert (name in INSTALLED) == ("install" in vm)
    if name in INSTALLED:
        first = defined_by(vm["install"]["virtInstall"], name, tmp_path)
        volumes = [source.get("volume", source.get("file", "")) for source in first.iterfind("devices/disk/source")]
        assert any(volume.endswith(".iso") and "config" not in volume for volume in volumes), "the medium"
        assert any(volume.endswith("config.iso") for volume in volumes), "the answers"
        if name != "windows-11":
            arguments = first.findtext("os/cmdline", "")
            assert arguments.endswith(" console=ttyS0")
            assert name != "debian" or '"mkdir /preseed; mount ' in arguments, "with its quotes"
    if name in ("fedora-coreos", "flatcar"):
        entry = lasting.find("sysinfo[@type='fwcfg']/entry")
        assert entry is not None
        wanted = {"fedora-coreos": "opt/com.coreos/config", "flatcar": "opt/org.flatcar-linux/config"}[name]
        assert entry.attrib == {"name": wanted, "file": f"/var/lib/libvirt/images/{name}/config.ign"}
    if name == "windows-11":
        assert lasting.find("devices/tpm/backend[@version='2.0']") is not None
        assert lasting.find("features/hyperv/relaxed") is not None
        features = {feature.get("name"): feature.get("enabled") for feature in lasting.iterfind("os/firmware/feature")}
        assert features == {"secure-boot": "yes", "enrolled-keys": "yes"}

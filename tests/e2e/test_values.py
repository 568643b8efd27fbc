"""Values are data, seen from the other end: in the arguments of real commands, in libvirt, in QEMU and in the seed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from command_line import run
from fields import FIELDS, Raw, Registry, base, put, refused, write
from injections import CANARY, INJECTIONS
from recorders import Recorder
from world import Vm, generate, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

COUNT = 14
"""How many VMs carry the texts."""

IMAGES = Path("/var/lib/libvirt/images")


def fitting(path: str, texts: list[str]) -> list[str]:
    """Return those of the texts that vmp takes in a field."""
    field = next(field for field in FIELDS if field.path == path)
    registries = [base(number) for number, _ in enumerate(texts)]
    for registry, text in zip(registries, texts, strict=True):
        put(registry, field, text, text)
    text, owners = write(*registries)
    wrong = refused(owners, run("check", "--registry", "-", stdin=text.encode()).errors)
    return [text for text in texts if text not in wrong]


def joined(texts: list[str], length: int = 200) -> str:
    """Return as many of the texts in one as the length in bytes allows."""
    found = ""
    for text in texts:
        longer = f"{found} {text}" if found else text
        found = longer if len(longer.strip().encode()) <= length else found
    return found.strip()


@pytest.fixture(scope="module")
def kernel(tiny_iso: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kernel to give arguments to."""
    directory = tmp_path_factory.mktemp("kernel")
    command: list[str | Path] = [
        "xorriso",
        "-osirrox",
        "on",
        "-indev",
        tiny_iso,
        "-extract",
        "/boot/vmlinuz",
        directory / "vmlinuz",
    ]
    subprocess.run(command, check=True, capture_output=True)
    return directory / "vmlinuz"


class Load:
    """The texts of one VM, by field."""

    def __init__(self, texts: list[str], allowed: Callable[[str, list[str]], list[str]]) -> None:
        names = allowed("vms[].libvirt.volumes[].name", texts)
        self.texts = texts
        self.names = names
        self.vm_name = joined(allowed("vms[].name", texts)) or "vm"
        self.domain_name = joined(allowed("vms[].libvirt.domain.name", texts)[::-1]) or "domain"
        self.lines = [text for text in allowed("vms[].libvirt.domain.virtInstall.*", texts) if len(text) < 4000]
        self.title = " ".join(text for text in self.lines if "\n" not in text)
        self.arguments = " ".join(self.lines)[:1800]
        self.directories = [str(IMAGES / "pools" / name) for name in names]
        self.seed = joined(allowed("vms[].cloudInit.noCloud.seed.path", texts)).replace("//", "/") or "seed.iso"
        self.options = allowed("vms[].ssh.options.*", texts)
        self.user = next(iter(allowed("vms[].ssh.user", texts)), "admin")

    def registry(self, number: int, image: Path, kernel: Path) -> Registry:
        """Return a registry with all of them."""
        registry = base(number)
        vm: dict[str, Any] = registry["vms"][0]
        registry["images"][0]["tags"][0]["url"] = f"file://{image}"
        registry["images"][0]["tags"][0]["volumeName"] = Raw(self.names[0])
        vm["name"], vm["libvirt"]["domain"]["name"] = Raw(self.vm_name), Raw(self.domain_name)
        vm["vars"] = {f"V{place}": Raw(text) for place, text in enumerate(self.lines)}
        vm["libvirt"]["domain"]["virtInstall"] |= {
            "description": "\n".join(f"{{V{place}}}" for place, _ in enumerate(self.lines)),
            "metadata": [{"name": "texts", "options": {"title": Raw(self.title)}}],
            "boot": [{"name": "kernel", "options": {"kernel": str(kernel), "kernel_args": Raw(self.arguments)}}],
            "sysinfo": [
                {
                    "name": "texts",
                    "options": {
                        "type": "smbios",
                        **{f"oemStrings.entry{place}": Raw(text) for place, text in enumerate(self.lines)},
                    },
                }
            ],
        }
        vm["libvirt"]["pools"] += [
            {"name": Raw(name), "directory": {"path": Raw(directory)}}
            for name, directory in zip(self.names, self.directories, strict=True)
        ]
        first = {"name": "{IMAGE_VOLUME_NAME}", "poolName": "pool", "format": "raw"}
        first["uploadFile"] = {"path": ".images/of all/{IMAGE_VOLUME_NAME}"}  # type: ignore[assignment]
        backing = {"name": "{IMAGE_VOLUME_NAME}", "poolName": "pool", "format": "raw"}
        vm["libvirt"]["volumes"] = [
            first,
            {"name": "blank", "poolName": Raw(self.names[-1]), "backingVolume": backing},
            *[{"name": Raw(name), "poolName": "pool", "format": "raw", "capacity": "64KiB"} for name in self.names[1:]],
        ]
        disk = {"vol": Raw(f"{self.names[-1]}/blank"), "serial": "a B-9_.+"}
        vm["libvirt"]["domain"]["virtInstall"]["disk"] = [{"name": "disk", "options": disk}]
        vm["cloudInit"]["noCloud"] = {
            "seed": {"path": Raw(self.seed)},
            "data": {"user-data": {"texts": list(map(Raw, self.texts))}, "meta-data": Raw(self.texts[0])},
        }
        vm["ssh"] = {
            "user": Raw(self.user),
            "host": "127.0.0.1",
            "options": {"Port": 1, "SetEnv": list(map(Raw, self.options))},
        }
        return registry


def document(iso: Path, name: str, directory: Path) -> bytes:
    """Return a document of a seed, as a reader of ISO 9660 has it."""
    target = directory / name
    command: list[str | Path] = ["xorriso", "-osirrox", "on", "-indev", f"stdio:{iso}", "-extract", f"/{name}", target]
    subprocess.run(command, check=True, capture_output=True)
    content = target.read_bytes()
    target.unlink()
    return content


def command_line_of_qemu(uuid: str) -> list[str]:
    """Return the arguments of the process that runs a domain."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "qemu" in words[0] and uuid in words:
            return words
    raise AssertionError(f"no process for domain {uuid}")


def check_up(load: Load, vm: Vm, recorder: Recorder, image: Path, tmp_path: Path) -> None:
    """Look at everything that `up` has made."""
    calls, asked = recorder.take(), recorder.take_commands()
    domain = ElementTree.fromstring(virsh("dumpxml", vm.uuid))
    assert domain.findtext("name") == load.domain_name
    assert domain.findtext("title") == load.title
    assert domain.findtext("description") == "\n".join(load.lines)
    assert domain.findtext("os/cmdline") == load.arguments
    assert [entry.text for entry in domain.findall("sysinfo/oemStrings/entry")] == load.lines
    assert domain.findtext("devices/disk/serial") == "a B-9_.+"
    words = command_line_of_qemu(vm.uuid)
    assert words[words.index("-append") + 1] == load.arguments

    pools = {}
    for path in Path("/etc/libvirt/storage").glob("*.xml"):
        pool = ElementTree.parse(path)
        pools[pool.findtext("name")] = pool.findtext("target/path")
    for name, directory in zip(load.names, load.directories, strict=True):
        assert pools[name] == directory
        assert Path(directory).is_dir()
    assert {path.name for path in (IMAGES / "pool").iterdir()} == set(load.names)

    (installed,) = [call for call in calls if call.command == "virt-install" and "--print-xml" in call.arguments][:1]
    assert f"--name={load.domain_name}" in installed.arguments
    (fetched,) = [call for call in calls if call.command == "curl"]
    assert fetched.arguments[fetched.arguments.index("--url") + 1] == f"file://{image}"
    assert {f"--pool={name}" for name in load.names} <= set(asked)
    assert {f"--vol={name}" for name in load.names} <= set(asked)

    seed = vm.directory / load.seed
    assert yaml.safe_load(document(seed, "user-data", tmp_path)) == {"texts": load.texts}
    assert document(seed, "meta-data", tmp_path).decode() == load.texts[0]


def test_every_injection_reaches_real_commands_as_text_and_none_is_evaluated(
    tmp_path: Path, base: Path, kernel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder = Recorder(tmp_path / "recorder")
    image = tmp_path / "image.img"
    image.write_bytes(b"\0" * 65536)
    texts = list(INJECTIONS)
    cache: dict[str, set[str]] = {}

    def allowed(path: str, some: list[str]) -> list[str]:
        if path not in cache:
            cache[path] = set(fitting(path, texts))
        return [text for text in some if text in cache[path]]

    loads = [Load(texts[start::COUNT], allowed) for start in range(COUNT)]
    registries = [load.registry(number, image, kernel) for number, load in enumerate(loads)]
    vms = generate(write(*registries)[0], base)
    for load in loads:
        vm = vms[load.vm_name]
        home = {**recorder.environment, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
        done = vm.make("up", environment=home)
        assert done.stderr.startswith(f"{load.vm_name}: ")
        check_up(load, vm, recorder, image, tmp_path)
        done = vm.make("status", "ip", "up", environment=home)
        assert done.stdout.endswith("127.0.0.1\n") and done.stderr == f"{load.vm_name}: is running\n"
        recorder.take()
        refused = vm.make("ssh", "CMD=true", check=False, environment=home)
        (asked,) = [call for call in recorder.take() if call.command == "ssh"]
        assert refused.returncode != 0
        assert [word[7:] for word in asked.arguments if word.startswith("SetEnv=")] == load.options
        assert asked.arguments[asked.arguments.index("-l") + 1] == load.user
        assert asked.arguments[-3:] == ["--", "127.0.0.1", "true"]
        vm.make("down", "delete-all", "clean-all", "V1ALPHA1_STOP_TIMEOUT_SECS=0", environment=home)
        recorder.take()
        assert not (vm.directory / load.seed).exists()
    traces = [path for root in (tmp_path, IMAGES) for path in root.rglob(CANARY)]
    assert not traces and not Path("/", CANARY).exists() and not Path(CANARY).exists()
    (IMAGES / "pools").rmdir()
    with capsys.disabled():
        print(f"\n{len(texts)} injections through real commands in {len(loads)} VMs, none evaluated")

"""All VMs of a directory through its one Makefile: few questions, the jobs of make, and names that are only names."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest
from blank import blank, blank_image
from injections import CANARY, T
from link import Link
from recorders import Recorder
from remote_node import ADDRESS, remote_node, wait_until
from world import ENVIRONMENT, Vm, generate, inventory, virsh

from vmp.provisioners.v1alpha1.runtime.definition import definition_of
from vmp.provisioners.v1alpha1.runtime.facts import read_vm

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

ODD = [
    f"$({T})",
    f"`{T}`",
    f"'; {T}; '",
    f'"; {T}; "',
    f"$(shell {T})",
    f"$$(shell {T})",
    f"%: ; {T}",
    "up",
    "a=b",
    "größe #1: {x} \\ *",
]


def registry(image: Path, names: Sequence[str]) -> str:
    return blank(image, "".join(f"  - {{name: {json.dumps(name)}, template: blank}}\n" for name in names))


def remove(fleet: Vm) -> None:
    """Remove what `down` keeps: the image in the pool `default`."""
    fleet.make("down")
    virsh("vol-delete", "--pool", "default", "--vol", "deaf.qcow2")


def running() -> list[str]:
    return [line for line in virsh("list", "--name").splitlines() if line]


@pytest.fixture
def image(blank_images: Path) -> Path:
    return blank_image(blank_images, "deaf")


def test_twenty_vms_come_up_stay_up_at_one_question_and_go(image: Path, base: Path, tmp_path: Path) -> None:
    before = inventory()
    names = [f"vm{number:02}" for number in range(1, 21 - len(ODD))] + ODD
    generate(registry(image, names), base, "--fleet")
    fleet, recorder = Vm(base), Recorder(tmp_path / "recorder")

    nothing = fleet.make("status", check=False)
    assert nothing.returncode == 2
    assert [line.split("  ")[-1] for line in nothing.stdout.splitlines()] == ["not there"] * len(names)

    assert fleet.make("list").stdout.splitlines() == names
    up = fleet.make("-j8", "up", timeout=600)
    assert up.stderr.count("started domain ") == len(names)
    assert up.stderr.count("uploading ") == 1
    assert "jobserver" not in up.stderr
    assert sorted(running()) == sorted(names)

    recorder.take()
    again = fleet.make("up", environment=recorder.environment)
    assert again.stderr.splitlines() == [f"{name}: is running" for name in names]
    assert [call.command for call in recorder.take()] == ["virsh"]
    times = []
    for _ in range(10):
        begin = time.monotonic()
        fleet.make("up")
        times.append(time.monotonic() - begin)
    load = Path("/proc/loadavg").read_text().split()[0]
    assert min(times) < 2
    print(f"up of 20 VMs that are up: {sorted(times)[5]:.3f} s, {min(times):.3f} to {max(times):.3f} s, load {load}")

    status = fleet.make("status", environment=recorder.environment)
    assert [line.rsplit("  ", 2) for line in status.stdout.splitlines()] == [
        [name + " " * (max(map(len, names)) - len(name)), "localhost", "running"] for name in names
    ]
    assert status.stderr == ""
    assert [call.command for call in recorder.take()] == ["virsh"]

    down = fleet.make("-j8", "down", timeout=600)
    assert down.stderr.count("deleted domain ") == len(names)
    remove(fleet)
    assert inventory() == before
    assert not list(base.rglob(CANARY)) and not Path(CANARY).exists()
    assert not list((base / ".fleet").glob("*.tmp"))


def test_make_n_changes_nothing_and_asks_nothing(image: Path, base: Path, tmp_path: Path) -> None:
    generate(registry(image, ["web"]), base, "--fleet")
    recorder = Recorder(tmp_path / "recorder")
    for option in ("-n", "-kn", "-t"):
        Vm(base).make(option, "up", environment=recorder.environment)
    assert recorder.take() == []


def test_vms_are_picked_by_name_or_pattern(image: Path, base: Path) -> None:
    names = ["web-1", "web-2", "db", "my vm", "a*b", "axb", "$HOME"]
    generate(registry(image, names), base, "--fleet")
    fleet = Vm(base)

    def picked(vms: str) -> list[str]:
        return fleet.make("list", f"VMS={vms}").stdout.splitlines()

    assert picked("web-*") == ["web-1", "web-2"]
    assert picked("db web-[2]  db") == ["web-2", "db"]
    assert picked("my?vm") == ["my vm"]
    assert picked("a*b") == ["a*b", "axb"]
    assert picked("$HOME") == ["$HOME"]
    assert picked("*") == names
    assert fleet.make("list", environment={"VMS": "db"}).stdout == "db\n"

    for vms, said in [
        ("web-3 db", "there is no VM 'web-3' here"),
        ("my vm", "there is no VM 'my' here"),
        ("$(shell true)", "there is no VM '$(shell' here"),
        ("", "VMS is empty"),
        ("  ", "VMS is empty"),
    ]:
        refused = fleet.make("down", f"VMS={vms}", check=False)
        assert refused.returncode == 2 and said in refused.stderr, vms

    fleet.make("up", "VMS=my?vm db")
    assert sorted(running()) == ["db", "my vm"]
    status = fleet.make("status", "VMS=db web-1", check=False)
    assert status.returncode == 2
    assert [line.split() for line in status.stdout.splitlines()] == [
        ["web-1", "localhost", "not", "there"],
        ["db", "localhost", "running"],
    ]
    remove(fleet)


def test_ending_make_alone_begins_no_other_vm(image: Path, base: Path) -> None:
    names = [f"vm{number}" for number in range(1, 5)]
    generate(registry(image, names), base, "--fleet")
    fleet = Vm(base)
    run = subprocess.Popen(
        fleet.command("up"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        env=ENVIRONMENT,
        start_new_session=True,
    )
    wait_until(lambda: bool(virsh("pool-list", "--name").split()[1:]), "the pool of the first one")
    run.terminate()
    said, _ = run.communicate(timeout=60)  # all that holds the pipe has ended
    assert run.returncode != 0
    assert "vm2" not in said, said
    assert fleet.make("up").returncode == 0 and sorted(running()) == names
    remove(fleet)


def test_knobs_reach_the_vms_and_misspelt_ones_are_refused(image: Path, base: Path) -> None:
    vms = generate(registry(image, ["web"]), base, "--fleet")
    fleet = Vm(base)
    wrong = fleet.make("up", "V1ALPHA1_STOP_TIMEOUT=1", check=False)
    assert wrong.returncode == 2 and "there is no knob V1ALPHA1_STOP_TIMEOUT" in wrong.stderr
    wrong = fleet.make("up", "V1ALPHA1_COMMAND_TIMEOUT_SECS=$(HOME) $x", check=False)
    assert "'$(HOME) $x', not a whole number of seconds" in wrong.stderr
    wrong = fleet.make("down", "V1ALPHA1_STOP_TIMEOUT_SECS=a$b", check=False)
    assert "web: error: V1ALPHA1_STOP_TIMEOUT_SECS is 'a$b'" in wrong.stderr
    assert vms["web"].directory.is_dir()


def test_up_says_what_is_stale_and_makes_nothing_anew(image: Path, base: Path, tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    generate(registry(image, names), base, "--fleet")
    fleet, recorder = Vm(base), Recorder(tmp_path / "recorder")
    fleet.make("up")
    uuids = virsh("list", "--uuid")
    generate(
        registry(image, names).replace('name: "b"', 'libvirt: {domain: {virtInstall: {memory: 65}}}, name: "b"'), base
    )
    again = fleet.make("up", environment=recorder.environment)
    stale = "b: the definition has changed since the domain was made: 'make -C b diff' says in what, 'make -C b apply'"
    assert again.stderr.splitlines()[:2] == ["a: is running", "c: is running"]
    assert again.stderr.splitlines()[2].startswith(stale)
    assert len(recorder.take()) == 1, "one conversation"
    status = fleet.make("status")
    assert status.stderr.startswith(stale) and len(status.stdout.splitlines()) == 3
    assert virsh("list", "--uuid") == uuids

    fleet.make("down", "up", "VMS=b")
    assert fleet.make("up").stderr.splitlines() == ["a: is running", "b: is running", "c: is running"]
    virsh("suspend", "a")
    assert "paused" in fleet.make("status", check=False).stdout
    assert "a: resumed domain a" in fleet.make("up").stderr
    virsh("destroy", "c")
    assert "c: started domain c" in fleet.make("up").stderr
    remove(fleet)


def test_diff_and_apply_ask_the_node_once_and_work_on_what_differs(image: Path, base: Path, tmp_path: Path) -> None:
    names = ["a", "b", "c", "not-made"]
    generate(registry(image, names), base, "--fleet")
    fleet, recorder = Vm(base), Recorder(tmp_path / "recorder")
    fleet.make("up", "VMS=a b c")
    program = [str(base / ".fleet/provisioner.py"), "diff"]
    environment = {**ENVIRONMENT, **recorder.environment}

    unchanged = subprocess.run(program, capture_output=True, text=True, env={**environment, "VMS": "a b c"})
    assert (unchanged.returncode, unchanged.stdout) == (0, "")
    assert unchanged.stderr == "".join(f"{name}: is as the directory says\n" for name in "abc")
    assert len(recorder.take()) == 1, "one conversation"

    changed = 'libvirt: {domain: {virtInstall: {memory: 65}}}, name: "b"'
    generate(registry(image, names).replace('name: "b"', changed), base)
    different = subprocess.run(program, capture_output=True, text=True, env=environment)
    assert different.returncode == 1
    assert [" ".join(line.split()) for line in different.stdout.splitlines()] == [
        "b: memory 64 → 65 at the next start",
        "not-made: domain not-made: is not there with make -C not-made up",
    ]
    recorder.take()
    applied = fleet.make("-j4", "apply", "VMS=a b c", environment=recorder.environment)
    assert applied.stderr.splitlines()[:2] == ["a: is as the directory says", "c: is as the directory says"]
    assert "b: memory 64 → 65: at the next start" in applied.stderr
    assert sum(call.command == "virsh" for call in recorder.take()) == 1, "the same conversation"
    assert "<memory unit='KiB'>66560<" in virsh("dumpxml", "b", "--inactive")
    refused = fleet.make("apply", check=False)
    assert refused.returncode == 2 and "not-made: error: there is no domain not-made" in refused.stderr
    remove(fleet)


WITH_SEED = """
  - name: "seeded"
    template: blank
    cloudInit: {noCloud: {seed: {path: "the/seed of it.iso"}, data: {user-data: {a: 1}, network-config: {version: 2}}}}
  - name: "secret"
    template: blank
    libvirt: {domain: {virtInstall: {graphics: [{name: vnc, options: {type: vnc, passwd: "it's $1"}}]}}}
"""


def test_a_seed_and_passwords_count_too(image: Path, base: Path, tmp_path: Path) -> None:
    vms = generate(blank(image, WITH_SEED), base, "--fleet")
    fleet, recorder = Vm(base), Recorder(tmp_path / "recorder")
    fleet.make("up")
    assert fleet.make("up", environment=recorder.environment).stderr == "seeded: is running\nsecret: is running\n"
    assert len(recorder.take()) == 1
    assert fleet.make("status").stderr == ""
    document = vms["seeded"].directory / "the/seed of it.iso.d/user-data"
    document.write_text(document.read_text().replace("1", "2"))
    secrets = vms["secret"].directory / "secrets.json"
    secrets.write_text(secrets.read_text().replace("$1", "$2"))
    for target in ("up", "status"):
        said = fleet.make(target).stderr
        assert "seeded: the cloud-init seed has changed since the domain was made" in said
        assert "secret: the definition has changed since the domain was made" in said
    secrets.unlink()
    for target in ("up", "status"):
        assert "secret: error: there is no secrets.json" in fleet.make(target, check=False).stderr
    fleet.make("status", check=False)
    assert not list((base / ".fleet").glob("*.tmp"))
    remove(fleet)


def test_a_vm_that_fails_is_named_and_the_others_go_on_with_k(image: Path, base: Path, tmp_path: Path) -> None:
    generate(registry(image, ["a", "b", "c"]), base, "--fleet")
    foreign = tmp_path / "foreign.xml"
    foreign.write_text("<domain type='qemu'><name>b</name><memory>65536</memory><os><type>hvm</type></os></domain>")
    virsh("define", str(foreign))
    fleet = Vm(base)
    up = fleet.make("-k", "up", check=False)
    assert up.returncode == 2
    assert "b: error: there is another domain 'b'" in up.stderr
    assert "started domain a" in up.stderr and "started domain c" in up.stderr
    status = fleet.make("status", check=False)
    assert [line.split("  ")[-1] for line in status.stdout.splitlines()] == [
        "running",
        "another domain of that name",
        "running",
    ]
    virsh("undefine", "b")
    remove(fleet)


def test_a_directory_that_is_gone_is_named_and_the_others_go_on(image: Path, base: Path) -> None:
    vms = generate(registry(image, ["a", "b"]), base, "--fleet")
    vms["b"].directory.rename(base / "elsewhere")
    up = Vm(base).make("up", check=False)
    assert up.returncode == 2
    assert "there is no 'b/vm.json'" in up.stderr and "started domain a" in up.stderr
    (base / "elsewhere").rename(base / "b")
    remove(Vm(base))


def test_each_node_is_asked_once_and_one_that_cannot_be_reached_is_named(
    image: Path, base: Path, tmp_path: Path
) -> None:
    nodes = {"here": "qemu:///system", "there": "qemu+unix:///system", "gone": "qemu+ssh://root@127.0.0.1:1/system"}
    text = "nodes:\n" + "".join(
        f"  - {{name: {name}, libvirt: {{connection: {{uri: '{uri}'}}}}}}\n" for name, uri in nodes.items()
    )
    vms = "".join(
        f"  - {{name: {node}-{number}, template: blank, nodeName: {node}}}\n" for number in (1, 2) for node in nodes
    )
    whole = blank(image, vms).replace("    nodeName: localhost\n", "")
    generate(text + whole[whole.index("images:") :], base, "--fleet")
    fleet, recorder = Vm(base), Recorder(tmp_path / "recorder")
    up = fleet.make("-j4", "up", check=False)
    assert up.returncode == 2
    assert up.stderr.count("node gone: error: libvirt did not answer as it should") == 1
    assert "Connection refused" in up.stderr
    assert sorted(running()) == ["here-1", "here-2", "there-1", "there-2"]
    status = fleet.make("status", check=False, environment=recorder.environment)
    assert status.returncode == 2 and status.stderr.count("node gone: error: ") == 1
    assert [line.split(maxsplit=2)[::2] for line in status.stdout.splitlines()] == [
        ["here-1", "running"],
        ["there-1", "running"],
        ["gone-1", "not known"],
        ["here-2", "running"],
        ["there-2", "running"],
        ["gone-2", "not known"],
    ]
    asked = [call.arguments[2].partition("?")[0] for call in recorder.take() if call.command == "virsh"]
    assert sorted(asked) == sorted(nodes.values())
    fleet.make("down", "VMS=here-* there-*")
    virsh("vol-delete", "--pool", "default", "--vol", "deaf.qcow2")


def test_a_remote_node_is_asked_over_one_connection(image: Path, base: Path, tmp_path: Path, ssh_key: Path) -> None:
    (tmp_path / "node").mkdir()
    with remote_node(tmp_path / "node", ssh_key) as node, Link((ADDRESS, 22), delay=0.002) as link:
        uri = f"qemu+ssh://root@127.0.0.1:{link.port}/system"
        generate(registry(image, ["a", "b", "c"]).replace("qemu:///system", uri), base, "--fleet")
        fleet = Vm(base)
        fleet.make("-j3", "up")
        sockets = list(base.glob("*/.node-ssh-*"))
        for socket in sockets:
            command = ["ssh", "-S", socket.name, "-O", "exit", "node"]
            subprocess.run(command, check=True, capture_output=True, cwd=socket.parent)
        wait_until(lambda: not any(socket.exists() for socket in sockets), "the end of the shared connections")
        node.connections()
        assert fleet.make("up").stderr.splitlines() == ["a: is running", "b: is running", "c: is running"]
        fleet.make("status")
        assert node.connections() == 1
        fleet.make("-j3", "down")


def test_two_hundred_defined_vms_are_shown_at_once(image: Path, base: Path, tmp_path: Path) -> None:
    names = [f"vm{number:03}" for number in range(200)]
    generate(registry(image, names), base, "--fleet")
    defined = []
    for name in names:
        vm = read_vm(str(base / name))
        uuid, definition = vm.domain.uuid, definition_of(vm)
        xml = tmp_path / f"{name}.xml"
        mark = f"<v:provisioner xmlns:v='urn:vmp:v1alpha1' definition={quoteattr(definition)} seed=''/>"
        xml.write_text(
            f"<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><metadata>{mark}</metadata>"
            "<memory>65536</memory><os><type>hvm</type></os></domain>"
        )
        defined.append(f"define {xml}")
    virsh("; ".join(defined))
    fleet = Vm(base)
    times = []
    for _ in range(5):
        begin = time.monotonic()
        status = fleet.make("status", check=False)
        times.append(time.monotonic() - begin)
        assert [line.split("  ")[-1] for line in status.stdout.splitlines()] == ["shut off"] * len(names)
        assert len(status.stderr.splitlines()) == 1, "make's own"
    load = Path("/proc/loadavg").read_text().split()[0]
    assert min(times) < 2
    print(f"status of 200 defined VMs: {sorted(times)[2]:.3f} s, {min(times):.3f} to {max(times):.3f} s, load {load}")
    virsh("; ".join(f"undefine {name}" for name in names))
    assert os.listdir(base / ".fleet")

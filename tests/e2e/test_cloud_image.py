"""Cloud images: seed, SSH, readiness, a graceful stop, and a complete delete, asserted from outside."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest
from guest_registries import cloud
from injections import INJECTIONS
from world import generate, inventory, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

SEED_EFFECTS = """
  - name: web
    template: cloud
    cloudInit:
      noCloud:
        data:
          user-data:
            write_files:
              - path: /etc/from-the-seed
                content: !raw |
                  braces {stay}, $HOME stays, 'quotes' "stay"
{files}
            runcmd:
              - [sh, -c, "id > /run/runcmd"]
"""
LONG = ["x" * 4096, "'" * 1000 + "\n", "\n\n", " ends with blanks  \n", "é \U0001f427 虚拟机\n" * 100]
GUEST_FILES = [*LONG, *[text for text in INJECTIONS if "\0" not in text]]
"""What cloud-init is to write in the guest, byte for byte: /etc/nasty/0 and so on."""


def _files() -> str:
    entry = "              - path: /etc/nasty/{}\n                content: !raw {}"
    return "\n".join(entry.format(number, _quoted(text)) for number, text in enumerate(GUEST_FILES))


def _quoted(text: str) -> str:
    """Quote for YAML, whatever it is."""
    plain = json.dumps(text, ensure_ascii=False)
    return "".join([c if c.isprintable() else f"\\U{ord(c):08x}" for c in plain])


def test_a_debian_cloud_vm_from_nothing_to_ready_and_back(debian_cloud: Path, ssh_key: Path, base: Path) -> None:
    before = inventory()
    vm = generate(
        cloud(debian_cloud, ssh_key, SEED_EFFECTS.replace("{files}", _files()), memory=1024, capacity="5G"), base
    )["web"]
    vm.make("up")
    ready = vm.make("wait-for-ready", timeout=700)
    assert "ready" in ready.stderr

    assert vm.ssh("hostname") == "host-of-web\n"
    assert vm.ssh("whoami") == "admin\n"
    assert vm.ssh("sudo whoami") == "root\n"
    assert vm.ssh("cat /etc/from-the-seed") == "braces {stay}, $HOME stays, 'quotes' \"stay\"\n"
    written = vm.ssh(f"cd /etc/nasty && sudo sha256sum $(seq 0 {len(GUEST_FILES) - 1})").splitlines()
    assert [line.split()[0] for line in written] == [sha256(text.encode()).hexdigest() for text in GUEST_FILES]
    assert "uid=0(root)" in vm.ssh("cat /run/runcmd")
    assert "cloud-init" in vm.ssh("cloud-init --version 2>&1")
    root_bytes = int(vm.ssh("df --output=size -B1 / | tail -n 1"))
    assert root_bytes > 4.5e9, "the root file system has grown to the volume's 5 GiB"
    assert vm.make("ssh", "CMD=exit 7", check=False).returncode != 0

    address = vm.make("ip").stdout.strip()
    assert address in vm.ssh("ip -4 addr")
    assert "running" in vm.make("status").stdout

    with vm.console() as console:
        console.expect("login:", timeout=60, nudge="\n")
        stopped = vm.make("stop", timeout=200)
        console.expect("(?i)power(ing)? (off|down)", timeout=10)
    assert "the guest shut down after" in stopped.stderr
    vm.make("start")
    vm.make("wait-for-ready", timeout=700)
    assert vm.ssh("cat /etc/from-the-seed").startswith("braces")

    vm.make("down", timeout=300)
    vm.make("delete-all", "clean-all")
    assert inventory() == before
    assert not (vm.directory / "seed.iso").exists()


TWO = """
  - name: a
    template: cloud
  - name: b
    template: cloud
"""


def test_two_vms_share_one_image_which_stays_until_the_last_has_gone(
    tiny_disk: Path, ssh_key: Path, base: Path
) -> None:
    vms = generate(cloud(tiny_disk, ssh_key, TWO), base)
    a, b = vms["a"], vms["b"]
    assert "downloaded" in a.make("up").stderr
    assert "downloaded" not in b.make("up").stderr
    a.make("wait-for-ready")
    assert a.ssh("hostname") == "host-of-a\n"
    kept = a.make("delete-all", "V1ALPHA1_STOP_TIMEOUT_SECS=0")
    assert "b" in kept.stderr and tiny_disk.name in kept.stderr
    b.make("wait-for-ready")
    assert b.ssh("hostname") == "host-of-b\n"
    b.make("delete-all", "V1ALPHA1_STOP_TIMEOUT_SECS=0")


ODD_NAMES = [
    'it\'s "q" 50% #1 k=v: a\\b',
    "2",
    "007",
    "a.b",
    "axb",
    "(a|b)+?[^c]{2}$",
    "x;y & $HOME `id` [a]* !x",
    "Ünï, — 🐧 <&amp;>",
    "=~root%s",
    "n" * 200,
]


BLANK = """
    libvirt:
      volumes:
        - name: "{IMAGE_VOLUME_NAME}"
          $patch: delete
        - name: boot.qcow2
          $patch: replace
          poolName: "{VM_NAME}"
          capacity: 1MiB
"""


def test_vms_with_odd_names_go_through_their_whole_life(tiny_disk: Path, ssh_key: Path, tmp_path: Path) -> None:
    """The first boots a system and is reached; the others, which have nothing to boot, are started and stopped."""

    def entry(name: str) -> str:
        blank = BLANK if name != ODD_NAMES[0] else "\n"
        return f"  - name: !raw {json.dumps(name, ensure_ascii=False)}\n    template: cloud{blank}"

    base = tmp_path / "a: b=c% d#e 'f' \"g\" $HOME `id` (h)|[i]* \\j; é🐧 ~"
    vms = generate(cloud(tiny_disk, ssh_key, "".join(map(entry, ODD_NAMES))), base)
    assert list(vms) == ODD_NAMES
    at_once = "V1ALPHA1_STOP_TIMEOUT_SECS=0"
    first, *others = vms.values()
    first.make("up")
    for vm in others:
        vm.make("create")
    everything = inventory()
    for name, vm in list(vms.items())[1:]:
        vm.make("up")
        assert virsh("domname", vm.uuid).rstrip("\n").rstrip() == name
        done = vm.make("up", "status", "ip", "V1ALPHA1_SSH_HOST=127.0.0.1")
        assert done.stderr == f"{name}: is running\n" and done.stdout.endswith("\n127.0.0.1\n")
        assert f"domain   {name}" in done.stdout and "not there" not in done.stdout
        done = vm.make("stop", "start", "restart", "up", "kill", at_once)
        assert done.stderr.count(f"{name}: started domain {name}\n") == 2
        assert f"{name}: is running\n" in done.stderr
        assert inventory() == everything, "nothing of another VM was touched"
    first.make("wait-for-ready")
    assert first.ssh("whoami") == "admin\n"
    with first.console() as console:
        console.expect("Escape character", timeout=60)
    for name, vm in vms.items():
        done = vm.make("down", "delete-all", "clean-all", at_once)
        assert f"deleted domain {name}" in done.stderr
        assert not (vm.directory / "seed.iso").exists()


def test_what_changed_since_the_vm_was_made_is_said_and_not_applied(tiny_disk: Path, ssh_key: Path, base: Path) -> None:
    registry = cloud(tiny_disk, ssh_key, "  - name: web\n    template: cloud\n")
    vm = generate(registry, base)["web"]
    vm.make("up")
    domain_id = virsh("domid", "web")
    generate(registry.replace("memory: 256", "memory: 320"), base)
    changed = vm.make("up")
    assert "the definition has changed since the domain was made: 'make diff' says in what" in changed.stderr
    assert "'make apply' brings it" in vm.make("status").stderr
    assert virsh("domid", "web") == domain_id
    generate(registry.replace("host-of-", "name-of-"), base)
    assert "seed" in vm.make("up").stderr
    vm.make("down", "up", "V1ALPHA1_STOP_TIMEOUT_SECS=0")
    assert vm.make("up").stderr == "web: is running\n"
    vm.make("delete-all", "V1ALPHA1_STOP_TIMEOUT_SECS=0")


GROWN = """
  - name: web
    template: cloud
    libvirt:
      volumes:
        - name: "{IMAGE_VOLUME_NAME}"
          $patch: delete
        - name: boot.qcow2
          $patch: replace
          poolName: "{VM_NAME}"
          capacity: 2G
          uploadFile: {path: "../images of all/{IMAGE_VOLUME_NAME}"}
        - name: data.raw
          poolName: "{VM_NAME}"
          format: raw
          capacity: 3MB
"""


def test_an_uploaded_volume_grows_to_its_capacity(tiny_disk: Path, ssh_key: Path, base: Path) -> None:
    vm = generate(cloud(tiny_disk, ssh_key, GROWN), base)["web"]
    vm.make("create")
    info = virsh("vol-info", "--bytes", "--pool", "web", "boot.qcow2")
    assert str(2 * 1024**3) in info
    assert str(3 * 1000**2) in virsh("vol-info", "--bytes", "--pool", "web", "data.raw")
    again = vm.make("create")
    assert "grew" not in again.stderr and "created" not in again.stderr
    vm.make("delete-all")


def test_a_layer_smaller_than_what_it_is_based_on_is_refused(tiny_disk: Path, ssh_key: Path, base: Path) -> None:
    vm = generate(cloud(tiny_disk, ssh_key, "  - name: web\n    template: cloud\n", capacity="1MiB"), base)["web"]
    refused = vm.make("up", check=False)
    assert refused.returncode != 0
    assert "boot.qcow2 is to have 1MiB" in refused.stderr
    vm.make("delete-all")


def test_waiting_for_a_vm_that_does_not_run_fails_at_once(tiny_disk: Path, ssh_key: Path, base: Path) -> None:
    vm = generate(cloud(tiny_disk, ssh_key, "  - name: web\n    template: cloud\n"), base)["web"]
    refused = vm.make("wait-for-ready", check=False, timeout=20)
    assert refused.returncode != 0 and "make up" in refused.stderr
    vm.make("create")
    refused = vm.make("wait-for-ready", check=False, timeout=20)
    assert refused.returncode != 0 and "shut off" in refused.stderr
    vm.make("delete-all")


def test_the_address_is_that_of_the_newest_lease(tiny_disk: Path, ssh_key: Path, base: Path) -> None:
    """A guest made anew has its predecessor's MAC address, whose lease has not expired (another client id)."""
    vm = generate(cloud(tiny_disk, ssh_key, "  - name: web\n    template: cloud\n"), base)["web"]
    vm.make("up", "wait-for-ready/ip")
    address = vm.make("ip").stdout.strip()
    mac = virsh("domiflist", "web").split()[4]
    leases = Path("/var/lib/libvirt/dnsmasq/virbr0.status")
    current = json.loads(leases.read_text())
    mine = next(lease for lease in current if lease["mac-address"] == mac)
    older = {**mine, "ip-address": "192.168.122.250", "expiry-time": mine["expiry-time"] - 60, "client-id": "ff:00"}
    for order in ([older, *current], [*current, older]):
        leases.write_text(json.dumps(order))
        assert vm.make("ip").stdout.strip() == address
    leases.write_text(json.dumps(current))
    vm.make("delete-all", "V1ALPHA1_STOP_TIMEOUT_SECS=0")


RETAINED = """
  - name: web
    template: cloud
    libvirt:
      pools:
        - name: "{{VM_NAME}}"
          deletionPolicy: Retain
      volumes:
        - name: data.raw
          poolName: "{{VM_NAME}}"
          format: raw
          capacity: {capacity}
          deletionPolicy: Retain
"""


def test_a_retained_volume_grows_when_the_vm_is_made_anew(tiny_disk: Path, ssh_key: Path, base: Path) -> None:
    vm = generate(cloud(tiny_disk, ssh_key, RETAINED.format(capacity="8M")), base)["web"]
    vm.make("up")
    generate(cloud(tiny_disk, ssh_key, RETAINED.format(capacity="16M")), base)
    assert "make apply" in vm.make("up").stderr
    assert str(8 * 1024**2) in virsh("vol-info", "--bytes", "--pool", "web", "data.raw")
    vm.make("down", "V1ALPHA1_STOP_TIMEOUT_SECS=0")
    assert "grew volume web/data.raw to 16M" in vm.make("up").stderr
    assert str(16 * 1024**2) in virsh("vol-info", "--bytes", "--pool", "web", "data.raw")
    vm.make("delete-all", "V1ALPHA1_STOP_TIMEOUT_SECS=0")


SAME_SEED_VOLUME = """
  - name: a
    template: cloud
    libvirt: &shared
      domain:
        virtInstall:
          disk:
            - name: seed
              options: {vol: "default/seed-of-both.iso"}
      volumes:
        - name: seed.iso
          $patch: delete
        - name: seed-of-both.iso
          poolName: default
          format: raw
          uploadFile: {path: seed.iso}
  - name: b
    template: cloud
    libvirt: *shared
"""


def test_a_seed_volume_that_another_domain_uses_is_not_replaced(tiny_disk: Path, ssh_key: Path, base: Path) -> None:
    vms = generate(cloud(tiny_disk, ssh_key, SAME_SEED_VOLUME), base)
    vms["a"].make("create")
    volume = Path("/var/lib/libvirt/images/seed-of-both.iso")
    content = volume.read_bytes()
    refused = vms["b"].make("create", check=False)
    assert refused.returncode != 0 and "used by domain a" in refused.stderr
    assert volume.read_bytes() == content
    vms["b"].make("delete-all")
    vms["a"].make("delete-all")


def test_what_other_domains_say_of_themselves_does_not_hide_their_disks(
    tiny_disk: Path, ssh_key: Path, base: Path
) -> None:
    vm = generate(cloud(tiny_disk, ssh_key, "  - name: web\n    template: cloud\n"), base)["web"]
    vm.make("create")
    foreign = base / "foreign.xml"
    disk = f"<disk type='file'><source file='/var/lib/libvirt/images/{tiny_disk.name}'/><target dev='vda'/></disk>"
    foreign.write_text(
        "<domain type='qemu'><name>foreign</name><description>note\n/@/x\nerror: no\n</description>"
        f"<memory>65536</memory><os><type>hvm</type></os><devices>{disk}</devices></domain>"
    )
    virsh("define", str(foreign))
    kept = vm.make("delete-all")
    assert "foreign" in kept.stderr
    assert Path(f"/var/lib/libvirt/images/{tiny_disk.name}").exists()
    virsh("undefine", "foreign")
    vm.make("delete-all")


def test_a_uuid_of_somebody_elses_domain_does_not_make_it_ours(tiny_disk: Path, ssh_key: Path, base: Path) -> None:
    uuid = "11111111-2222-4333-8444-555555555555"
    entry = f"  - name: web\n    template: cloud\n    libvirt: {{domain: {{virtInstall: {{uuid: {uuid}}}}}}}\n"
    vm = generate(cloud(tiny_disk, ssh_key, entry), base)["web"]
    foreign = base / "foreign.xml"
    foreign.write_text(
        f"<domain type='qemu'><name>web</name><uuid>{uuid}</uuid><memory>65536</memory>"
        "<os><type>hvm</type></os></domain>"
    )
    virsh("define", str(foreign))
    for target in ("up", "stop", "delete-all"):
        refused = vm.make(target, check=False)
        assert refused.returncode != 0 and "mark" in refused.stderr, target
    virsh("undefine", "web")

"""Reserved addresses: ours are made, mended and removed, those of others are shown and left alone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blank import blank, blank_image
from guest_registries import cloud
from networked import LAB, ask_dns, define, undefine, vm, xml_of
from recorders import Recorder
from world import Vm, domain_state, generate, inventory, network_names, virsh

from vmp.provisioners.v1alpha1.runtime.facts import read_vm
from vmp.provisioners.v1alpha1.runtime.network_records import Reservation
from vmp.provisioners.v1alpha1.runtime.reservations import (
    carry_out_reservations,
    look_at_reservations,
    remove_reservations,
)
from vmp.provisioners.v1alpha1.runtime.virsh import Virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")

FAST = "V1ALPHA1_STOP_TIMEOUT_SECS=0"
MAC = "52:54:00:00:00:0a"
OTHER = "52:54:00:00:00:0b"


@pytest.fixture
def image(blank_images: Path) -> Path:
    return blank_image(blank_images, "deaf")


def reserve(address: str = "192.168.122.9", network: str = "default", interface: str = "eth0", **more: str) -> Any:
    return {"network": network, "interface": interface, "address": address, **more}


def on_default(image: Path, base: Path, *reservations: Any, mac: str = "", interfaces: int = 1) -> Vm:
    """Generate a VM on the network `default`, which its registry does not declare."""
    text = vm("web", *["default"] * interfaces, mac=mac, reservations=list(reservations))
    return generate(blank(image, text), base)["web"]


def entries(network: str = "default", *options: str) -> list[tuple[str, str, str]]:
    """Return the entries of a network's DHCP: MAC, name and address."""
    hosts = xml_of(network, *options).iterfind("ip/dhcp/host")
    return [(host.get("mac", ""), host.get("name", ""), host.get("ip", "")) for host in hosts]


def update(command: str, mac: str, ip: str, name: str = "", *flags: str, network: str = "default") -> None:
    words = f"mac='{mac}' ip='{ip}'" + (f" name='{name}'" if name else "")
    virsh("net-update", network, command, "ip-dhcp-host", f"<host {words}/>", *(flags or ("--live", "--config")))


@pytest.fixture
def foreign() -> Iterator[None]:
    """After the test, entries that it has made by hand are gone."""
    yield
    for flag, options in (("--live", ()), ("--config", ("--inactive",))):
        for mac, name, ip in entries("default", *options):
            if mac in (MAC, OTHER):
                update("delete", mac, ip, name, flag)


def lab_guests(image: Path, key: Path, base: Path, vms: dict[str, Any]) -> dict[str, Vm]:
    """Generate cloud VMs with one interface on the network `lab`, which they declare, and these facts of libvirt."""
    lab = {**LAB, "domain": {"name": "lab.test", "localOnly": True}}
    text = ""
    for name, libvirt in vms.items():
        interface = {"name": "default", "$patch": "replace", "options": {"network": "lab", "model": "virtio"}}
        domain = {"virtInstall": {"network": [interface]}}
        libvirt = {"domain": domain, "networks": [lab], **libvirt}
        text += f"  - {json.dumps({'name': name, 'template': 'cloud', 'libvirt': libvirt})}\n"
    return generate(cloud(image, key, text), base)


def test_a_guest_has_its_reserved_address_from_the_first_and_dns_has_its_name(
    tiny_disk: Path, ssh_key: Path, base: Path, tmp_path: Path
) -> None:
    reserved = {"reservations": [reserve("10.20.0.11", "lab", "default")]}
    web = lab_guests(tiny_disk, ssh_key, base, {"web": reserved})["web"]
    web.make("up", "wait-for-ready")
    recorder = Recorder(tmp_path / "recorder")
    assert web.make("ip", environment=recorder.environment).stdout == "10.20.0.11\n"
    command = web.make("ssh", "CMD=ip -4 -o addr show dev eth0", environment=recorder.environment)
    assert " 10.20.0.11/24 " in command.stdout
    assert [call.command for call in recorder.take()] == ["ssh"], "nobody was asked for the address"
    assert ask_dns("10.20.0.1", "web") == ask_dns("10.20.0.1", "web.lab.test") == ["10.20.0.11"]

    # a guest that runs takes another address at the next start, and keeps its link until then
    web = lab_guests(tiny_disk, ssh_key, base, {"web": {"reservations": [reserve("10.20.0.12", "lab", "default")]}})[
        "web"
    ]
    said = web.make("up").stderr
    assert "for 52:" in said and ": was 10.20.0.11 web\n" in said and said.endswith("web: is running\n")
    web.make("restart", "wait-for-ready")
    assert " 10.20.0.12/24 " in web.ssh("ip -4 -o addr show dev eth0")
    web.make("delete-all", FAST)


def test_an_address_that_another_guest_has_leased_is_refused_with_its_name(
    tiny_disk: Path, ssh_key: Path, base: Path
) -> None:
    vms = lab_guests(tiny_disk, ssh_key, base, {"first": {}})
    vms["first"].make("up", "wait-for-ready/ip")
    leased = vms["first"].make("ip").stdout.strip()
    second = {"second": {"reservations": [reserve(leased, "lab", "default")]}}
    vms |= lab_guests(tiny_disk, ssh_key, base, second)
    before = inventory()
    refused = vms["second"].make("up", check=False)
    assert refused.returncode != 0
    words = virsh("domiflist", "first").split()
    assert f"error: {leased} on network 'lab' belongs to host-of-first ({words[4]}) until 20" in refused.stderr
    assert "reserve an address outside of the range" in refused.stderr
    assert inventory() == before
    # the same address for the guest that has it is fine
    vms |= lab_guests(tiny_disk, ssh_key, base, {"first": {"reservations": [reserve(leased, "lab", "default")]}})
    assert f"reservation {leased} for {words[4]}: added" in vms["first"].make("up").stderr
    for each in vms.values():
        each.make("delete-all", FAST)


def test_a_network_that_is_only_used_gets_an_entry_and_no_guest_loses_its_link(image: Path, base: Path) -> None:
    web = on_default(image, base)
    web.make("up")
    tap = virsh("domiflist", "web").split()[0]

    def world() -> list[str]:
        links = subprocess.run(["ip", "-o", "link"], check=True, capture_output=True, text=True).stdout.splitlines()
        servers = Path("/run/libvirt/network/default.pid").read_text()
        return [*[line.partition("state")[0] for line in links if "virbr0" in line or tap in line], servers]

    before = world()
    assert len(before) == 3
    web = on_default(image, base, reserve())
    said = web.make("up").stderr
    assert ": added\n" in said and "takes its address when its lease is renewed, or at 'make restart'" in said
    mac = virsh("domiflist", "web").split()[4]
    assert entries() == entries("default", "--inactive") == [(mac, "web", "192.168.122.9")]
    assert web.make("up").stderr == "web: is running\n"
    web = on_default(image, base, reserve("192.168.122.10", hostname="other"))
    assert web.make("up").stderr.splitlines()[0].endswith(f"192.168.122.10 for {mac}: was 192.168.122.9 web")
    assert entries() == entries("default", "--inactive") == [(mac, "other", "192.168.122.10")]
    assert world() == before
    down = web.make("down").stderr.splitlines()
    assert down[0] == f"web: reservation 192.168.122.10 for {mac}: removed"
    assert entries() == entries("default", "--inactive") == []
    web.make("delete-all")


def test_delete_domain_removes_the_entry_also_where_no_domain_is_left(image: Path, base: Path) -> None:
    web = on_default(image, base, reserve())
    web.make("create")
    virsh("undefine", "web")
    assert len(entries()) == 1
    assert "removed" in web.make("delete/domain").stderr
    assert entries() == []
    assert web.make("delete/domain").stderr == ""
    assert "added" in web.make("create/domain").stderr
    web.make("delete-all")


def test_entries_that_only_last_or_only_work_are_completed(image: Path, base: Path) -> None:
    web = on_default(image, base, reserve())
    web.make("create")
    ((mac, name, ip),) = entries()
    for flag in ("--live", "--config"):
        update("delete", mac, ip, name, flag)
        assert web.make("create").stderr == f"web: reservation {ip} for {mac}: added\n"
        assert entries() == entries("default", "--inactive") == [(mac, name, ip)]
    update("modify", mac, "192.168.122.77", name, "--config")
    assert web.make("create").stderr == f"web: reservation {ip} for {mac}: was 192.168.122.77 web\n"
    assert entries() == entries("default", "--inactive") == [(mac, name, ip)]
    update("modify", mac, "192.168.122.77", "drifted")
    assert "removed" in web.make("delete/domain").stderr, "a derived MAC address is ours, whatever its entry says"
    assert entries() == []
    web.make("delete-all")


FOREIGN = {
    "address": (OTHER, "192.168.122.9", "else"),
    "name": (OTHER, "192.168.122.8", "web"),
    "nameless": (OTHER, "192.168.122.9", ""),
    "mac": (MAC, "192.168.122.8", "else"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_an_entry_of_somebody_else_is_shown_and_left_alone(image: Path, base: Path, foreign: None, kind: str) -> None:
    mac, ip, name = FOREIGN[kind]
    update("add-last", mac, ip, name)
    web = on_default(image, base, reserve(), mac=MAC)
    before = inventory()
    for target in ("up", "create", "create/domain"):
        refused = web.make(target, check=False)
        assert refused.returncode != 0
        shown = f"<host mac='{mac}'" + (f" name='{name}'" if name else "") + f" ip='{ip}'/>"
        assert f"has an entry of somebody else: {shown}" in refused.stderr
        assert "net-update default delete ip-dhcp-host" in refused.stderr
    web.make("delete-all")
    assert inventory() == before
    command = refused.stderr.splitlines()[-2].strip()
    subprocess.run(["sh", "-c", command], check=True, capture_output=True)
    assert entries() == entries("default", "--inactive") == []
    web.make("create")
    web.make("delete-all")


def test_an_entry_of_a_given_mac_address_is_ours_if_it_has_our_name(image: Path, base: Path, foreign: None) -> None:
    update("add-last", MAC, "192.168.122.8", "web")
    web = on_default(image, base, reserve(), mac=MAC.upper())
    assert f"reservation 192.168.122.9 for {MAC}: was 192.168.122.8 web\n" in web.make("create").stderr
    web.make("delete-all")
    assert entries() == []


def test_two_interfaces_can_change_their_addresses_with_each_other(image: Path, base: Path) -> None:
    one, two = "192.168.122.8", "192.168.122.9"

    def both(first: str, second: str) -> Vm:
        pair = [reserve(first, hostname="a"), reserve(second, interface="eth1", hostname="b")]
        return on_default(image, base, *pair, interfaces=2)

    both(one, two).make("create")
    before = {name: (mac, ip) for mac, name, ip in entries()}
    web = both(two, one)
    web.make("create")
    after = {name: (mac, ip) for mac, name, ip in entries()}
    assert after == {"a": (before["a"][0], two), "b": (before["b"][0], one)}
    assert sorted(entries("default", "--inactive")) == sorted(entries())
    assert web.make("create").stderr == ""
    web.make("delete-all")


def test_an_address_that_no_guest_of_a_used_network_can_have_is_refused(image: Path, base: Path) -> None:
    before = inventory()
    for address in ("10.9.9.9", "192.168.122.1", "192.168.122.255"):
        refused = on_default(image, base, reserve(address)).make("up", check=False)
        assert refused.returncode != 0 and f"{address} cannot be reserved" in refused.stderr
    assert "on network 'default'" in refused.stderr
    assert inventory() == before


def test_a_reservation_is_made_in_the_subnet_that_has_it(image: Path, base: Path, tmp_path: Path) -> None:
    ips = "<ip family='ipv6' address='fd00:24::1' prefix='64'/>"
    ips += "".join(
        [f"<ip address='10.2{number}.0.1' prefix='24'>{dhcp}</ip>" for number, dhcp in ((4, ""), (5, "<dhcp/>"))]
    )
    network = define(f"<network><name>used</name>{ips}</network>", tmp_path)
    try:
        text = vm("web", network, reservations=[reserve("10.25.0.9", network)])
        web = generate(blank(image, text), base)["web"]
        web.make("create")
        subnets = {ip.get("address"): len(ip.findall("dhcp/host")) for ip in xml_of(network).iterfind("ip")}
        assert subnets == {"fd00:24::1": 0, "10.24.0.1": 0, "10.25.0.1": 1}
        text = vm("db", network, reservations=[reserve("10.24.0.9", network)])
        refused = generate(blank(image, text), base)["db"].make("create", check=False)
        assert "10.24.0.9 cannot be reserved on network 'used'" in refused.stderr
        web.make("delete-all")
        assert entries(network) == []
    finally:
        undefine(network)


@pytest.mark.parametrize("given", ["network=default", f"network=default,mac={MAC}"])
def test_the_interface_of_a_network_given_as_text_is_called_default(image: Path, base: Path, given: str) -> None:
    libvirt = {"domain": {"virtInstall": {"network": given}}, "reservations": [reserve(interface="default")]}
    text = f"  - {json.dumps({'name': 'web', 'template': 'blank', 'libvirt': libvirt})}\n"
    web = generate(blank(image, text), base)["web"]
    web.make("up")
    assert entries() == [(virsh("domiflist", "web").split()[4], "web", "192.168.122.9")]
    web.make("delete-all")


def test_a_network_that_is_off_or_gone_is_no_obstacle(image: Path, base: Path) -> None:
    text = vm("web", "lab", networks=[LAB], reservations=[reserve("10.20.0.9", "lab")])
    web = generate(blank(image, text), base)["web"]
    web.make("create/network", "create/volume")
    virsh("net-destroy", "lab")
    assert "reservation 10.20.0.9 for " in web.make("create/domain").stderr
    assert len(entries("lab")) == 1
    web.make("start")
    assert len(entries("lab")) == 1 and domain_state() == "running"
    undefine("lab")
    assert "reservation" not in web.make("down").stderr
    assert "lab" not in network_names()
    web.make("delete-all")


def test_a_transient_network_is_told_of_it_as_long_as_it_is_there(image: Path, base: Path, tmp_path: Path) -> None:
    (tmp_path / "n.xml").write_text("<network><name>passing</name><ip address='10.26.0.1' prefix='24'/></network>")
    virsh("net-create", str(tmp_path / "n.xml"))
    try:
        text = vm("web", "passing", reservations=[reserve("10.26.0.9", "passing")])
        web = generate(blank(image, text), base)["web"]
        web.make("up")
        assert [ip for _, _, ip in entries("passing")] == ["10.26.0.9"]
        web.make("delete-all")
        assert entries("passing") == []
    finally:
        virsh("net-destroy", "passing")


def test_what_the_domain_was_made_with_is_removed_once_it_is_not_declared(image: Path, base: Path) -> None:
    on_default(image, base, reserve(), mac=MAC).make("create")
    (old,) = [Reservation("default", mac, ip, name) for mac, name, ip in entries()]
    web = on_default(image, base, mac=MAC)
    facts, virsh_ = read_vm(str(web.directory)), Virsh("qemu:///system", 60)
    try:
        assert look_at_reservations(facts, virsh_, ()) == []
        (step,) = look_at_reservations(facts, virsh_, [old])
        assert (step.kind, step.words) == ("remove", f"reservation 192.168.122.9 for {MAC}: removed")
        assert len(entries()) == 1, "looking changes nothing"
        carry_out_reservations(facts, virsh_, [step])
        assert entries() == entries("default", "--inactive") == []
        assert look_at_reservations(facts, virsh_, [old]) == []

        carry_out_reservations(facts, virsh_, [step._replace(kind="add")])
        # another address for the given MAC address: ours, as the domain was made with the old one
        web = on_default(image, base, reserve("192.168.122.10", hostname="new"), mac=MAC)
        facts = read_vm(str(web.directory))
        (step,) = look_at_reservations(facts, virsh_, [old])
        assert (step.kind, step.words) == ("modify", f"reservation 192.168.122.10 for {MAC}: was 192.168.122.9 web")
        remove_reservations(facts, virsh_, [old])
        assert entries() == []
    finally:
        virsh_.close()
    web.make("delete-all")

"""Networks that the registry declares: made, started, kept from harm, and deleted once nobody uses them."""

from __future__ import annotations

import copy
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from blank import blank, blank_image
from networked import LAB, ask_dns, define, on_network, undefine, vm, xml_of
from world import ENVIRONMENT, Vm, domain_state, generate, inventory, network_names, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")


@pytest.fixture
def image(blank_images: Path) -> Path:
    return blank_image(blank_images, "deaf")


@pytest.fixture
def made(image: Path, base: Path) -> Iterator[Callable[..., Vm]]:
    """Generate VMs on networks, and delete all of theirs at the end."""
    vms: list[Vm] = []

    def make(*networks: dict[str, Any], name: str = "web", **libvirt: Any) -> Vm:
        vms.append(generate(on_network(image, *networks, name=name, **libvirt), base)[name])
        return vms[-1]

    yield make
    for each in vms:
        each.make("delete-all")


def lab(**more: Any) -> dict[str, Any]:
    return {**copy.deepcopy(LAB), **more}


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


FOREIGN = """<domain type='qemu'><name>foreign</name><memory>65536</memory><os><type>hvm</type></os>
<devices><interface type='{kind}'><source {kind}='{name}'/></interface></devices></domain>"""

IPS6 = [{"address": "FD00:20:0::1", "prefix": 64, "dhcp": {"start": "fd00:20::100", "end": "fd00:20::1ff"}}]


@pytest.mark.parametrize(
    ("network", "bridge_has"),
    [
        (lab(forward={"mode": "nat"}), "10.20.0.1/24"),
        (lab(forward={"mode": "nat", "dev": "lo"}), "10.20.0.1/24"),
        (lab(forward={"mode": "route"}), "10.20.0.1/24"),
        (lab(forward={"mode": "open"}), "10.20.0.1/24"),
        (lab(forward={"mode": "none"}), "10.20.0.1/24"),
        (lab(forward={"mode": "none"}, ips=[]), ""),
        (lab(ips=IPS6), "fd00:20::1/64"),
        (lab(forward={"mode": "none"}, ips=[*LAB["ips"], *IPS6]), "fd00:20::1/64"),
        (lab(ips=[{"address": "10.20.0.1", "prefix": 24}, {"address": "10.21.0.1", "prefix": 16}]), "10.21.0.1/16"),
    ],
    ids=["nat", "nat-dev", "route", "open", "isolated", "bare", "ipv6", "both", "two-subnets"],
)
def test_a_network_of_each_kind_is_made_and_started_for_its_vm_and_goes_with_it(
    made: Callable[..., Vm], network: dict[str, Any], bridge_has: str
) -> None:
    web = made(network)
    assert "web: created network lab\n" in web.make("up").stderr
    assert "lab" in network_names("--autostart")
    xml = xml_of()
    forward = xml.find("forward")
    wanted = network.get("forward", {"mode": "nat"})
    assert (forward.get("mode") if forward is not None else "none") == wanted["mode"]
    assert forward is None or forward.get("dev") == wanted.get("dev")
    bridge = xml.find("bridge").get("name")  # type: ignore[union-attr]
    assert bridge_has in ip("-o", "addr", "show", "dev", bridge or "")
    assert f"master {bridge}" in ip("-o", "link")
    number = ip("-o", "link", "show", "dev", bridge or "").partition(":")[0]
    assert web.make("up").stderr == "web: is running\n"
    assert ip("-o", "link", "show", "dev", bridge or "").partition(":")[0] == number, "it was not made anew"
    assert web.make("down").stderr.endswith("web: deleted network lab\n")
    assert "lab" not in network_names()


def test_a_network_over_a_bridge_that_exists_uses_it_and_leaves_it(made: Callable[..., Vm], tmp_path: Path) -> None:
    ip("link", "add", "br-own", "type", "bridge")
    ip("link", "set", "br-own", "up")
    (tmp_path / "foreign.xml").write_text(FOREIGN.format(kind="bridge", name="br-own"))
    virsh("define", str(tmp_path / "foreign.xml"))  # on the bridge by itself, which stays
    try:
        web = made({"name": "lan", "forward": {"mode": "bridge"}, "bridge": "br-own", "deletionPolicy": "Delete"})
        web.make("up")
        assert "master br-own" in ip("-o", "link")
        assert web.make("up").stderr == "web: is running\n"
        web.make("down")
        assert "lan" not in network_names() and "br-own" in ip("-o", "link")
    finally:
        virsh("undefine", "foreign")
        ip("link", "delete", "br-own")


FULL = lab(
    bridge="br-lab",
    domain={"name": "lab.example", "localOnly": True},
    mtu=9000,
    dns={"forwarders": ["9.9.9.9"], "hosts": [{"ip": "10.20.0.9", "hostnames": ["db", "store"]}]},
)
"""One fact of each kind."""


def test_each_fact_reaches_libvirt(made: Callable[..., Vm]) -> None:
    made({**FULL, "autostart": False}).make("create/network")
    xml = xml_of()
    found = {
        path: dict(xml.find(path).items())  # type: ignore[union-attr]
        for path in ("bridge", "domain", "mtu", "dns/forwarder", "dns/host", "ip", "ip/dhcp/range")
    }
    assert found == {
        "bridge": {"name": "br-lab", "stp": "on", "delay": "0"},
        "domain": {"name": "lab.example", "localOnly": "yes"},
        "mtu": {"size": "9000"},
        "dns/forwarder": {"addr": "9.9.9.9"},
        "dns/host": {"ip": "10.20.0.9"},
        "ip": {"address": "10.20.0.1", "prefix": "24"},
        "ip/dhcp/range": {"start": "10.20.0.100", "end": "10.20.0.200"},
    }
    assert "lab" not in network_names("--all", "--autostart")
    assert "mtu 9000" in ip("link", "show", "br-lab")
    assert ask_dns("10.20.0.1", "store.lab.example") == ["10.20.0.9"]


def test_a_network_given_as_xml_is_made_from_it_and_never_compared(made: Callable[..., Vm]) -> None:
    xml = (
        "<network xmlns:dnsmasq='http://libvirt.org/schemas/network/dnsmasq/1.0'><name>a &amp; b</name>"
        "<ip address='10.22.0.1' prefix='24'/><dnsmasq:options><dnsmasq:option value='address=/any.test/10.22.0.7'/>"
        "</dnsmasq:options></network>"
    )
    network = {"name": "a & b", "xml": xml, "deletionPolicy": "Delete"}
    web = made(network)
    assert "web: created network a & b\n" in web.make("up").stderr
    assert ask_dns("10.22.0.1", "any.test") == ["10.22.0.7"]
    web = made({**network, "xml": xml.replace("10.22", "10.23")})
    assert web.make("up").stderr == "web: is running\n"
    assert web.make("down").stderr.endswith("web: deleted network a & b\n")


def test_a_network_is_retained_unless_the_registry_says_otherwise(made: Callable[..., Vm]) -> None:
    network = lab()
    del network["deletionPolicy"]
    web = made(network)
    web.make("up")
    web.make("down")
    assert "lab" in network_names()
    assert web.make("delete/network").stderr == ""
    assert "lab" in network_names()
    assert web.make("delete/network-all").stderr == "web: deleted network lab\n"
    assert "lab" not in network_names()


def test_a_network_goes_with_the_last_of_two_vms_that_are_on_it(image: Path, base: Path) -> None:
    vms = generate(blank(image, vm("a", "lab", networks=[LAB]) + vm("b", "lab", networks=[LAB])), base)
    assert "a: created network lab\n" in vms["a"].make("up").stderr
    assert "network lab" not in vms["b"].make("create").stderr
    assert "a: kept network lab: domain b uses it\n" in vms["a"].make("down").stderr
    assert "lab" in network_names("--autostart")
    assert "b: deleted network lab\n" in vms["b"].make("down").stderr
    vms["a"].make("delete-all")


@pytest.mark.parametrize(("kind", "name"), [("network", "lab"), ("bridge", "br-lab")])
def test_a_network_is_kept_for_a_domain_that_is_off_and_on_it_by_name_or_bridge(
    made: Callable[..., Vm], tmp_path: Path, kind: str, name: str
) -> None:
    web = made(FULL)
    web.make("up")
    (tmp_path / "foreign.xml").write_text(FOREIGN.format(kind=kind, name=name))
    virsh("define", str(tmp_path / "foreign.xml"))
    try:
        for target in ("down", "delete-all", "delete/network-all"):
            assert "web: kept network lab: domain foreign uses it\n" in web.make(target).stderr
        assert "lab" in network_names("--autostart")
    finally:
        virsh("undefine", "foreign")


@pytest.mark.parametrize("target", ["up", "start", "restart", "start/network", "create/network"])
def test_an_inactive_network_is_started_and_starts_with_its_node_again(made: Callable[..., Vm], target: str) -> None:
    web = made(FULL)
    web.make("create")
    virsh("net-destroy", "lab")
    virsh("net-autostart", "lab", "--disable")
    assert "not active" in web.make("status", check=False).stdout
    refused = web.make("start/domain", check=False)
    assert refused.returncode != 0 and "'make start/network' starts it" in refused.stderr
    assert "web: started network lab\n" in web.make(target).stderr
    assert "lab" in network_names("--autostart")
    assert domain_state() == ("shut off" if "/" in target else "running")


def test_a_network_that_is_gone_is_made_again_by_up_and_named_by_start(made: Callable[..., Vm]) -> None:
    web = made(LAB)
    web.make("create")
    undefine("lab")
    for target in ("start", "start/domain", "restart", "create/domain"):
        refused = web.make(target, check=False)
        assert refused.returncode != 0
        assert "there is no network 'lab'" in refused.stderr and "'make create/network' makes it" in refused.stderr
    assert "network  lab                                      not there" in web.make("status", check=False).stdout
    assert web.make("up").stderr == "web: created network lab\nweb: started domain web\n"


DIFFERENT: dict[str, tuple[dict[str, Any], str]] = {
    "forward": ({"forward": {"mode": "route"}}, "lab: forward nat → route"),
    "dev": ({"forward": {"mode": "nat", "dev": "lo"}}, "lab: forward dev (none) → lo"),
    "isolated": ({"forward": {"mode": "none"}}, "lab: forward nat → none"),
    "bridge": ({"bridge": "br-other"}, "lab: bridge br-lab → br-other"),
    "domain": ({"domain": {"name": "other", "localOnly": True}}, "lab: domain lab.example → other"),
    "local": ({"domain": {"name": "lab.example", "localOnly": False}}, "lab: domain localOnly yes → no"),
    "mtu": ({"mtu": 1400}, "lab: mtu 9000 → 1400"),
    "address": ({"ips": [{"address": "10.21.0.1", "prefix": 24}]}, "lab: ips 10.20.0.1/24 → 10.21.0.1/24"),
    "prefix": ({"ips": [{"address": "10.20.0.1", "prefix": 16}]}, "lab: ips 10.20.0.1/24 → 10.20.0.1/16"),
    "more": ({"ips": [*LAB["ips"], *IPS6]}, "lab: ips (none) → fd00:20::1/64"),
    "dhcp": (
        {"ips": [{**LAB["ips"][0], "dhcp": {"start": "10.20.0.50", "end": "10.20.0.60"}}]},
        "lab: dhcp of 10.20.0.1/24 10.20.0.100-10.20.0.200 → 10.20.0.50-10.20.0.60",
    ),
    "forwarders": ({"dns": {"forwarders": ["1.1.1.1"]}}, "lab: forwarders 9.9.9.9 → 1.1.1.1"),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_network_that_differs_is_named_by_up_and_left_alone(made: Callable[..., Vm], name: str) -> None:
    change, line = DIFFERENT[name]
    made(FULL).make("create")
    web = made({**FULL, **change})
    before, xml = inventory(), virsh("net-dumpxml", "lab")
    for target in ("up", "create", "start", "create/network"):
        refused = web.make(target, check=False)
        assert refused.returncode != 0
        assert "error: network 'lab' on qemu:///system is not as declared" in refused.stderr
        assert (
            f"\n  {line}\n" in refused.stderr and "virsh -c qemu:///system net-destroy --network=lab" in refused.stderr
        )
    assert line.partition(": ")[2] in web.make("status", check=False).stdout
    assert "left network lab alone" in web.make("stop/network").stderr
    assert (inventory(), virsh("net-dumpxml", "lab")) == (before, xml)
    kept = web.make("down").stderr
    assert "web: kept network lab: it is not as declared: " + line.partition(": ")[2] in kept
    subprocess.run(["sh", "-c", kept.partition("if it is not needed: ")[2]], check=True, capture_output=True)
    assert "lab" not in network_names()


def test_what_is_not_declared_is_not_compared_and_addresses_are_compared_as_addresses(
    made: Callable[..., Vm], tmp_path: Path
) -> None:
    define(
        "<network><name>lab</name><forward mode='nat'><nat><port start='2000' end='3000'/></nat></forward>"
        "<mtu size='1400'/><domain name='somewhere'/><ip address='10.20.0.1' netmask='255.255.255.0'>"
        "<dhcp><range start='10.20.0.100' end='10.20.0.200'/></dhcp></ip>"
        "<ip family='ipv6' address='fd00:20::1' prefix='64'/></network>",
        tmp_path,
    )
    web = made(lab(ips=[*LAB["ips"], {"address": "FD00:0020:0:0::0001", "prefix": 64}]))
    assert "network lab" not in web.make("up").stderr
    web.make("down")
    assert "lab" not in network_names()


def hosts(*options: str) -> dict[str, list[str | None]]:
    return {
        host.get("ip", ""): [name.text for name in host.iterfind("hostname")]
        for host in xml_of("lab", *options).iterfind("dns/host")
    }


@pytest.mark.parametrize("active", [True, False])
def test_dns_hosts_that_are_missing_are_added_and_those_of_others_stay(made: Callable[..., Vm], active: bool) -> None:
    web = made(LAB)
    web.make("create/network" if active else "create")
    for address, name in (("10.20.0.8", "others"), ("10.20.0.9", "first")):
        xml = f"<host ip='{address}'><hostname>{name}</hostname></host>"
        virsh("net-update", "lab", "add-last", "dns-host", xml, "--live", "--config")
    if not active:
        virsh("net-destroy", "lab")
    declared = [{"ip": "10.20.0.9", "hostnames": ["db", "first"]}, {"ip": "fd00:20::9", "hostnames": ["db"]}]
    web = made(lab(dns={"hosts": declared}))
    said = web.make("create/network").stderr
    assert "web: added 10.20.0.9 db to the DNS of network lab\n" in said
    assert "web: added fd00:20::9 db to the DNS of network lab\n" in said
    wanted = {"10.20.0.8": ["others"], "10.20.0.9": ["first", "db"], "fd00:20::9": ["db"]}
    assert hosts() == hosts("--inactive") == wanted
    for name in ("db", "first"):
        assert ask_dns("10.20.0.1", name) == ["10.20.0.9"]
    assert web.make("create/network").stderr == ""


def test_a_dns_host_that_only_the_running_network_has_is_made_to_last(made: Callable[..., Vm]) -> None:
    web = made(FULL)
    web.make("create/network")
    virsh("net-update", "lab", "delete", "dns-host", "<host ip='10.20.0.9'/>", "--config")
    assert web.make("create/network").stderr == "web: added 10.20.0.9 db store to the DNS of network lab\n"
    assert hosts() == hosts("--inactive") == {"10.20.0.9": ["db", "store"]}


def test_a_new_network_that_cannot_start_is_taken_back_with_the_reason(made: Callable[..., Vm]) -> None:
    web = made(lab(ips=[{"address": "192.168.122.1", "prefix": 24}]))
    before = inventory()
    refused = web.make("up", check=False)
    assert refused.returncode != 0
    assert "could not start network lab" in refused.stderr and "virbr0" in refused.stderr
    assert inventory() == before


def test_a_bridge_that_is_left_over_is_named_with_the_command_that_deletes_it(made: Callable[..., Vm]) -> None:
    web = made(FULL)
    before = inventory()
    ip("link", "add", "br-lab", "type", "bridge")  # as a libvirtd leaves it that dies while it starts the network
    refused = web.make("up", check=False)
    assert refused.returncode != 0 and "could not start network lab" in refused.stderr
    assert inventory() == before
    command = refused.stderr.partition("delete it there: ")[2].splitlines()[0]
    subprocess.run(command.split(), check=True)
    assert "web: created network lab\n" in web.make("up").stderr


def test_a_network_is_stopped_once_no_running_domain_is_on_it(image: Path, base: Path) -> None:
    vms = generate(blank(image, vm("a", "lab", networks=[LAB]) + vm("b", "lab", networks=[LAB])), base)
    vms["a"].make("up")
    vms["b"].make("create")
    for each in vms.values():
        assert "left network lab alone: domain a is on it" in each.make("stop/network").stderr
    virsh("suspend", "a")
    assert "left network lab alone: domain a is on it" in vms["b"].make("stop-all").stderr
    assert "a: stopped network lab\n" in vms["a"].make("stop-all").stderr
    assert "lab" in network_names("--inactive")
    assert vms["a"].make("stop/network").stderr == ""
    assert "b: started network lab\n" in vms["b"].make("start").stderr
    for each in vms.values():
        each.make("delete-all")


def test_a_network_that_was_made_for_a_domain_that_libvirt_refuses_goes_again(
    image: Path, base: Path, tmp_path: Path
) -> None:
    reserved = {"network": "default", "interface": "eth1", "address": "192.168.122.9"}
    kept = {"name": "kept", "forward": {"mode": "none"}}
    text = blank(image, vm("web", "lab", "default", networks=[LAB, kept], reservations=[reserved]))
    web = generate(text, base)["web"]
    before = inventory()
    (bin_ := tmp_path / "bin").mkdir()
    (bin_ / "virt-install").write_text("#!/bin/sh\necho '<domain/>'\n")
    (bin_ / "virt-install").chmod(0o755)
    refused = web.make("up", check=False, environment={"PATH": f"{bin_}:{ENVIRONMENT['PATH']}"})
    assert "could not create domain web" in refused.stderr
    assert "web: created network lab\n" in refused.stderr and "web: deleted network lab\n" in refused.stderr
    assert "web: reservation 192.168.122.9 for " in refused.stderr
    left = sorted([line for line in set(inventory()) - set(before) if "deaf.qcow2" not in line])
    paths = [f"file /etc/libvirt/qemu/networks/{path}kept.xml" for path in ("", "autostart/")]
    assert left == sorted([*paths, "network kept active autostart"])
    web.make("delete-all")


def test_the_vms_of_a_fleet_that_declare_one_network_come_up_and_go_at_once(image: Path, base: Path) -> None:
    names = [f"vm{number}" for number in range(8)]
    generate(blank(image, "".join([vm(name, "lab", networks=[FULL]) for name in names])), base, "--fleet")
    fleet = Vm(base)
    for _ in range(3):
        up = fleet.make("-j8", "up", timeout=600).stderr
        # One that has defined it may find that another one has started it meanwhile, and both may say so.
        assert 1 <= up.count("created network lab") + up.count("started network lab") <= 2
        assert up.count("started domain ") == len(names)
        assert fleet.make("up").stderr.count("is running") == len(names)
        some = fleet.make("-j8", "down", "VMS=vm[0-6]").stderr
        assert some.count("kept network lab: domain vm7 uses it") == 7
        down = fleet.make("-j8", "down", timeout=600).stderr
        assert down.count("deleted network lab") == 1 and "error" not in down
    Vm(base / "vm0").make("delete-all")


KILLED = [
    *[("up", command) for command in ("net-define", "net-autostart", "net-start", "net-update")],
    *[("down", command) for command in ("net-update", "net-destroy", "net-undefine")],
]


@pytest.mark.parametrize(("target", "command"), KILLED)
def test_a_run_that_is_killed_at_its_network_is_mended_by_the_next(
    made: Callable[..., Vm], target: str, command: str
) -> None:
    web = made(FULL, reservations=[{"network": "lab", "interface": "eth0", "address": "10.20.0.9", "hostname": "w"}])
    if target == "down":
        web.make("up")
    # V=1 shows each command before it is sent to virsh, so the run dies shortly before or after that
    words = ["python3", "-I", "-S", str(web.directory / "provisioner.py"), target]
    run = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**ENVIRONMENT, "V": "1"}, cwd="/")
    assert run.stderr
    for line in run.stderr:
        if f" {command} " in line:
            run.send_signal(signal.SIGKILL)
            break
    else:
        raise AssertionError(f"{target} never came to {command}")
    run.wait()
    web.make(target)
    if target == "up":
        assert "lab" in network_names("--autostart") and domain_state() == "running"
        assert [host.get("ip") for host in xml_of().iterfind("ip/dhcp/host")] == ["10.20.0.9"]
        assert web.make("up").stderr == "web: is running\n"
    else:
        assert "lab" not in network_names() and domain_state() == "gone"


def test_a_network_that_no_interface_is_on_is_made_as_well(image: Path, base: Path) -> None:
    web = generate(blank(image, vm(networks=[LAB])), base)["web"]
    assert "web: created network lab\n" in web.make("up").stderr
    web.make("delete-all")
    assert "lab" not in network_names()

"""`diff` and `apply` of networks and reservations: what is missing is added while all works on."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
from blank import blank, blank_image
from changing import Changing
from networked import LAB, xml_of
from world import domain_state, virsh

pytestmark = pytest.mark.usefixtures("unchanged_libvirt")


@pytest.fixture
def web(blank_images: Path, base: Path) -> Iterator[Changing]:
    """A VM on a network of its own, without a known address yet."""
    web = Changing(blank(blank_image(blank_images, "deaf")), base)
    web.options["network"] = [{"name": "lan", "options": {"network": "lab"}}]
    web.libvirt["networks"] = [deepcopy(LAB)]
    web.write()
    web.vm.make("up")
    yield web
    web.libvirt["networks"] = [deepcopy(LAB)]
    web.write()
    web.vm.make("delete-all")


def reserve(web: Changing, address: str) -> None:
    web.libvirt["reservations"] = [{"network": "lab", "interface": "lan", "address": address}]


def reserved() -> list[str]:
    """Return the addresses that the network reserves now."""
    return [host.get("ip", "") for host in xml_of().iterfind("ip/dhcp/host")]


def test_what_was_just_made_differs_in_nothing(web: Changing) -> None:
    assert web.diff() == (0, [])
    assert web.apply() == ["is as the directory says"]


def test_a_reservation_is_added_modified_and_removed_while_the_guest_runs(web: Changing) -> None:
    web.change(lambda web: reserve(web, "10.20.0.11"))
    code, (line,) = web.diff()
    assert code == 1 and line.startswith("reservation 10.20.0.11 for 52:") and line.endswith(": added now")
    assert web.apply()[0] == line.removesuffix(" now")
    assert (reserved(), domain_state()) == (["10.20.0.11"], "running")
    assert web.diff() == (0, [])
    web.change(lambda web: reserve(web, "10.20.0.12"))
    web.apply()
    assert reserved() == ["10.20.0.12"]
    web.change(lambda web: web.libvirt.pop("reservations"))
    code, (line,) = web.diff()
    assert code == 1 and line.startswith("reservation 10.20.0.12") and line.endswith(": removed now")
    web.apply()
    assert (reserved(), web.diff()) == ([], (0, []))


def test_hosts_of_its_dns_and_a_second_network_come_while_the_guest_runs(web: Changing) -> None:
    web.libvirt["networks"][0]["dns"] = {"hosts": [{"ip": "10.20.0.9", "hostnames": ["db"]}]}
    second = {**deepcopy(LAB), "name": "second", "ips": [{"address": "10.21.0.1", "prefix": 24}]}
    web.libvirt["networks"].append(second)
    web.options["network"].append({"name": "more", "options": {"network": "second"}})
    web.write()
    assert web.diff() == (
        1,
        [
            "network lab: DNS host 10.20.0.9 db: missing now",
            "network second: is not there now",
            "network more: added now",
        ],
    )
    said = web.apply()
    assert said[-1] == "network more: added: now"
    assert xml_of().findtext("dns/host/hostname") == "db"
    assert web.diff() == (0, [])
    web.vm.make("down")
    assert "second" not in virsh("net-list", "--all", "--name").split()


def test_another_network_is_refused_together_with_all_else_that_cannot_be(web: Changing) -> None:
    def change(web: Changing) -> None:
        web.libvirt["networks"][0]["mtu"] = 1400
        web.options.update(boot="uefi", memory=65)

    web.change(change)
    before = virsh("dumpxml", "web"), virsh("net-dumpxml", "lab")
    code, lines = web.diff()
    assert code == 1 and lines[0].endswith("→ 1400 never by itself") and "boot - → uefi needs down up" in lines
    refused = web.vm.make("apply", check=False)
    assert refused.returncode == 2
    assert "  boot - → uefi\n  network lab: mtu" in refused.stderr
    assert "net-destroy --network=lab" in refused.stderr
    assert (virsh("dumpxml", "web"), virsh("net-dumpxml", "lab")) == before
